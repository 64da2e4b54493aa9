"""Training with checkpoints along the way against training without any, by processor time: the ConvNet's default run, in turns."""

from __future__ import annotations

import functools

from benchmarks.effort import Effort
from benchmarks.pace import program
from benchmarks.rounds import alternate, ratio
from benchmarks.table import Line, spread
from dlplay import architectures

ALLOWED = 1.02


def measure(effort: Effort) -> list[Line]:
    """Milliseconds of a step, the thread that writes included, over those without history of the same round."""
    steps = effort.steps(architectures.card("convnet").settings().steps)
    candidates = {
        f"history {count}": functools.partial(program, "convnet", steps, effort.threads, settings={"history": count}) for count in (0, 32)
    }
    without, with_it = ([pace.cpu_ms for pace in paces] for paces in alternate(candidates, effort.rounds).values())
    return [
        Line("convnet step without history", min(without), "ms", spread=spread(without)),
        Line("convnet step with the usual 32", min(with_it), "ms", spread=spread(with_it)),
        Line("the second over the first", ratio(with_it, without), bound=ALLOWED, within="most"),
    ]
