"""Whether memory stays flat while a run trains with a screen attached: the slope of the resident size of both processes."""

from __future__ import annotations

import statistics
import time

import psutil

from benchmarks.effort import Effort
from benchmarks.running import attached
from benchmarks.table import Line
from benchmarks.throughput import bare_loops

EVERY = 2.0
"""Seconds between two readings."""
WARM_UP = 0.2
"""Share of the time at the beginning that does not count: caches fill."""
FLAT = 20.0
"""MB an hour that count as flat."""


def measure(effort: Effort) -> list[Line]:
    """Least-squares slopes, for one architecture after the other."""
    lines = []
    for architecture in effort.of(bare_loops()):
        with attached(architecture, effort.threads) as (process, screen):
            run = psutil.Process(process.pid)
            began = time.perf_counter()
            readings = []
            while (now := time.perf_counter() - began) < effort.minutes * 60:
                readings.append((now / 3600, run.memory_info().rss / 1e6, screen.resident() / 1e6))
                time.sleep(effort.seconds(EVERY))
        hours, *sizes = zip(*readings[int(len(readings) * WARM_UP) :], strict=True)
        for who, size in zip(("run", "screen"), sizes, strict=True):
            slope = statistics.linear_regression(hours, size).slope
            words = f"{size[0]:.1f} MB, then {size[-1]:.1f} MB"
            lines.append(Line(f"{architecture}, {who}, over {effort.minutes:g} minutes", slope, "MB an hour", FLAT, "most", words))
    return lines
