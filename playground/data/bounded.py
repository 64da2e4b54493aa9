"""Reading files that nobody vouches for: regular files only, never more bytes than a stated limit, labels without control characters."""

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
    """Open a regular file for reading; a device, a FIFO or a folder is refused without waiting on it.

    `follow` tells whether `path` itself may be a symbolic link: yes for what a person typed, no for what was found in a folder.
    Raises `DataError`.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        if not follow and path.is_symlink():
            raise DataError(
                f"{named(path)} is a symbolic link; only regular files are read here, so put the file itself in its place"
            ) from None
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
        raise DataError(f"{named(path)} is larger than {size(limit)}, which is the most that is read from one file; use a smaller one")
    return data


class GzipReader(io.RawIOBase):
    """The contents of a gzip file, decompressed as they are asked for, so that nothing larger than asked for is ever held."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._inflater = zlib.decompressobj(wbits=31)
        self._pending = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the compressed file too."""
        self._file.close()
        super().close()

    def read(self, count: int | None = -1) -> bytes:
        """At most `count` bytes, fewer only at the end. Raises `DataError` when the file is damaged or ends too early."""
        parts: list[bytes] = []
        wanted = max(0, count or 0)
        while wanted > 0:
            if self._inflater.eof:
                break
            if not self._pending:
                self._pending = self._file.read(64 * 1024)
                if not self._pending:
                    raise DataError(f"{named(self._path)} ends in the middle of its compressed data; copy it again")
            try:
                part = self._inflater.decompress(self._pending, wanted)
            except zlib.error as error:
                raise DataError(f"{named(self._path)} is not a whole gzip file: {error}") from None
            self._pending = self._inflater.unconsumed_tail
            wanted -= len(part)
            parts.append(part)
        return b"".join(parts)


def open_maybe_gzip(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file, through gzip when its name ends in `.gz`; read it with a count. Raises `DataError`."""
    file = open_regular(path, follow=follow)
    return GzipReader(file, path) if path.name.endswith(".gz") else file  # type: ignore[return-value]


def clean(text: str, length: int = 60) -> str:
    """`text` fit for a label: control, format and surrogate characters dropped, spaces joined, at most `length` characters."""
    kept = "".join(" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    return " ".join(kept.split())[:length]


def named(path: Path) -> str:
    """The path as it may stand in a message."""
    return clean(str(path), 300) or "a file without a printable name"


def size(count: int) -> str:
    """A number of bytes in words."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"
