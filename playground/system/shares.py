"""Where the time of a run went, from what was recorded of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from dlplay.engine.machine import PARTS, Sample

OTHER = "other"
"""Training time outside of the steps: recording, panels, a limited speed."""


def shares(samples: Sequence[Sample]) -> dict[str, float]:
    """Shares of the time, which sum to 1: the parts of a step as those that were timed say, and what the clock says of the rest.

    Nothing was timed part by part: the steps are one share, `training`. Empty when nothing was recorded.
    """
    clock: dict[str, float] = {}
    parts = dict.fromkeys(PARTS, 0.0)
    for sample in samples:
        for name, seconds in sample.times.items():
            clock[name] = clock.get(name, 0.0) + seconds
        for name, seconds in sample.parts.items():
            parts[name] = parts.get(name, 0.0) + seconds
    training, timed = clock.pop("training", 0.0), sum(sample.timed for sample in samples)
    total, of_timed = training + sum(clock.values()), sum(parts.values())
    if total <= 0:
        return {}
    if not timed or of_timed <= 0:
        return {name: seconds / total for name, seconds in {"training": training, **clock}.items()}
    steps = sum(sample.step - sample.first for sample in samples)
    in_steps = min(of_timed / timed * steps, training)
    found = {name: seconds / of_timed * in_steps for name, seconds in parts.items()} | clock | {OTHER: training - in_steps}
    return {name: seconds / total for name, seconds in found.items()}


def timed(samples: Sequence[Sample]) -> str:
    """What the shares rest on, in words."""
    steps, of = sum(sample.timed for sample in samples), sum(sample.step - sample.first for sample in samples)
    return f"{steps:,} of {of:,} steps timed"
