"""Checkpoints written beside training: a copy of everything is taken between two steps, and a thread writes it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

Write = Callable[[], tuple[str, int]]
"""Writes a copy; returns the checkpoint's name and bytes. May raise `OSError`, and be called again then."""


class Written(NamedTuple):
    """A checkpoint whose writing has come to an end, well or not."""

    step: int
    attempt: Write
    """Gives what the thread's attempt gave, be it an error; called again it writes anew, in the caller's thread."""


class Saver:
    """One checkpoint at a time. `snapshot` copies everything that a checkpoint holds, and returns what writes the copy."""

    def __init__(self, snapshot: Callable[[], Write]) -> None:
        self._snapshot = snapshot
        self._thread = ThreadPoolExecutor(1, "save")
        self._pending: tuple[int, Write, Future[tuple[str, int]]] | None = None

    def begin(self, step: int) -> None:
        """Take the copy, and have it written. The one before must have been taken with `finished`."""
        assert self._pending is None
        write = self._snapshot()
        self._pending = (step, write, self._thread.submit(write))

    def finished(self, wait: bool) -> Written | None:
        """The checkpoint that has been written since it was begun; None when there is none, or, unless told to `wait`, none yet."""
        if self._pending is None or not (wait or self._pending[2].done()):
            return None
        (step, write, future), self._pending = self._pending, None
        attempts = iter([future.result])
        return Written(step, lambda: next(attempts, write)())

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown(wait=True)
