"""Checkpoints along the way of a run: to look back at any time of its training, and to branch off there.

Their steps are about even in log(step), and which ones are kept depends on nothing but the step that the run has reached: a run that was
killed and resumed has the same ones. They lie in a folder of their own, so that the latest checkpoints are what they were without them.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import DATA_LIMIT, Tensors, read_bytes, tensor_file
from dlplay.checkpoints.store import META, STATE, WEIGHTS, Contents, Saved, Store, encode_meta, read_record, without_nan

LIMIT = 200_000_000
"""Bytes that they may take in all."""
MOST = 256
"""Checkpoints that a run may keep along the way."""
REACH = 500
"""The step up to which they are as dense as they can be; beyond it they are thinned."""
_COARSEST = -5
"""Level of the steps 1, 2^32."""


def kept(step: int, count: int) -> list[int]:
    """The steps of the at most `count` checkpoints that are kept once a run has reached `step`, the ones to be dropped last first.

    Level k holds 0 and 2^(j/2^k), j = 0, 1, …, rounded, and so all steps of the levels below: 1 2 4 8 … at level 0, 1 3 6 11 … besides at
    level 1. Coarse levels go before fine ones, and early steps before late ones. What is dropped when the run goes on therefore never
    comes back, and with c = `count` no gap in log2(step) is more than max(2 log2(step) / (c - 1), that of the finest level).
    """
    return list(itertools.islice((point for point in _ranked(finest(count)) if point <= step), count))


def following(step: int, count: int) -> int | None:
    """The first step after `step` at which a checkpoint is to be kept; None when there is none within 2^32 steps."""
    points = _in_order(finest(count))
    later = points[bisect.bisect_right(points, step) :]
    return next((point for point in later if point in kept(point, count)), None)


@functools.cache
def finest(count: int) -> int:
    """The finest level of which `count` checkpoints, at most `MOST`, reach step `REACH`."""
    level = _COARSEST - 1
    while sum(point <= REACH for point in _ranked(level + 1)) <= min(count, MOST):
        level += 1
    return level


@functools.cache
def _ranked(level: int) -> tuple[int, ...]:
    """The steps up to 2^32 of this level and the coarser ones, the ones to be dropped last first."""
    levels = range(_COARSEST, level + 1)
    return tuple(dict.fromkeys([0, *(round(2 ** (j * 2.0**-each)) for each in levels for j in range(math.floor(32 * 2.0**each) + 1))]))


@functools.cache
def _in_order(level: int) -> tuple[int, ...]:
    return tuple(sorted(_ranked(level)))


def within(sizes: Mapping[int, tuple[int, int]], limit: int) -> tuple[list[int], list[int]]:
    """Of checkpoints with these bytes (weights, training state), the ones to be dropped last first: which fit in `limit` bytes with their
    weights, and which of those with their training state as well."""
    whole: list[int] = []
    used = 0
    for step, (size, _) in sizes.items():
        if used + size > limit:
            break
        whole.append(step)
        used += size
    stateful: list[int] = []
    for step in whole:
        if used + sizes[step][1] > limit:
            break
        stateful.append(step)
        used += sizes[step][1]
    return whole, stateful


class History(Store):
    """The checkpoints along the way of one run. The rules of `Store` hold: staged, synced, renamed, removed by the holder of the run's
    lock alone."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._known: dict[int, tuple[int, int]] = {}
        """Sizes by step: nobody but the run's own process writes here."""

    def keep(self, step: int, weights: Tensors, tensors: Tensors, meta: Mapping[str, Any], count: int, limit: int = LIMIT) -> Saved | None:
        """Save the checkpoint of `step` and drop those that are no longer among the `count` kept, and those of later steps.

        All take `limit` bytes at most: where not every training state fits, some checkpoints have only weights and meta, and where not all
        of these fit, there are fewer. None: this one does not fit. Raises `CheckpointError` and `OSError` as `save` does.
        """
        self._check_place()
        files: dict[str, Contents] = {WEIGHTS: tensor_file(without_nan(weights)), STATE: tensor_file(tensors)}
        files[META] = encode_meta(step, files, meta)
        sizes = {other: self._sizes(other) for other in self.steps()}
        sizes[step] = (len(files[WEIGHTS]) + len(files[META]), len(files[STATE]))
        fitting, stateful = within({other: sizes[other] for other in kept(step, count) if other in sizes}, limit)
        for other in sizes:
            if other not in fitting:
                self._remove(self.directory / f"step-{other}")
            elif other not in stateful and other != step:
                self._drop_state(other)
        if step not in fitting:
            return None
        return self._write(step, files if step in stateful else _without_state(step, files[WEIGHTS], meta))

    def drop_after(self, step: int) -> None:
        """Remove those of later steps: they are from before the run was resumed at this one."""
        for later in self.steps():
            if later > step:
                self._remove(self.directory / f"step-{later}")

    def stateful(self) -> list[int]:
        """The steps whose checkpoint has the training state, so that a run can go on from there."""
        return [step for step in self.steps() if (self.directory / f"step-{step}" / STATE).is_file()]

    def _sizes(self, step: int) -> tuple[int, int]:
        if step not in self._known:
            with os.scandir(self.directory / f"step-{step}") as entries:
                files = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
            self._known[step] = files.get(WEIGHTS, 0) + files.get(META, 0), files.get(STATE, 0)
        return self._known[step]

    def _write(self, step: int, files: Mapping[str, Contents]) -> Saved:
        self._known.pop(step, None)
        return super()._write(step, files)

    def _drop_state(self, step: int) -> None:
        """Keep the weights and the meta alone; a damaged checkpoint is removed."""
        path = self.directory / f"step-{step}"
        try:
            record = read_record(path)
            weights = read_bytes(path / WEIGHTS, DATA_LIMIT)
        except CheckpointError:
            self._remove(path)
            return
        if hashlib.sha256(weights).hexdigest() != record.files.get(WEIGHTS):
            self._remove(path)
        elif STATE in record.files:
            self._write(step, _without_state(step, weights, record.meta))


def _without_state(step: int, weights: Contents, meta: Mapping[str, Any]) -> dict[str, Contents]:
    """The files of a checkpoint that has weights and meta alone."""
    files: dict[str, Contents] = {WEIGHTS: weights}
    return files | {META: encode_meta(step, files, {name: value for name, value in meta.items() if name != "state"})}
