"""The safetensors format, read within limits: nothing is allocated before the header has been checked.

A file is an 8-byte little-endian header length, a JSON header `{name: {"dtype", "shape", "data_offsets"}}` and the tensors' bytes. The
reader trusts none of it: it opens regular files only, and checks lengths, names, dtypes, sizes and offsets before it reads any data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.checkpoints import CheckpointError

HEADER_LIMIT = 1 << 20
TENSOR_LIMIT = 4096
DATA_LIMIT = 4 << 30
"""Bytes of one file: the state of a GPT-2 of 355 M parameters takes 2.8 GB."""
RANK_LIMIT = 16

Tensors = Mapping[str, NDArray[Any]]
Signature = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAME = re.compile(r"[A-Za-z0-9._/-]{1,200}")


@dataclasses.dataclass(frozen=True)
class _Entry:
    name: str
    code: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """A safetensors file that is not put together: its header, and the memory of its tensors, which is not copied."""

    header: bytes
    data: tuple[NDArray[np.uint8], ...]

    def __len__(self) -> int:
        return len(self.header) + sum(array.nbytes for array in self.data)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The file's bytes, one part after the other."""
        yield self.header
        for array in self.data:
            yield array.data


def tensor_file(tensors: Tensors, metadata: dict[str, str] | None = None) -> TensorFile:
    """The tensors as a safetensors file, the same whatever their order. Raises `CheckpointError` for anything `read_tensors` would refuse.

    `metadata` is for other readers; `read_tensors` ignores it.
    """
    if len(tensors) > TENSOR_LIMIT:
        raise CheckpointError(f"{len(tensors):,} tensors do not fit in a checkpoint; the limit is {TENSOR_LIMIT:,}")
    codes = {dtype: code for code, dtype in DTYPES.items()}
    for name, array in tensors.items():
        _check_name(name, "the checkpoint")
        if array.dtype not in codes:
            raise CheckpointError(f"tensor {name} is {array.dtype}; a checkpoint takes {_known_dtypes()}")
    if (total := sum(array.nbytes for array in tensors.values())) > DATA_LIMIT:
        raise CheckpointError(f"the tensors take {total:,} bytes; the limit is {DATA_LIMIT:,}")
    table: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data, at = [], 0
    for name, array in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):  # each at a multiple of its size
        table[name] = {"dtype": codes[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        data.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        at += array.nbytes
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_LIMIT:
        raise CheckpointError(f"the tensors' names and shapes take {len(header):,} bytes; the limit is {HEADER_LIMIT:,}")
    return TensorFile(len(header).to_bytes(8, "little") + header, tuple(data))


def write_tensors(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    """`tensor_file` as bytes."""
    return b"".join(tensor_file(tensors, metadata).chunks())


def read_tensors(path: Path, limit_bytes: int = DATA_LIMIT, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    """Every tensor of the file by name, as writable arrays. Raises `CheckpointError`.

    With `sha256` (hexadecimal) the file must have that digest; the bytes that are hashed are those the arrays are made of.
    """
    with open_regular(path, limit_bytes + HEADER_LIMIT) as (fd, size):
        header, entries = _read_header(fd, size, path, limit_bytes)
        data = np.empty(size - len(header), np.uint8)
        _read_into(fd, data.data, path)
    if sha256 is not None:
        digest = hashlib.sha256(header)
        digest.update(data.data)
        if digest.hexdigest() != sha256:
            raise CheckpointError(f"{path} has been altered: its sha256 is {digest.hexdigest()[:16]}… where {sha256[:16]}… is on record")
    return {entry.name: _tensor(entry, data[entry.begin : entry.end], path) for entry in entries}


def read_foreign(path: Path, limit_bytes: int, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The tensors of these names from a file that another program wrote; the others are not read. Raises `CheckpointError`.

    Bfloat16, which numpy does not have, is converted to float32, one tensor at a time.
    """
    found = {}
    with open_regular(path, limit_bytes + HEADER_LIMIT) as (fd, size):
        header, entries = _read_header(fd, size, path, limit_bytes, foreign=True)
        for entry in entries:
            if entry.name in names:
                data = np.empty(entry.end - entry.begin, np.uint8)
                os.lseek(fd, len(header) + entry.begin, os.SEEK_SET)
                _read_into(fd, data.data, path)
                found[entry.name] = _tensor(entry, data, path)
    return found


def signature(path: Path, limit_bytes: int = DATA_LIMIT, *, foreign: bool = False) -> Signature:
    """Shape and dtype of every tensor, from the header alone; with `foreign` as `read_foreign` returns them. Raises `CheckpointError`."""
    with open_regular(path, limit_bytes + HEADER_LIMIT) as (fd, size):
        _, entries = _read_header(fd, size, path, limit_bytes, foreign)
    return {entry.name: (entry.shape, np.dtype("<f4") if entry.code == "BF16" else entry.dtype) for entry in entries}


@contextlib.contextmanager
def open_regular(path: Path, limit_bytes: int) -> Iterator[tuple[int, int]]:
    """A file descriptor and the size of a regular file of at most `limit_bytes`; links are not followed. Raises `CheckpointError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # non-blocking: opening a FIFO would wait
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not a path: {error}") from None
    except OSError as error:
        why = "it is a link, and links are not followed" if path.is_symlink() else error.strerror or str(error)
        raise CheckpointError(f"cannot read {path}: {why}") from None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise CheckpointError(f"{path} is not a regular file")
        if facts.st_size > limit_bytes:
            raise CheckpointError(f"{path} holds {facts.st_size:,} bytes; the limit is {limit_bytes:,}")
        yield fd, facts.st_size
    finally:
        os.close(fd)


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """A small regular file. Raises `CheckpointError`."""
    with open_regular(path, limit_bytes) as (fd, size):
        data = bytearray(size)
        _read_into(fd, memoryview(data), path)
    return bytes(data)


def _read_into(fd: int, view: memoryview, path: Path) -> None:
    filled = 0
    while filled < len(view):
        try:
            count = os.readv(fd, [view[filled : filled + (1 << 26)]])
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
        if count == 0:
            raise CheckpointError(f"{path} ends after {filled:,} bytes where {len(view):,} were expected")
        filled += count


def _read_header(fd: int, size: int, path: Path, limit_bytes: int, foreign: bool = False) -> tuple[bytes, list[_Entry]]:
    """The header's bytes, and its entries in the order of their data, which they cover without gap or overlap."""
    if size < 8:
        raise CheckpointError(f"{path} is cut off: it holds {size} bytes, fewer than a header's length takes")
    head = bytearray(8)
    _read_into(fd, memoryview(head), path)
    length = int.from_bytes(head, "little")
    if length > HEADER_LIMIT:
        raise CheckpointError(f"{path} claims a header of {length:,} bytes; the limit is {HEADER_LIMIT:,}")
    if length > size - 8:
        raise CheckpointError(f"{path} is cut off: its header takes {length:,} bytes and only {size - 8:,} follow")
    body = bytearray(length)
    _read_into(fd, memoryview(body), path)
    return bytes(head + body), _parse_header(bytes(body), size - 8 - length, path, limit_bytes, foreign)


def _parse_header(body: bytes, data_bytes: int, path: Path, limit_bytes: int, foreign: bool) -> list[_Entry]:
    try:
        table = json.loads(body, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of {path} is not JSON: {str(error)[:100]}") from None
    if not isinstance(table, dict):
        raise CheckpointError(f"the header of {path} is not a table of tensors")
    table.pop("__metadata__", None)
    if len(table) > TENSOR_LIMIT:
        raise CheckpointError(f"{path} lists {len(table):,} tensors; the limit is {TENSOR_LIMIT:,}")
    entries = sorted((_entry(name, fields, path, foreign) for name, fields in table.items()), key=lambda entry: (entry.begin, entry.end))
    at = 0
    for entry in entries:
        if entry.begin != at:
            raise CheckpointError(f"{path} has {'an overlap' if entry.begin < at else 'a hole'} in its data before tensor {entry.name}")
        at = entry.end
    if at != data_bytes:
        raise CheckpointError(f"{path} holds {data_bytes:,} bytes of data where its header lists {at:,}")
    if data_bytes > limit_bytes:
        raise CheckpointError(f"the tensors of {path} take {data_bytes:,} bytes; the limit is {limit_bytes:,}")
    return entries


def _entry(name: str, fields: Any, path: Path, foreign: bool) -> _Entry:
    _check_name(name, str(path))
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{path} does not give a dtype, a shape and offsets for tensor {name}")
    code, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if code == "BF16" and not foreign:
        raise CheckpointError(f"tensor {name} of {path} is bfloat16, which numpy does not have; save it as F32 or F16")
    dtype = (DTYPES | {"BF16": np.dtype("<u2")} if foreign else DTYPES).get(code) if isinstance(code, str) else None
    if dtype is None:
        raise CheckpointError(f"tensor {name} of {path} is {str(code)[:20]!r}; a checkpoint takes {_known_dtypes()}")
    if not _whole_numbers(shape) or len(shape) > RANK_LIMIT:
        raise CheckpointError(f"tensor {name} of {path} has an invalid shape")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"tensor {name} of {path} has invalid offsets")
    wanted = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != wanted:
        found = f"{offsets[1] - offsets[0]:,}"
        raise CheckpointError(f"tensor {name} of {path} has {found} bytes where its shape {tuple(shape)} needs {wanted:,}")
    return _Entry(name, code, dtype, tuple(shape), offsets[0], offsets[1])


def _tensor(entry: _Entry, raw: NDArray[np.uint8], path: Path) -> NDArray[Any]:
    if entry.dtype.kind == "b" and raw.size and int(raw.max()) > 1:
        raise CheckpointError(f"tensor {entry.name} of {path} is BOOL and holds a byte that is neither 0 nor 1")
    if entry.begin % entry.dtype.itemsize:  # other writers may not align; tensor libraries need aligned data
        raw = raw.copy()
    array = raw.view(entry.dtype).reshape(entry.shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if entry.code == "BF16" else array


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"{where} names a tensor {name[:40]!r}; names are 1 to 200 letters, digits and ._/-")


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 62 for item in value)


def _known_dtypes() -> str:
    return ", ".join(DTYPES)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table
