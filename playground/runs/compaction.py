"""Bounds a long journal: its old training metrics are merged into blocks of steps, of which each metric keeps its extremes.

Blocks are 2^k steps wide and begin at step 1, so that those of a later compaction consist of whole ones: every smallest and largest value
of a block is one of the run's. Everything but training metrics is kept as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlplay.engine.events import DurableEvent, Started, Stepped
from dlplay.runs.history import Floats, join

LIMIT = 64 << 20
"""Bytes of a journal from which it is compacted."""
KEPT = LIMIT // 4
"""Bytes at its end that stay as they are."""
BLOCKS = 4096
"""Blocks, at most, of the part that is merged."""
AT_ONCE = 400_000
"""Values that are merged at once."""
VALUES = 16_384
"""Values in one event of merged steps, to stay far below the limit of a line."""

_encoder = msgspec.json.Encoder()


def compacted(path: Path, kept: int, blocks: int) -> Path:
    """Write the compacted journal beside it, and return its path. Raises `OSError`, and nothing is left then."""
    draft = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as target, path.open("rb") as source:
            end = _cut(source, kept)
            for event in _merged(source, end, blocks):
                target.write(_encoder.encode(event) + b"\n")
            source.seek(end)
            while data := source.read(1 << 20):
                target.write(data)
            target.flush()
            os.fsync(target.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _cut(source: BinaryIO, kept: int) -> int:
    """Where the part begins that stays as it is: after a whole line."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(0, size - kept))
    if size > kept:
        source.readline()
    return source.tell()


def _events(source: BinaryIO, end: int) -> Iterator[DurableEvent]:
    """The events of the first `end` bytes; damaged lines are passed over."""
    from dlplay.runs.journal import decode

    source.seek(0)
    at = 0
    while at < end and (line := source.readline()):
        at += len(line)
        with contextlib.suppress(ValueError):
            yield decode(line[:-1])


def _merged(source: BinaryIO, end: int, blocks: int) -> Iterator[DurableEvent]:
    """Those events, with training metrics merged, and without what a later `Started` says does not count."""
    from dlplay.runs.journal import up_to

    starts, last = [], 0
    for number, event in enumerate(_events(source, end)):
        if isinstance(event, Started):
            starts.append((number, event.step))
        elif isinstance(event, Stepped):
            last = max(last, event.step)
    width = 1
    while width * blocks < last:
        width *= 2
    waiting = _Merger(width)
    for number, event in enumerate(_events(source, end)):
        ceiling = min((step for at, step in starts if at > number), default=None)
        kept = event if ceiling is None or isinstance(event, Started) else up_to(event, ceiling)
        if isinstance(kept, Stepped):
            yield from waiting.add(kept)
        elif kept is not None:
            if isinstance(kept, Started):
                yield from waiting.flush()
            yield kept
    yield from waiting.flush()


class _Merger:
    """Collects `Stepped` events of rising steps, and gives them back merged."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._waiting: list[Stepped] = []
        self._count = 0
        self._open: dict[str, tuple[Floats, Floats]] = {}
        """Steps and values, by metric, of the last block, to which more may come."""
        self._first = 0

    def add(self, event: Stepped) -> Iterator[Stepped]:
        if not (self._waiting or self._open):
            self._first = event.first
        self._waiting.append(event)
        self._count += sum(map(len, event.metrics.values()))
        if self._count > AT_ONCE:
            yield from self._merge((event.step - 1) // self._width)

    def flush(self) -> Iterator[Stepped]:
        """All that is left."""
        if self._waiting:
            yield from self._merge(None)

    def _merge(self, open_block: int | None) -> Iterator[Stepped]:
        """Merge the blocks before `open_block`; None: all of them."""
        last, columns = self._waiting[-1], join(self._waiting).metrics
        self._waiting, self._count = [], 0
        kept: dict[str, dict[int, float]] = {}
        for name in [*self._open, *(name for name in columns if name not in self._open)]:
            parts = [group[name] for group in (self._open, columns) if name in group]
            steps, values = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
            steps, values = steps[~np.isnan(values)], values[~np.isnan(values)]
            block = (steps.astype(np.int64) - 1) // self._width
            whole = np.ones(len(block), bool) if open_block is None else block < open_block
            self._open[name] = steps[~whole], values[~whole]
            places = _extremes(block[whole], values[whole])
            kept[name] = dict(zip(steps[whole][places].astype(int).tolist(), values[whole][places].tolist(), strict=True))
        if open_block is None:
            self._open = {}
        end = last.step if open_block is None else open_block * self._width
        steps_kept = sorted(set().union(*kept.values()))
        rows = max(1, VALUES // max(1, len(kept)))
        for begin in range(0, len(steps_kept), rows):
            at = steps_kept[begin : begin + rows]
            step = end if begin + rows >= len(steps_kept) else at[-1]
            metrics: dict[str, list[float | None]] = {name: [column.get(step) for step in at] for name, column in kept.items()}
            yield msgspec.structs.replace(last, first=self._first, step=step, at=at, metrics=metrics)
            self._first = step + 1


def _extremes(block: NDArray[np.int64], values: Floats) -> list[int]:
    """The places of the smallest and the largest value of every block."""
    if not len(block):
        return []
    order = np.lexsort((values, block))
    starts = np.flatnonzero(np.diff(block[order], prepend=-1))
    return sorted({*order[starts].tolist(), *order[np.append(starts[1:], len(order)) - 1].tolist()})
