"""Opening the files of a run's folder: regular files alone, and no link is followed, whatever lies there under their names."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

FULL = {errno.ENOSPC, errno.EDQUOT}
"""What the system says where there is no more space, or a quota is used up."""


class NotRegular(OSError):
    """A link, a pipe or a device where a file of a run should be."""


def open_regular(path: Path, flags: int) -> int:
    """The descriptor of the file at `path`; a new one has mode 0600. Never waits for a pipe. Raises `NotRegular` and other `OSError`s."""
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe without a reader, or a socket
            raise NotRegular(error.errno, "not a regular file, and links are not followed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotRegular(errno.EINVAL, "not a regular file", str(path))
    return fd


def check_space(folder: Path) -> None:
    """Raises `OSError` where the disk that holds the folder takes no more."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 16))
        file.flush()


@contextlib.contextmanager
def drafted(folder: Path, file: str, data: bytes) -> Iterator[Path]:
    """A hidden folder in `folder` (mode 0700) with a file of this JSON, indented, for the caller to rename; otherwise it is removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=folder))
    try:
        fd = os.open(draft / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as written:
            written.write(msgspec.json.format(data, indent=2))
            written.flush()
            os.fsync(written.fileno())
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
