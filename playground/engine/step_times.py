"""Where the time of training goes: a few steps are timed part by part, evaluations and saves by the clock.

A timed step is divided by what happens in it, so no architecture has to do anything for it:

- `forward`: modules that compute (whatever calls them), and the loss, which follows them
- `backward`, `optimiser`: by `Task.minimise`; clipping the gradients and looking whether they are finite belong to the optimiser
- `data`: the rest, which is chiefly what comes before the modules: drawing a batch, for DQN its environment and its memory as well

Which steps are timed is drawn at random, so that what happens every so many steps is met as often as it happens. On CUDA the marks are
events of the device, which nobody waits for. The weights stay the same to the bit.
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlplay.engine.machine import PARTS
from dlplay.engine.marks import BETWEEN, marked
from dlplay.engine.task import Task
from dlplay.engine.trace import Trace

SECONDS = 0.25
"""Mean time between two steps that are timed: on a CPU that costs some 0.1 to 0.3 ms each (python -m benchmarks system)."""
FIRST = 3
"""Steps of a process that are not timed: the first ones allocate and compile."""
WAITING = 16
"""Steps on a card whose marks may wait to be read."""


class StepTimes:
    """Takes a task's steps, and times some of them. Its sums only grow: whoever wants those of a while takes differences."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.seconds = dict.fromkeys(PARTS, 0.0)
        """Of all timed steps together."""
        self.timed = 0
        """How many steps were timed."""
        self.clock = {"evaluation": 0.0, "saving": 0.0}
        """Seconds that training stood still for them."""
        self.trace: Trace | None = None
        """Takes all the steps while it is there."""
        self._parts = task.device.type in ("cpu", "cuda")  # the marks of other devices are the host's, which runs ahead
        self._random = random.Random(0)
        self._since = time.perf_counter()
        self._step = task.step
        """When a step was timed last, and which."""
        self._next = task.step + FIRST
        self._waiting: list[list[tuple[Any, str]]] = []

    def advance(self) -> dict[str, Tensor]:
        """The task's next step."""
        if self.trace is not None:
            return self.trace.advance()
        if self.task.step < self._next or not self._parts:
            return self.task.advance()
        self._plan()
        clock = functools.partial(_event, self.task.device) if self.task.device.type == "cuda" else time.perf_counter
        marks: list[tuple[Any, str]] = []
        with marked(self.task, lambda part: marks.append((clock(), part))):
            metrics = self.task.advance()
        self._waiting.append(marks)
        self._read()
        return metrics

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Within it training stands still for this."""
        began = time.perf_counter()
        with torch.profiler.record_function(name) if self.trace is not None else contextlib.nullcontext():
            yield
        self.clock[name] += time.perf_counter() - began

    def between(self) -> None:
        """Read marks that are there by now, and write a trace that is complete, while training stands still."""
        self._read()
        if self.trace is not None and self.trace.done:
            self.close()

    def close(self) -> None:
        """Write what is traced."""
        if self.trace is not None:
            trace, self.trace = self.trace, None
            trace.finish()

    def _plan(self) -> None:
        """Draw the next step that is to be timed: within twice as many as `SECONDS` have."""
        now, step = time.perf_counter(), self.task.step
        mean = SECONDS * (step - self._step) / max(now - self._since, 1e-9)
        self._next = step + self._random.randint(1, max(1, round(2 * mean) - 1))
        self._since, self._step = now, step

    def _read(self) -> None:
        """Add up the steps whose marks are there; a card has yet to reach the last ones."""
        while self._waiting:
            marks = self._waiting[0]
            if self.task.device.type == "cuda":
                if not marks[-1][0].query():
                    break
                first = marks[0][0]
                marks = [(first.elapsed_time(event) / 1000, part) for event, part in marks]
            del self._waiting[0]
            for part, seconds in _divided(marks).items():
                self.seconds[part] = self.seconds.get(part, 0.0) + seconds
            self.timed += 1
        del self._waiting[:-WAITING]


def _divided(marks: list[tuple[float, str]]) -> dict[str, float]:
    """Seconds of each part."""
    found = dict.fromkeys(PARTS, 0.0)
    for (began, part), (ended, following) in zip(marks, marks[1:], strict=False):
        name = part if part != BETWEEN else "forward" if following == "backward" else "data"
        found[name] = found.get(name, 0.0) + max(ended - began, 0.0)
    return found


def _event(device: torch.device) -> torch.cuda.Event:
    """A mark on the stream of this card, which need not be the current one."""
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
