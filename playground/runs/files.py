"""Opening the files of a run's folder: regular files alone, and no link is followed, whatever lies there under their names."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


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
