"""The learning-rate range test: the loss of a model that trains for some steps at a rate that rises exponentially (Smith, 2017, *Cyclical
Learning Rates for Training Neural Networks*). It trains a copy: no run is touched, and nothing is saved."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlplay.engine import device as devices
from dlplay.engine.card import Card
from dlplay.engine.settings import Settings, SettingsError
from dlplay.engine.task import Task
from dlplay.runs import origin, process

LOWEST, HIGHEST = 1e-7, 10.0
"""The rates of the first and of the last step, as in fast.ai."""
STEPS = 100
BETA = 0.98
"""Weight of the past in the moving average of the loss, which is corrected for its start."""
DIVERGED = 4.0
"""Times its least value at which the averaged loss has diverged."""


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """What was measured at each step."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    """The loss, as an exponential moving average."""
    diverged: bool
    """It ended before the highest rate."""


def measure(card: Card, settings: Settings, start: str, runs_dir: Path, steps: int = STEPS) -> RangeTest:
    """Train fresh weights, or those of the checkpoint that `start` names, until the loss diverges or the rate is at its highest.

    Raises `SettingsError` for an architecture that does not minimise one loss, and `DataError` or `CheckpointError`.
    """
    if card.no_range_test:
        raise SettingsError(f"--find-lr: {card.title} has no such test: {card.no_range_test}")
    if start:
        task = process.load(card, origin.find(start, runs_dir, card.name), settings)
        task.step = 0
    else:
        task = card.load_task()(settings, devices.prepare(settings), None)
        task.train_with()
    return range_test(task, steps)


def range_test(task: Task[Any], steps: int = STEPS) -> RangeTest:
    """The test on a task, which is trained by it. Raises `SettingsError` where a step does not minimise one loss once."""
    losses: list[Tensor] = []
    minimise, rate = task.minimise, LOWEST

    def at_this_rate(loss: Tensor, optimizer: torch.optim.Optimizer, clip: float = 0.0, terms: Tensor | int = 1) -> dict[str, Tensor]:
        losses.append(loss.detach())
        for group in optimizer.param_groups:
            group["lr"] = rate
        return minimise(loss, optimizer, clip, terms)

    task.minimise = at_this_rate  # type: ignore[method-assign]
    rates: list[float] = []
    values: list[float] = []
    smoothed: list[float] = []
    average, least = 0.0, math.inf
    for number in range(steps):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (steps - 1))
        task.advance()
        task.step += 1
        if len(losses) != task.settings.accumulate:
            raise SettingsError(f"--find-lr needs a step that minimises one loss once, and this one minimises {len(losses)}")
        value = torch.stack(losses).mean().item()
        losses.clear()
        if not math.isfinite(value) or task.not_finite.item():
            return RangeTest(rates, values, smoothed, diverged=True)
        average = BETA * average + (1 - BETA) * value
        rates.append(rate)
        values.append(value)
        smoothed.append(average / (1 - BETA ** (number + 1)))
        least = min(least, smoothed[-1])
        if smoothed[-1] > least + (DIVERGED - 1) * abs(least):
            return RangeTest(rates, values, smoothed, diverged=True)
    return RangeTest(rates, values, smoothed, diverged=False)
