"""The checkpoints of a run by their steps: the latest ones, and those along the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from dlplay.checkpoints import CheckpointError, store
from dlplay.checkpoints.store import Checkpoint
from dlplay.engine.settings import SettingsError
from dlplay.runs.directory import RunDirectory

ATTEMPTS = 5
"""The run may be training: between the look and the reading it may have dropped a checkpoint."""
SHOWN = 40
"""Steps that an error lists."""


def steps(run: RunDirectory, *, stateful: bool = False) -> dict[int, Path]:
    """The folder of each checkpoint by its step, in order; `stateful`: of those that have the training state."""
    along, latest = run.history, run.store
    found = {step: along.directory / f"step-{step}" for step in (along.stateful() if stateful else along.steps())}
    found |= {step: latest.directory / f"step-{step}" for step in latest.steps()}
    return dict(sorted(found.items()))


def at(run: RunDirectory, step: int) -> Checkpoint:
    """The checkpoint of this step, without its training state. Raises `SettingsError` with the steps there are, or `CheckpointError`."""
    return _read(run, lambda there: step if step in there else None, f"of step {step:,}", stateful=False, state=False)


def nearest(run: RunDirectory, step: int, *, stateful: bool = False, state: bool = False) -> Checkpoint:
    """The last checkpoint at or before this step: `stateful` of those with a training state, `state` with it where it has one.

    Raises `SettingsError` or `CheckpointError`.
    """
    kind = "with its training state " if stateful else ""
    return _read(
        run, lambda there: max((one for one in there if one <= step), default=None), f"{kind}at or before step {step:,}", stateful, state
    )


def _read(run: RunDirectory, choose: Callable[[dict[int, Path]], int | None], wanted: str, stateful: bool, state: bool) -> Checkpoint:
    for attempt in itertools.count(1):
        there = steps(run, stateful=stateful)
        chosen = choose(there)
        if chosen is None:
            raise SettingsError(f"{run.name} has no checkpoint {wanted}; {_listed(list(there))}")
        try:
            return store.load(there[chosen], state=stateful or state)
        except CheckpointError:
            if there[chosen].exists() or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _listed(there: list[int]) -> str:
    if not there:
        return "it has none"
    shown = there if len(there) <= SHOWN else [*there[: SHOWN // 2], *there[-SHOWN // 2 :]]
    words = [str(step) for step in shown]
    if len(shown) < len(there):
        words.insert(SHOWN // 2, "…")
    return f"there are {', '.join(words)}" if len(there) > 1 else f"there is {words[0]}"
