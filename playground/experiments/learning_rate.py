"""`dlplay ARCH --headless --find-lr`: a learning rate from the range test, which `runs/find_lr.py` runs, and its curve.

The suggestions are those of fast.ai, by its names: on the averaged loss, without the first tenth of the steps and without the last five.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlplay.engine.card import Card
from dlplay.engine.settings import Settings, SettingsError, to_dict
from dlplay.experiments.command_line import command_line
from dlplay.runs.console import print_line
from dlplay.widgets import Curve, LineChart, Mark
from dlplay.widgets.drawing.palette import palette

if TYPE_CHECKING:
    from dlplay.runs.find_lr import RangeTest

SKIPPED_AT_END = 5
"""Steps at the end that no suggestion comes from: the loss is diverging there."""
LEAST = 10
"""Steps that must be left for a suggestion."""
HEIGHT, WIDEST = 18, 120
"""Rows and most columns of the chart."""

Floats = NDArray[np.float64]


def run(card: Card, settings: Settings, start: str, runs_dir: Path, as_json: bool) -> int:
    """Run the test and print it. Raises `SettingsError`, `DataError` or `CheckpointError`; returns the exit status."""
    from dlplay.runs import find_lr  # with torch

    found = find_lr.measure(card, settings, start, runs_dir)
    suggested = suggestions(found)
    own = getattr(settings, "lr", None)
    if as_json:
        answer = {"architecture": card.name, "lr": own, "suggestions": suggested, **msgspec.to_builtins(found)}
        print_line(msgspec.json.encode(answer).decode())
        return 0
    for line in _chart(found, suggested):
        print_line(line)
    end = f"the loss diverged at {found.rates[-1]:.2g}" if found.diverged else "the loss did not diverge"
    print_line(f"{len(found.rates)} steps at rates from {found.rates[0]:.2g} on; {end}")
    for name, words in (("valley", "in the longest fall of the loss, half-way"), ("steepest", "where the loss falls fastest")):
        rate = suggested[name]
        print_line(f"{name:9} {f'{rate:.2g}, {words}' if rate is not None else 'none: the loss falls at no rate'}")
    if own is not None and (rate := suggested["valley"]) is not None:
        taken = command_line(card, {**to_dict(settings), "lr": float(f"{rate:.2g}")}, start)
        print_line(f"now {own:g}; to take valley: {taken}")
    return 0


def suggestions(found: RangeTest) -> dict[str, float | None]:
    """The rates `valley` and `steepest`; None where the loss falls nowhere. Raises `SettingsError` where too few steps were made."""
    skipped = (len(found.rates) + 9) // 10
    kept = slice(skipped, len(found.rates) - SKIPPED_AT_END)
    rates, losses = np.array(found.rates[kept], np.float64), np.array(found.smoothed[kept], np.float64)
    if not found.rates:
        raise SettingsError("--find-lr: the loss or its gradient is not a finite number at the lowest rate; look at data and weights")
    if len(losses) < LEAST:
        raise SettingsError(
            f"--find-lr: the loss diverged after {len(found.rates)} steps, at a rate of {found.rates[-1]:.2g}, "
            "too early to suggest one; start from other weights or settings"
        )
    if not (np.diff(losses) < 0).any():
        return {"valley": None, "steepest": None}
    return {"valley": float(rates[valley(losses)]), "steepest": float(rates[steepest(losses, rates)])}


def valley(losses: Floats) -> int:
    """The place that fast.ai calls so: half-way along the longest falling subsequence of the losses, which reaches back from its last place
    by as many places as it has members."""
    count = len(losses)
    lengths = np.ones(count, dtype=np.intp)
    for at in range(1, count):
        above = lengths[:at][losses[:at] > losses[at]]
        lengths[at] = above.max(initial=0) + 1
    end = int(lengths.argmax())
    start = end - int(lengths[end])
    third = (end - start) / 3
    return max(0, start + int(third) + int(third / 2))


def steepest(losses: Floats, rates: Floats) -> int:
    """The place of the least slope of the loss over the logarithm of the rate (count,)."""
    return int((np.diff(losses) / np.diff(np.log(rates))).argmin())


def _chart(found: RangeTest, suggested: dict[str, float | None]) -> list[str]:
    """Loss over the power of ten of the rate, in plain text, the suggestions marked."""
    x = np.log10(np.array(found.rates, np.float64))
    chart = LineChart(x_title="lr")
    chart.x_powers = True
    marks = [Mark(float(np.log10(rate)), f"{name} {rate:.2g}") for name, rate in suggested.items() if rate is not None]
    chart.show([Curve("loss, averaged", x, np.array(found.smoothed, np.float64), smoothed=False)], marks=marks)
    width = min(shutil.get_terminal_size().columns, WIDEST)
    rows: list[list[Any]] = chart.paint(width, HEIGHT, palette((0, 0, 0), (255, 255, 255), (255, 255, 255), "mono"))
    return ["".join(segment.text for segment in row).rstrip() for row in rows]
