"""Reads what the machine does now: its processors, this process, and the GPUs that CUDA shows, which NVIDIA's driver is asked about."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dlplay.engine.device import driver_of, resident_bytes
from dlplay.engine.machine import CardSample


class Reading(NamedTuple):
    """What a `Sample` says of the machine."""

    cpu: float | None
    own_cpu: float
    memory: int
    written: int | None
    cards: tuple[CardSample, ...]


class Gauges:
    """`read` tells what is now, and how busy the processors were since the last call."""

    def __init__(self, device: torch.device) -> None:
        """Cards are read for a run that computes on one: any other would have to wake CUDA up to know which there are."""
        count = torch.cuda.device_count() if device.type == "cuda" else 0
        found = [(index, driver_of(torch.device("cuda", index))) for index in range(count)]
        self._cards = [(index, *driver) for index, driver in found if driver is not None]
        self._ticks = _ticks()
        self._own = (time.monotonic(), time.process_time())

    def read(self) -> Reading:
        """Never raises, and never waits for a card."""
        before, self._ticks = self._ticks, _ticks()
        cpu = None
        if before is not None and self._ticks is not None and (all_of := self._ticks[1] - before[1]) > 0:
            cpu = min(max((self._ticks[0] - before[0]) / all_of, 0.0), 1.0)
        (then, used), self._own = self._own, (time.monotonic(), time.process_time())
        own = max(self._own[1] - used, 0.0) / max(self._own[0] - then, 1e-9)
        return Reading(cpu and round(cpu, 4), round(own, 4), resident_bytes(), _written(), tuple(_card(*card) for card in self._cards))


def _card(index: int, nvml: Any, handle: Any) -> CardSample:
    memory = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    return CardSample(
        index=index,
        utilisation=_told(lambda: min(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, 1.0)),
        memory=memory and int(memory.used),
        of_memory=memory and int(memory.total),
        temperature=_told(lambda: float(nvml.nvmlDeviceGetTemperature(handle, 0))),  # 0: of the chip itself
        power=_told(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        throttling=_told(lambda: int(_reasons(nvml)(handle))),
        processes=_told(lambda: len(nvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )


def _reasons(nvml: Any) -> Callable[[Any], int]:
    """What tells why clocks are held down; the module gave it another name in 2023."""
    names = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
    found: Callable[[Any], int] = next(getattr(nvml, name) for name in names if hasattr(nvml, name))
    return found


def _told(ask: Callable[[], Any]) -> Any:
    """The driver's answer; None where it has none: it raises errors of many kinds, and none may stop a run."""
    try:
        return ask()
    except Exception:
        return None


def _ticks() -> tuple[int, int] | None:
    """Ticks in which the processors were busy, and all of them, since the machine began; None where the system tells it otherwise."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with Path("/proc/stat").open() as file:
            numbers = [int(word) for word in file.readline().split()[1:9]]  # user nice system idle iowait irq softirq steal
        return sum(numbers) - numbers[3] - numbers[4], sum(numbers)
    return None


def _written() -> int | None:
    """Bytes that this process has sent to the disk; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{os.getpid()}/io").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "write_bytes":
                return int(value)
    return None
