"""Follows a journal for an event loop: what is short is read at once, what is long in a thread, while the loop goes on."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from dlplay.engine.events import DurableEvent
from dlplay.runs.history import Columns, joined
from dlplay.runs.journal import JournalReader

SHORT = 2 << 20
"""Bytes that are read at once."""
PART = 2 << 20
"""Bytes that the thread reads at a time."""
PARTS = 16
"""Parts that may wait for the loop."""


class Follower:
    """`take` gives the events since the last call, in order."""

    def __init__(self, path: Path) -> None:
        self._reader = JournalReader(path)
        self._parts: queue.Queue[list[DurableEvent | Columns] | OSError | None] = queue.Queue(PARTS)
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def loading(self) -> bool:
        """Whether the thread is still reading."""
        return self._thread is not None

    def take(self) -> list[DurableEvent | Columns]:
        """What there is by now; never waits for the disk long. Raises `OSError`."""
        if self._thread is None and self._reader.unread <= SHORT:
            return list(self._reader.read())
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="journal", daemon=True)
            self._thread.start()
        events: list[DurableEvent | Columns] = []
        while not self._parts.empty():
            part = self._parts.get()
            if isinstance(part, OSError):
                raise part
            if part is None:
                self._thread = None
                break
            events += part
        return events

    def close(self) -> None:
        """Read no further."""
        self._closed.set()

    def _read(self) -> None:
        try:
            while self._reader.unread > SHORT and (events := self._reader.read(PART)):
                self._put(list(joined(events)))
        except OSError as error:
            self._put(error)
        self._put(None)

    def _put(self, part: list[DurableEvent | Columns] | OSError | None) -> None:
        while not self._closed.is_set():
            try:
                self._parts.put(part, timeout=0.2)
                return
            except queue.Full:
                continue
