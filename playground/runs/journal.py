"""A run's journal: every durable event as a line of JSON, appended by one writer and read by anyone, during the run or years later.

A line is written completely or not at all: a short write is continued or undone, and a partial line that a killed writer left is cut off
when the next one opens the file. Readers ignore a partial last line and skip damaged ones.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from dlplay.engine.events import DurableEvent, Evaluated, Event, Saved, Started, Stepped
from dlplay.runs.files import FULL, NotRegular, open_regular

LINE_LIMIT = 1 << 20
"""Bytes of one line, its newline included."""

_CHUNK = 1 << 18
_HEAD = 1 << 12
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[DurableEvent] = msgspec.json.Decoder(DurableEvent)

E = TypeVar("E", bound=Event)


class JournalFull(OSError):
    """The disk is full. Nothing of the event was written; it can be appended again once there is space."""


class Journal:
    """Appends events. Only for the holder of the run's lock."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, cut off a partial last line, and continue `seq` after the last whole one. Raises `OSError`."""
        self.path = path
        self._compact_at = 0
        """Bytes from which it is compacted again; 0: not yet."""
        self._fd = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.seq = 0
        """The `seq` that the next event gets."""
        try:
            self._size = _whole_size(self._fd)
            self._torn = self._size != os.fstat(self._fd).st_size
            self._cut()
            self.seq = _next_seq(self._fd, self._size, path)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, event: E) -> E:
        """Write the event with the next `seq`, and with the current time unless it has one; returns it as written.

        Raises `JournalFull`, other `OSError`s, and `ValueError` for a line over 1 MiB; then nothing is written and no `seq` is used.
        """
        self._cut()
        stamped = msgspec.structs.replace(event, seq=self.seq, time=event.time or time.time())
        line = _encoder.encode(stamped) + b"\n"
        if len(line) > LINE_LIMIT:
            raise ValueError(f"an event of {len(line):,} bytes does not fit in the journal; the limit is {LINE_LIMIT:,}")
        self._torn = True
        try:
            view = memoryview(line)
            while view:  # a disk that fills up writes a part without an error
                view = view[os.write(self._fd, view) :]
        except BaseException as error:
            self._cut()
            if isinstance(error, OSError) and error.errno in {*FULL, errno.EFBIG}:
                raise JournalFull(error.errno, f"the disk is full: {os.strerror(error.errno)}", str(self.path)) from None
            raise
        self._torn = False
        self._size += len(line)
        self.seq += 1
        return stamped

    def _cut(self) -> None:
        """Truncate to the last whole line."""
        if self._torn:
            os.ftruncate(self._fd, self._size)
            self._torn = False

    def compact(self) -> None:
        """Compact it once it is long (`runs/compaction.py`). Without space for that it stays as it is, and is tried again when longer."""
        from dlplay.runs import compaction  # with numpy, which a list of runs does without

        if self._size < (self._compact_at or compaction.LIMIT):
            return
        self._compact_at = self._size + self._size // 4
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.fstat(self._fd), self.path.lstat()):
                return  # the run's folder is no longer at its path
            draft = compaction.compacted(self.path, compaction.KEPT, compaction.BLOCKS)
            fd = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            draft.replace(self.path)
            os.close(self._fd)
            self._fd, self._size, self._torn = fd, os.fstat(fd).st_size, False
            self._compact_at = max(compaction.LIMIT, 2 * self._size)

    def sync(self) -> None:
        """Flush to the disk (fsync); called before a checkpoint is saved, so that no checkpoint is ahead of its journal."""
        os.fsync(self._fd)

    def close(self) -> None:
        """May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class JournalReader:
    """Reads a journal as it grows; the file need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        """Lines that were skipped because they could not be read."""
        self._offset = 0
        self._skipping = False
        self._file: tuple[int, int] | None = None
        """Device and inode of the file that was read."""
        self._head = b""
        """How it begins."""
        self._seq = self._known = -1
        """Of the last event that was read; and up to which they are passed over, in a journal that was compacted."""

    @property
    def unread(self) -> int:
        """Bytes that were not read yet."""
        try:
            return max(0, self.path.lstat().st_size - self._offset)
        except OSError:
            return 0

    def read(self, limit: float = math.inf) -> list[DurableEvent]:
        """The events since the last call, of at most about `limit` bytes; none of a link, or of anything else that is not a regular file.

        Of a journal that was compacted since then, the events that were read before are passed over.
        """
        try:
            fd = open_regular(self.path, os.O_RDONLY)
        except (FileNotFoundError, NotRegular):
            return []
        try:
            facts = os.fstat(fd)
            if self._file not in (None, (facts.st_dev, facts.st_ino)) or facts.st_size < self._offset:  # another file by now
                self._offset, self._skipping = 0, False
                same_run = self._head and os.pread(fd, len(self._head), 0) == self._head
                self._known = self._seq if same_run else -1
            self._file = facts.st_dev, facts.st_ino
            self._head = os.pread(fd, _HEAD, 0).partition(b"\n")[0]
            begin = self._offset
            events: list[DurableEvent] = []
            rest = b""
            while self._offset - begin < limit and (chunk := os.pread(fd, _CHUNK, self._offset + len(rest))):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._offset += len(line) + 1
                    self._take(line, events)
                if len(rest) >= LINE_LIMIT:  # too long for a line of a journal: skip it without keeping it
                    self._offset += len(rest)
                    self._skipping, rest = True, b""
            return events
        finally:
            os.close(fd)

    def parts(self, limit: float) -> Iterator[list[DurableEvent]]:
        """All events that there are by now, about `limit` bytes of the file at a time; a part may be empty, such as of damaged lines."""
        before = None
        while before != (before := (self._file, self._offset)):
            yield self.read(limit)

    def _take(self, line: bytes, events: list[DurableEvent]) -> None:
        if self._skipping:
            self._skipping = False
            self.damaged += 1
            return
        try:
            event = decode(line)
        except ValueError:
            self.damaged += 1
            return
        if event.seq > self._known:
            self._seq = event.seq
            events.append(event)


