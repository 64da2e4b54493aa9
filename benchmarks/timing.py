"""How fast a training loop went, by the wall and by the processor."""

from __future__ import annotations

import time

import msgspec


class Pace(msgspec.Struct, frozen=True):
    """A loop's speed. The processor's figure is hardly moved by other programs on the machine; the wall's is what a person waits for."""

    steps_per_second: float
    """By the wall clock."""
    cpu_ms: float
    """Processor time of the whole process for one step, in milliseconds."""
    loss: float
    """Training loss of the last step: two loops with the same one did the same work."""
    reported: float = 0.0
    """What the `Finished` event of a run claims as its `steps_per_second`."""


class Stopwatch:
    """Runs from when it is made until `report`, which prints the `Pace` as one JSON line."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def report(self, steps: int, loss: float) -> None:
        seconds, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        print(msgspec.json.encode(Pace(steps / seconds, cpu / steps * 1000, loss)).decode())
