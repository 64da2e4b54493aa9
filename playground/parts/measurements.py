"""What a panel measures on request: how long something takes on this device, and results that are kept so that each is measured once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from dlplay.engine.device import describe, synchronize

K = TypeVar("K")
V = TypeVar("V")

MOST = 64
"""Results that are kept, at most."""


def fastest(call: Callable[[], object], device: torch.device, *, seconds: float, repeats: int = 1) -> float:
    """Seconds of the fastest of several calls, since other programs disturb.

    It is called once to warm up, then `repeats` times at least, and until `seconds` have passed.
    """
    call()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < repeats or time.perf_counter() - began < seconds:
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def device_and_threads(device: torch.device) -> str:
    """The device in words, for a CPU with the threads in use."""
    threads = torch.get_num_threads()
    return f"{describe(device)}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else describe(device)


def remember(kept: dict[K, V], key: K, measure: Callable[[], V]) -> V:
    """`kept[key]`, measured now if it is not there; the oldest result is dropped for one too many."""
    if key not in kept:
        if len(kept) >= MOST:
            kept.pop(next(iter(kept)))
        kept[key] = measure()
    return kept[key]
