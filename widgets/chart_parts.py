"""What a line chart is made of: curves, guides, marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """A named curve; `y` may hold NaN, which leaves a gap."""

    name: str
    x: NDArray[Any]  # (count,)
    y: NDArray[Any]  # (count,)
    colour: str = "train"
    """A name that `Palette.colour` knows: train, held_out, or "0".."9"."""
    style: Literal["line", "dots"] = "line"
    smoothed: bool = True
    """Whether the chart's smoothing is for this curve: for what is measured at every step, not for a few evaluations."""


@dataclass(frozen=True)
class Guide:
    """A dashed, named line at one height: what a baseline reaches."""

    name: str
    value: float


@dataclass(frozen=True)
class Mark:
    """A thin vertical line: something changed at this x."""

    x: float
    label: str
