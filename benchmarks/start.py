"""How long a person waits: for help, for the first paint, and for living panels."""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.effort import Effort
from benchmarks.rounds import alternate
from benchmarks.table import Line, spread
from benchmarks.terminal import terminal

FIRST_PAINT = "ConvNet"
"""The name of a tab."""
LIVING = {"convnet": r"held-out image 0, label", "gpt": r"equally likely words"}
"""Words of an answer of each tab's stage: a percentage would not do, since baselines and pretrained models have theirs before."""


def measure(effort: Effort) -> list[Line]:
    """Medians over twice the rounds, which are short."""
    candidates = {"help": wait_for_help, "Python alone": wait_for_python, "first paint": first_paint}
    candidates |= {f"panels of {name}": functools.partial(panels, name) for name in LIVING}
    found = alternate(candidates, 2 * effort.rounds)
    bounds = {"help": 0.25, "first paint": 0.4}
    return [
        Line(what, statistics.median(times), "s", bounds.get(what, 3.0 if what.startswith("panels") else None), "most", spread(times))
        for what, times in found.items()
    ]


def wait_for_help() -> float:
    """`dlplay --help`, from start to exit."""
    return _wait_for([sys.executable, "-m", "dlplay", "--help"])


def wait_for_python() -> float:
    """What of that the interpreter takes before any of ours."""
    return _wait_for([sys.executable, "-c", ""])


def _wait_for(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_paint() -> float:
    """From start to the first words on the screen."""
    with tempfile.TemporaryDirectory() as folder, terminal(home=folder) as screen:
        return screen.wait_for(FIRST_PAINT)


def panels(name: str) -> float:
    """From start to the first panel that the process behind the tab answered with, all of it started cold."""
    with tempfile.TemporaryDirectory() as folder, terminal(name, home=folder) as screen:
        return screen.wait_for(LIVING[name])
