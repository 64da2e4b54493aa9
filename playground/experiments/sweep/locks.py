"""The locks of a sweep's workers, by name. A process loses those that it holds when it dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dlplay.runs.files import open_regular


class Locks(Protocol):
    """The locks of one worker."""

    def take(self, name: str) -> bool:
        """False when another worker has it, or this one."""

    def release(self, name: str) -> None: ...

    def check(self) -> None:
        """Raises an error where they have been lost; to be called every few seconds."""

    def close(self) -> None:
        """Release all of them."""


@contextlib.contextmanager
def held(locks: Locks, name: str) -> Iterator[None]:
    """Within it this worker has the lock; waits for it."""
    delay = 0.001
    while not locks.take(name):
        time.sleep(delay)
        delay = min(2 * delay, 0.1)
    try:
        yield
    finally:
        locks.release(name)


def is_free(locks: Locks, name: str) -> bool:
    """Whether no worker has it just now."""
    if not locks.take(name):
        return False
    locks.release(name)
    return True


class FolderLocks:
    """Files that are locked with flock. Across machines that takes a file system whose locks hold across machines, such as NFS 4."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        os.register_at_fork(after_in_child=self.close)

    def take(self, name: str) -> bool:
        fd = open_regular(self._folder / name, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._held[name] = fd
        return True

    def release(self, name: str) -> None:
        os.close(self._held.pop(name))

    def check(self) -> None:
        """They last as long as the process."""

    def close(self) -> None:
        """Close without unlocking explicitly: in a forked child that would release the parent's locks."""
        while self._held:
            os.close(self._held.popitem()[1])
