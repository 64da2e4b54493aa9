"""The checkpoints of a run by their steps: the latest ones, and those along the way; and of a shipped model, which may have some too."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

from dlplay.checkpoints import CheckpointError, shipped, store
from dlplay.checkpoints.shipped import Shipped
from dlplay.checkpoints.store import Checkpoint
from dlplay.engine.settings import SettingsError
from dlplay.runs.directory import RunDirectory, is_run

ATTEMPTS = 5
"""The run may be training: between the look and the reading it may have dropped a checkpoint."""
SHOWN = 40
"""Steps that an error lists."""


def at_step(text: str) -> tuple[str, int] | None:
    """`gpt-1@200` as a name and a step; None for what has no such form."""
    match = re.fullmatch(r"([^/@]+)@([0-9]{1,18})", text)
    return (match[1], int(match[2])) if match else None


def named(text: str, runs_dir: Path) -> RunDirectory | Shipped | None:
    """The shipped model or the run that `text` names, with a step or without; None where it is a folder, or nothing is called so.

    Names of shipped models come first. Raises `CheckpointError` for a damaged manifest.
    """
    name, _ = at_step(text) or (text, 0)
    known = shipped.shipped()
    if name in known:
        return known[name]
    return RunDirectory(runs_dir / name) if "/" not in name and is_run(runs_dir, name) else None


def steps(of: RunDirectory | Shipped, *, stateful: bool = False) -> dict[int, Path]:
    """The folder of each checkpoint by its step, in order; `stateful`: of those that have the training state, which no shipped one has."""
    if isinstance(of, Shipped):
        return {} if stateful else of.steps
    along, latest = of.history, of.store
    found = {step: along.directory / f"step-{step}" for step in (along.stateful() if stateful else along.steps())}
    found |= {step: latest.directory / f"step-{step}" for step in latest.steps()}
    return dict(sorted(found.items()))


def load(of: RunDirectory | Shipped, step: int, path: Path, *, state: bool) -> Checkpoint:
    """The checkpoint of that step, which lies at `path`, with its training state or without. Raises `CheckpointError`."""
    return of.open(step) if isinstance(of, Shipped) else store.load(path, state=state)


def at(of: RunDirectory | Shipped, step: int) -> Checkpoint:
    """The checkpoint of this step, without its training state. Raises `SettingsError` with the steps there are, or `CheckpointError`."""
    return _read(of, lambda there: step if step in there else None, f"of step {step:,}", stateful=False, state=False)


def nearest(of: RunDirectory | Shipped, step: int, *, stateful: bool = False, state: bool = False) -> Checkpoint:
    """The last checkpoint at or before this step: `stateful` of those with a training state, `state` with it where it has one.

    Raises `SettingsError` or `CheckpointError`.
    """
    kind = "with its training state " if stateful else ""
    return _read(
        of, lambda there: max((one for one in there if one <= step), default=None), f"{kind}at or before step {step:,}", stateful, state
    )


def _read(
    of: RunDirectory | Shipped, choose: Callable[[dict[int, Path]], int | None], wanted: str, stateful: bool, state: bool
) -> Checkpoint:
    for attempt in itertools.count(1):
        there = steps(of, stateful=stateful)
        chosen = choose(there)
        if chosen is None:
            raise SettingsError(f"{of.name} has no checkpoint {wanted}; {_listed(list(there))}")
        try:
            return load(of, chosen, there[chosen], state=stateful or state)
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
