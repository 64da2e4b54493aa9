"""Training without a screen against a bare PyTorch loop over the same model, data, batches and optimiser."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import statistics
from collections.abc import Callable

from benchmarks.effort import Effort
from benchmarks.pace import bare, program
from benchmarks.rounds import alternate, ratio
from benchmarks.table import Line, spread
from benchmarks.timing import Pace
from dlplay import architectures

PROMISED = 0.97


def bare_loops() -> dict[str, int]:
    """Architectures that have a `benchmarks/bare_NAME.py` with `STEPS`, and these steps."""
    modules = {name: f"benchmarks.bare_{name.replace('-', '_')}" for name in architectures.cards()}
    found = {name: importlib.import_module(module) for name, module in modules.items() if importlib.util.find_spec(module)}
    return {name: module.STEPS for name, module in found.items() if hasattr(module, "STEPS")}


def measure(effort: Effort) -> list[Line]:
    """Steps per second of both, and their ratio, for every architecture that has a bare loop."""
    lines = []
    for architecture, usual in bare_loops().items():
        steps = effort.steps(usual)
        candidates: dict[str, Callable[[], Pace]] = {
            f"{architecture} bare loop": functools.partial(bare, architecture, steps, effort.threads),
            f"{architecture} headless": functools.partial(program, architecture, steps, effort.threads),
        }
        loop, run = alternate(candidates, effort.rounds).values()
        lines += paces(f"{architecture} bare loop", loop) + paces(f"{architecture} headless", run)
        lines += against(f"{architecture} headless over bare", run, loop, PROMISED)
        claimed = [pace.reported / pace.steps_per_second for pace in run]
        lines.append(Line(f"{architecture} steps_per_second it reports, over that of the whole training", statistics.median(claimed)))
    return lines


def paces(what: str, found: list[Pace]) -> list[Line]:
    """Medians of what was measured."""
    speeds, costs = [pace.steps_per_second for pace in found], [pace.cpu_ms for pace in found]
    return [
        Line(what, statistics.median(speeds), "steps/s", spread=spread(speeds)),
        Line(f"{what}, processor time", statistics.median(costs), "ms a step", spread=spread(costs)),
    ]


def against(what: str, run: list[Pace], loop: list[Pace], promised: float) -> list[Line]:
    """Ratios of speed; raises `RuntimeError` when the two did not do the same work."""
    for mine, other in zip(run, loop, strict=True):
        if abs(mine.loss - other.loss) > 1e-3 * abs(other.loss):
            raise RuntimeError(f"{what}: the last losses are {mine.loss} and {other.loss}, so the two did not do the same work")
    speeds = [a.steps_per_second / b.steps_per_second for a, b in zip(run, loop, strict=True)]
    costs = [b.cpu_ms / a.cpu_ms for a, b in zip(run, loop, strict=True)]
    return [
        Line(f"{what}, by the wall", ratio(speeds, [1.0] * len(speeds)), bound=promised, spread=spread(speeds)),
        Line(f"{what}, by processor time", ratio(costs, [1.0] * len(costs)), bound=promised, spread=spread(costs)),
    ]
