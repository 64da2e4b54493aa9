"""What looking back costs: training with checkpoints along the way against training without any, default runs of the ConvNet and the
autoencoder in turns (the autoencoder has the shortest steps), by the training time and by processor time; and how soon after a key a
panel answers from another checkpoint, in the screen at 140x42."""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks.effort import Effort
from benchmarks.pace import environment, program
from benchmarks.rounds import alternate, percentile, ratio
from benchmarks.table import Line, spread
from benchmarks.terminal import terminal
from benchmarks.timing import Pace
from dlplay import architectures
from dlplay.checkpoints.history import kept

ALLOWED = 1.02
SOON = 150.0
"""Milliseconds from the key to the panel."""
PAUSE = 0.5
"""Seconds between two keys."""


def measure(effort: Effort) -> list[Line]:
    """All three."""
    return [*_training("convnet", effort), *_training("autoencoder", effort), *_scrubbing(effort)]


def _scrubbing(effort: Effort) -> list[Line]:
    """From the key to the hint of a panel, which says of which step it is."""
    with tempfile.TemporaryDirectory() as runs_dir:
        command = [sys.executable, "-m", "dlplay", "convnet", "--headless", "--steps", "300", "--threads", str(effort.threads)]
        command += ["--name", "bench", "--runs-dir", runs_dir]
        subprocess.run(command, env=environment(effort.threads), check=True, stdout=subprocess.PIPE)
        with terminal("attach", "bench", "--runs-dir", runs_dir) as screen:
            screen.wait_for("at step 300")
            screen.send("z")
            screen.wait_for("as of step 300")
            taken = []
            for step in sorted(kept(299, 32), reverse=True)[: effort.steps(200) // 10]:
                time.sleep(PAUSE)
                began = time.perf_counter()
                screen.send("(")
                taken.append(1000 * (screen.wait_for(f"as of step {step:,} ·") + screen.began - began))
    return [
        Line("convnet, another checkpoint's panel is on the screen, median", statistics.median(taken), "ms", SOON, "most", spread(taken)),
        Line("the same, 95th percentile", percentile(taken, 95), "ms"),
    ]


def _training(name: str, effort: Effort) -> list[Line]:
    """Milliseconds of a step over those without history of the same round: of the training time, which is what a person waits, and of
    processor time, the thread that writes included."""
    steps = effort.steps(architectures.card(name).settings().steps)
    candidates = {
        f"history {count}": functools.partial(program, name, steps, effort.threads, settings={"history": count}) for count in (0, 32)
    }
    without, with_it = alternate(candidates, effort.rounds).values()
    lines = []
    kinds: dict[str, Callable[[Pace], float]] = {
        "training time": lambda pace: 1000 / pace.steps_per_second,
        "processor time": lambda pace: pace.cpu_ms,
    }
    for kind, milliseconds in kinds.items():
        plain, kept_along = ([milliseconds(pace) for pace in paces] for paces in (without, with_it))
        lines += [
            Line(f"{name} step without history, {kind}", min(plain), "ms", spread=spread(plain)),
            Line(f"{name} step with the usual 32, {kind}", min(kept_along), "ms", spread=spread(kept_along)),
        ]
        bound = ALLOWED if kind == "training time" else None
        lines.append(Line(f"the second over the first, {kind}", ratio(kept_along, plain), bound=bound, within="most"))
    return lines
