"""From space to the first training step on the screen, on every tab, once its launcher is ready, and the processor time that it takes."""

from __future__ import annotations

import contextlib
import functools
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from benchmarks.effort import Effort
from benchmarks.rounds import alternate
from benchmarks.table import Line, spread
from benchmarks.terminal import Drawn, Terminal, terminal
from dlplay import architectures
from dlplay.engine.events import Started, Stepped
from dlplay.runs.journal import JournalReader
from dlplay.runs.launcher import FLAG

PROMISED = 0.5
SECONDS = 60.0
LATER = 1.0
"""Seconds in which the screen has taken a key, or shows a step that was recorded."""
QUIET = 2000
"""Bytes that a screen at rest sends in a second, at most."""
LEAVE = "\x1b"
"""Escape: where a tab begins on a line to type in, space would be typed there."""
STEPPED = re.compile(r"[1-9][0-9,]* / [0-9,]+ +[━╸─]")
"""The run bar, from the first step on."""


class FirstStep(msgspec.Struct):
    """Seconds from the key."""

    shown: float
    recorded: float
    cpu: float
    """Processor time of the run's process until then."""


def measure(effort: Effort) -> list[Line]:
    """Medians; the processor time is hardly moved by other programs on the machine, the others are."""
    names = effort.of(architectures.cards())
    candidates: dict[str, Callable[[], FirstStep]] = {name: functools.partial(first_step, name) for name in names}
    lines = []
    for name, found in alternate(candidates, effort.rounds).items():
        shown, recorded, cpu = ([getattr(each, field) for each in found] for field in FirstStep.__struct_fields__)
        lines += [
            Line(f"{name}, from space to the first step on the screen", statistics.median(shown), "s", PROMISED, "most", spread(shown)),
            Line(f"{name}, in the run's journal", statistics.median(recorded), "s", spread=spread(recorded)),
            Line(f"{name}, processor time of the run until then", statistics.median(cpu), "s", spread=spread(cpu)),
        ]
    return lines


def first_step(name: str) -> FirstStep:
    """Of a tab that was left alone until nothing more happened on it. Raises `TimeoutError`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        screen = stack.enter_context(terminal(name, "--runs-dir", folder))
        _settle(screen)
        screen.send(LEAVE)
        time.sleep(LATER)
        began = time.perf_counter()
        screen.send(" ")
        run, cpu = _run_that_stepped(Path(folder), began + SECONDS)
        recorded = time.perf_counter()
        stack.callback(run.wait, SECONDS)
        stack.callback(run.terminate)
        time.sleep(LATER)
        return FirstStep(_shown(screen.parts, began) - began, recorded - began, cpu)


def _settle(screen: Terminal) -> None:
    """Wait until the launcher has read ahead, and the panels have come."""
    deadline, before = time.perf_counter() + SECONDS, (0.0, 0)
    while time.perf_counter() < deadline:
        launchers = [child for child in psutil.Process(screen.process.pid).children() if FLAG in child.cmdline()]
        now = sum(sum(launcher.cpu_times()[:2]) for launcher in launchers), screen.bytes
        if now[0] > 0 and now[0] == before[0] and now[1] - before[1] < QUIET:
            return
        before = now
        time.sleep(1.0)
    raise TimeoutError(f"the screen did not come to rest within {SECONDS:g} s")


def _run_that_stepped(runs: Path, deadline: float) -> tuple[psutil.Process, float]:
    """The process of the only run in this folder, as soon as its first step is recorded, and the processor time that it had taken."""
    reader, process = None, None
    while time.perf_counter() < deadline:
        if reader is None:
            reader = next((JournalReader(path) for path in runs.glob("[a-z]*/events.jsonl")), None)
        for event in reader.read() if reader is not None else ():
            if isinstance(event, Started):
                process = psutil.Process(event.pid)
            if isinstance(event, Stepped) and process is not None:
                return process, sum(process.cpu_times()[:2])
        time.sleep(0.005)
    raise TimeoutError(f"no run recorded a step within {SECONDS:g} s")


def _shown(parts: list[tuple[float, bytes]], since: float) -> float:
    """When the screen that these bytes draw first told of a step, after `since`. Raises `TimeoutError`."""
    drawn = Drawn()
    for when, data in parts:
        drawn.feed(data)
        if when > since and STEPPED.search(drawn.text):
            return when
    raise TimeoutError("the first step did not reach the screen")
