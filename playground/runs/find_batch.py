"""The largest batch that fits into the device's memory: batches are tried, each with a fresh model that makes a few steps. No run is
touched.

A GPU says when its memory is used up. Elsewhere that would take the machine down with it, so a batch is only tried where a straight line
through the last two leaves a part of the memory that is available now. One whose steps would take long is not tried either.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Iterable
from typing import Any

import torch

from dlplay.engine import device as devices
from dlplay.engine.card import Card
from dlplay.engine.errors import DataError
from dlplay.engine.failures import is_shortage
from dlplay.engine.settings import Settings, SettingsError, change, field
from dlplay.engine.units import size

STEPS = 3
"""Of each batch: the optimiser's state is there after the first, and the others are timed."""
SHARE = 0.8
"""Of the available memory that a CPU may be given."""
LONG = 2.0
"""Seconds that a step may take."""
CLOSE = 8
"""A larger batch is tried until those that do not fit are less than an eighth larger."""


@dataclasses.dataclass(frozen=True)
class Tried:
    """A batch, and what became of it."""

    batch: int
    fits: bool
    bytes: int = 0
    """The most that it took: of tensors on a GPU, of the process elsewhere."""
    seconds: float = 0.0
    """Of a step."""
    why: str = ""
    """It was not tried, since it would not fit or cannot be."""


def search(card: Card, settings: Settings, assets: dict[str, Any] | None = None) -> list[Tried]:
    """The batches that were tried, the smallest first; `assets` are those of the model that the training is to start from.

    Raises `SettingsError` where memory does not hang on a batch, and `DataError`.
    """
    if not card.batch:
        raise SettingsError(f"--find-batch: a step of {card.title} is one of its environment, and takes no batch of examples")
    bounds = field(card.settings, card.batch)
    least, most = int(bounds.low or 1), int(bounds.high or 1 << 20)
    tried: dict[int, Tried] = {}

    def fits(batch: int) -> bool:
        smaller = any(found.fits for found in tried.values())
        tried[batch] = _foreseen(tried.values(), batch, settings) or _attempt(card, settings, batch, assets, again=smaller)
        return tried[batch].fits

    good, bad = int(getattr(settings, card.batch)), most + 1
    if devices.choose(settings.device).type != "cuda":  # two small ones tell what a large one would take
        for small in sorted({good // 8, good // 4}):
            if least <= small < good and not fits(small):
                break
    while not fits(good):
        bad, good = good, good // 2
        if not good:
            break
    while good and good * 2 < bad and fits(good * 2):
        good *= 2
    bad = min([bad, *(batch for batch, found in tried.items() if not found.fits)])
    while good and bad - good > max(good // CLOSE, 1):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return [tried[batch] for batch in sorted(tried)]


def _attempt(card: Card, settings: Settings, batch: int, assets: dict[str, Any] | None, *, again: bool) -> Tried:
    """Make a few steps with this batch; `again`: a smaller one did, so that data which do not suffice for this one say so of it alone."""
    device = devices.choose(settings.device)
    devices.forget_peak(device)
    try:
        chosen = change(settings, card.batch, batch)
        return Tried(batch, True, seconds=_steps(card, chosen, assets), bytes=devices.peak_bytes(device))
    except SettingsError as error:
        if error.field != card.batch:
            raise
        return Tried(batch, False, why=str(error))
    except DataError as error:
        if not again:
            raise
        return Tried(batch, False, why=str(error))
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        return Tried(batch, False, why="out of memory")
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _steps(card: Card, settings: Settings, assets: dict[str, Any] | None) -> float:
    """Seconds of the fastest of a few steps of a fresh model, the first left out."""
    task, took = card.load_task()(settings, devices.prepare(settings), assets), list[float]()
    task.train_with()
    for _ in range(STEPS):
        devices.synchronize(task.device)
        began = time.perf_counter()
        task.advance()
        task.step += 1
        devices.synchronize(task.device)
        took.append(time.perf_counter() - began)
    return min(took[1:])


def _foreseen(tried: Iterable[Tried], batch: int, settings: Settings) -> Tried | None:
    """Why the batch is not even tried: it would take too long or, where no GPU says when memory is used up, more than is left."""
    smaller = sorted((found for found in tried if found.fits and found.batch < batch), key=lambda found: found.batch)[-2:]
    if smaller and (seconds := smaller[-1].seconds / smaller[-1].batch * batch) > LONG:
        return Tried(batch, False, why=f"not tried: a step would take about {seconds:.0f} s")
    if len(smaller) < 2 or (device := devices.choose(settings.device)).type == "cuda":
        return None
    if (free := devices.free_bytes(device)) is None:
        raise SettingsError("--find-batch: this system does not tell how much memory is left; it takes Linux or an NVIDIA GPU", "device")
    (one, other), room = smaller, devices.resident_bytes() + SHARE * free
    expected = other.bytes + max(other.bytes - one.bytes, 0) / (other.batch - one.batch) * (batch - other.batch)
    if expected <= room:
        return None
    return Tried(batch, False, why=f"not tried: it would take about {size(expected)}, of {size(room)} that it may have")
