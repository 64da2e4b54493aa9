"""Charts of many runs: milliseconds to draw 20 of 100,000 steps again when one of them has grown, beside one run alone; and seconds of
`dlplay compare` over as many."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.effort import Effort
from benchmarks.rounds import percentile
from benchmarks.table import Line
from dlplay import architectures
from dlplay.engine.events import Evaluated, Finished, Started, Stepped
from dlplay.engine.settings import to_dict
from dlplay.runs import directory
from dlplay.runs.journal import Journal
from dlplay.widgets import Curve, LineChart
from dlplay.widgets.drawing.palette import palette

RUNS, STEPS = 20, 100_000
AT_ONCE = 1000
"""Steps of a record."""
SIZE = (100, 30)
COLOURS = palette((18, 18, 18), (224, 224, 224), (240, 165, 20), "full")


def measure(effort: Effort) -> list[Line]:
    """Drawing alternates between many and one."""
    steps = effort.steps(STEPS)
    many, one = _chart(RUNS, steps), _chart(1, steps)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(effort.steps(100)):
        for draw, times in zip((many, one), taken, strict=True):
            began = time.perf_counter()
            draw()
            times.append(1000 * (time.perf_counter() - began))
    median = statistics.median(taken[0])
    return [
        Line(f"{RUNS} runs of {steps:,} steps, drawn again, median", median, "ms", 10.0, "most"),
        Line("95th percentile", percentile(taken[0], 95), "ms"),
        Line("one run of them alone, median", statistics.median(taken[1]), "ms"),
        Line(f"dlplay compare of {RUNS} runs of {steps:,} steps", _compared(steps), "s"),
    ]


def _chart(count: int, steps: int) -> Callable[[], object]:
    """Draws so many curves, the last of which grows each time."""
    random = np.random.default_rng(0)
    x = np.arange(2.0 * steps)
    curves = [random.normal(size=2 * steps).cumsum() for _ in range(count)]
    chart = LineChart()
    grown = steps

    def draw() -> object:
        nonlocal grown
        grown = min(grown + 10, 2 * steps)
        ended = [Curve(f"run-{i}", x_of[i], y_of[i], colour=str(i), smoothed=False) for i in range(count - 1)]
        chart.show([*ended, Curve("live", x[:grown], curves[-1][:grown], smoothed=False)])
        return chart.paint(*SIZE, COLOURS)

    x_of, y_of = [x[:steps]] * count, [curve[:steps] for curve in curves]
    draw()
    return draw


def _compared(steps: int) -> float:
    """Seconds of the command, which reads the journals."""
    settings = to_dict(architectures.card("convnet").settings())
    losses = (2.3 * np.exp(-np.arange(AT_ONCE) / 300)).tolist()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(RUNS):
            run = directory.create(folder, "convnet", settings)
            begin = Started(
                architecture="convnet", name=run.name, settings=settings, device="cpu", device_name="", threads=1, parameters=1, data=""
            )
            with Journal(run.journal_path) as journal:
                journal.append(begin)
                for step in range(AT_ONCE, max(steps, AT_ONCE) + 1, AT_ONCE):
                    journal.append(Stepped(first=step - AT_ONCE + 1, step=step, metrics={"train_loss": losses}, seconds=step / 100))
                    journal.append(Evaluated(step=step, metrics={"test_accuracy": 1 - 1 / (step + number)}))
                journal.append(Finished(step=steps, reason="steps", metrics={}, baselines={}, steps_per_second=1, seconds=steps / 100))
        began = time.perf_counter()
        command = [sys.executable, "-m", "dlplay", "compare", "convnet-*", "--runs-dir", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began
