"""Reading untrusted files: regular files only, never more bytes than a limit, and text without control characters."""

from __future__ import annotations

import io
import os
import stat
import unicodedata
import zlib
from pathlib import Path
from typing import BinaryIO

from dlplay.engine.errors import DataError

MIB = 1 << 20


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading; a device, a FIFO or a folder is refused without waiting for it.

    `follow`: whether `path` itself may be a symbolic link. It may if a person typed it, not if it was found in a folder.
    Raises `DataError`.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        if not follow and path.is_symlink():
            raise DataError(f"{named(path)} is a symbolic link; only regular files are read, so put the file itself in its place") from None
        raise DataError(f"cannot read {named(path)}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{named(path)} is not a regular file; give a file with data in it")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """The whole file, at most `limit` bytes. Raises `DataError`."""
    with open_regular(path, follow=follow) as file:
        try:
            expected = min(limit, os.fstat(file.fileno()).st_size)  # a read allocates what it asks for
            data = file.read(expected + 1)
            if expected < len(data) <= limit:  # the file has grown since
                data += file.read(limit + 1 - len(data))
        except OSError as error:
            raise DataError(f"cannot read {named(path)}: {error.strerror or error}") from None
    if len(data) > limit:
        raise DataError(f"{named(path)} is larger than {size(limit)}, the limit for one file; use a smaller one")
    return data


class GzipReader(io.RawIOBase):
    """The contents of a gzip file, decompressed as they are read, so that no more than that is ever in memory."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._inflater = zlib.decompressobj(wbits=31)
        self._pending = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def read(self, count: int | None = -1) -> bytes:
        """Up to `count` bytes, fewer only at the end. Raises `DataError` when the file is damaged or truncated."""
        parts: list[bytes] = []
        wanted = max(0, count or 0)
        while wanted > 0:
            if self._inflater.eof:
                break
            if not self._pending:
                self._pending = self._file.read(64 * 1024)
                if not self._pending:
                    raise DataError(f"{named(self._path)} is truncated in the middle of its compressed data; copy it again")
            try:
                part = self._inflater.decompress(self._pending, wanted)
            except zlib.error as error:
                raise DataError(f"{named(self._path)} is not a valid gzip file: {error}") from None
            self._pending = self._inflater.unconsumed_tail
            wanted -= len(part)
            parts.append(part)
        return b"".join(parts)


def open_maybe_gzip(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file, decompressed when its name ends in `.gz`; read it with a byte count. Raises `DataError`."""
    file = open_regular(path, follow=follow)
    return GzipReader(file, path) if path.name.endswith(".gz") else file  # type: ignore[return-value]


def clean(text: str, length: int = 60) -> str:
    """`text` as a label: without control, format and surrogate characters, white space collapsed, at most `length` characters."""
    kept = "".join(" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    return " ".join(kept.split())[:length]


def named(path: Path) -> str:
    """The path as printable text for a message."""
    return clean(str(path), 300) or "a file without a printable name"


def size(count: int) -> str:
    """A number of bytes with its unit, such as `64 MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"