def decode(line: bytes) -> DurableEvent:
    """One line as an event. Numbers that JSON does not have (NaN, infinities) come back as None, or as NaN where None is not allowed.

    Raises `ValueError`.
    """
    try:
        try:
            return _decoder.decode(line)
        except msgspec.ValidationError:
            event = json.loads(line)
            if not isinstance(event, dict) or not isinstance(event.get("metrics"), dict):
                raise
            found: DurableEvent = msgspec.convert(_with_nan(event), DurableEvent)
            return found
    except RecursionError:
        raise ValueError("an event nested too deeply") from None


def history(path: Path) -> list[DurableEvent]:
    """The journal's events with each step once: a `Started` discards earlier events of later steps, and of several evaluations of one step
    the newest counts."""
    return supersede(JournalReader(path).read())


def supersede(events: Iterable[DurableEvent]) -> list[DurableEvent]:
    """`history` of events that were read already."""
    kept: list[DurableEvent] = []
    for event in events:
        if isinstance(event, Started):
            kept = [cut for other in kept if (cut := up_to(other, event.step)) is not None]
        elif isinstance(event, Evaluated):
            kept = (
                [other for other in kept if not (isinstance(other, Evaluated) and other.step == event.step)]
                if _repeats(kept, event)
                else kept
            )
        kept.append(event)
    return kept


def _repeats(kept: list[DurableEvent], event: Evaluated) -> bool:
    """Whether the step was evaluated already; looks back no further than that step."""
    for other in reversed(kept):
        if other.step < event.step and not isinstance(other, Saved):  # a checkpoint may be recorded long after its step
            return False
        if isinstance(other, Evaluated) and other.step == event.step:
            return True
    return False


def up_to(event: DurableEvent, step: int) -> DurableEvent | None:
    if event.step <= step:
        return event
    if isinstance(event, Stepped) and event.first <= step:
        count = bisect.bisect_right(event.at, step) if event.at else step - event.first + 1
        return msgspec.structs.replace(
            event, step=step, at=event.at[:count], metrics={name: v[:count] for name, v in event.metrics.items()}
        )
    return None


def _with_nan(event: dict[str, Any]) -> dict[str, Any]:
    metrics = {name: float("nan") if value is None else value for name, value in event["metrics"].items()}
    return {**event, "metrics": metrics}


def _whole_size(fd: int) -> int:
    """Size of the file in bytes, without a partial last line."""
    end = os.fstat(fd).st_size
    while end > 0:
        begin = max(0, end - _CHUNK)
        found = os.pread(fd, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def tail(fd: int, size: int, limit: int) -> list[bytes]:
    """The whole lines among the last `limit` bytes of the first `size`, oldest first."""
    begin = max(0, size - limit)
    lines = os.pread(fd, size - begin, begin).split(b"\n")[:-1]
    return lines[1:] if begin else lines


def _next_seq(fd: int, size: int, path: Path) -> int:
    for limit in (1 << 14, 4 * LINE_LIMIT):
        for after, line in enumerate(reversed(tail(fd, size, limit))):
            try:
                return decode(line).seq + 1 + after
            except ValueError:
                continue
        if limit >= size:
            break
    events = JournalReader(path).read() if size else []  # megabytes of damage at the end: read from the start
    return max((event.seq for event in events), default=-1) + 1
