"""What it costs to record the machine and to time some steps part by part. Recording: the processor time of a sample, of which there
is one a second. Timing: what a timed step takes more than another one, four of each in turns in one process (A B A B, medians), over the
time in which there is one. The autoencoder and DQN have the shortest steps, GPT and Transformer-XL the most modules."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.effort import Effort
from benchmarks.table import Line, spread
from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.marks import marked
from dlplay.engine.settings import make
from dlplay.engine.step_times import SECONDS
from dlplay.engine.task import Task
from dlplay.runs.machine import Counts, Recording
from dlplay.system.gauges import Gauges

ALLOWED = 0.01
"""Of the processor time."""
NAMES = ("convnet", "autoencoder", "dqn", "gpt", "transformer-xl")
BLOCK = 4
"""Steps of one kind before those of the other: DQN learns in every second one."""


def measure(effort: Effort) -> list[Line]:
    """Both."""
    lines = [_recording(effort)]
    for name in NAMES:
        lines += _timing(name, effort)
    return lines


def _recording(effort: Effort) -> Line:
    """Processor time of a sample, of which there is one a second."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Counts(step=1, examples=1, tokens=1, times={"training": 1.0}, parts={}, timed=0)
        recording = Recording(Path(folder), counts.step, lambda: counts, Gauges(torch.device("cpu")).read, lambda: False)
        taken = []
        for _ in range(effort.steps(400)):
            recording._began -= 1.0  # a second has passed
            began = time.process_time()
            recording._take()
            taken.append(time.process_time() - began)
        recording.close()
    return Line("one sample a second, of the processor time of one core", statistics.median(taken), "", ALLOWED, "most", spread(taken))


def _timing(name: str, effort: Effort) -> list[Line]:
    """Milliseconds of processor time that a timed step takes more, and that as a share of the time in which there is one."""
    card = architectures.card(name)
    settings = make(card.settings, {"device": "cpu", "threads": effort.threads, "steps": 10**9})
    task: Task[Any] = card.load_task()(settings, prepare(settings), None)
    marks: list[tuple[float, str]] = []

    def timed() -> None:
        marks.clear()
        with marked(task, lambda part: marks.append((time.perf_counter(), part))):
            task.advance()

    _block(task, task.advance, 1500 if name == "dqn" else 20)  # DQN fills its memory first
    plain, more = [], []
    for number in range(effort.steps(200) // 2):
        found = {}
        for advance in (task.advance, timed) if number % 2 else (timed, task.advance):
            found[advance] = 1000 * _block(task, advance, BLOCK) / BLOCK
        plain.append(found[task.advance])
        more.append(found[timed] - found[task.advance])
    step, extra = statistics.median(plain), statistics.median(more)
    return [
        Line(f"{name}, step", step, "ms", spread=spread(plain)),
        Line(f"{name}, a timed step takes more", extra, "ms", spread=spread(more)),
        Line(f"{name}, of the processor time", extra / max(1000 * SECONDS, step), "", ALLOWED, "most"),
    ]


def _block(task: Task[Any], advance: Callable[[], object], steps: int) -> float:
    """Processor time of so many steps."""
    began = time.process_time()
    for _ in range(steps):
        advance()
        task.step += 1
    return time.process_time() - began
