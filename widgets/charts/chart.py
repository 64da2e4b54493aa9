"""What a line chart draws: curves, guides and marks, and the chart's state at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlplay.widgets.charts.curves import Columns, Floats
from dlplay.widgets.drawing.text import figure


@dataclass(frozen=True, eq=False)
class Band:
    """From `low` to `high` at every x: the quartiles of many curves, or their range. NaN leaves a gap."""

    x: NDArray[Any]  # (count,)
    low: NDArray[Any]  # (count,)
    high: NDArray[Any]  # (count,)


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
    """Whether the chart's smoothing applies to this curve: for what is measured at every step, not for a few evaluations."""
    behind: bool = False
    """Drawn dim behind the others, such as that of an earlier run; not dim where it has bands. Without a name it is not in the legend."""
    marker: str = ""
    """A character that stands on the curve here and there, and in the legend, so that many curves are told apart without colour."""
    bands: tuple[Band, ...] = ()
    """Intervals around the curve, the narrowest first."""
    dotted: bool = False
    """Of a curve behind the others: what is there to compare with, such as that of a model that was trained before."""
    sequence: bool = True
    """Whether its last point is the newest, whose value stands in the legend while there is no cursor."""
    extends: bool = True
    """Whether the x axis reaches to its end; it does where no other curve has points."""


@dataclass(frozen=True)
class Guide:
    """A dashed, named horizontal line, such as the value of a baseline."""

    name: str
    value: float
    rank: int = 0
    """Where there is no room for all, those of the lowest ranks are drawn."""


@dataclass(frozen=True)
class Mark:
    """A thin vertical line: something changed at this x."""

    x: float
    label: str


@dataclass(frozen=True)
class Note:
    """What has to be said of one x, in a box beside it: what happened there, and what can be done."""

    x: float
    what: str
    way_out: str = ""


@dataclass(frozen=True, eq=False)
class PreparedCurve:
    """A curve whose points can be drawn: in order of x, without gaps, smoothed."""

    curve: Curve
    x: Floats  # (points,)
    y: Floats  # (points,)
    piece: NDArray[np.intp]  # (points,), see `curves.clean`
    smooth: Floats  # (points,), y after smoothing
    dash: int = 0
    """Which dash pattern a line has: its position among the lines."""
    spans: dict[tuple[float, float, int, bool], Columns] = field(default_factory=dict)
    """What it covers, for the limits of x and the width that it was drawn with last."""
    edges: dict[tuple[int, float, float, int], tuple[Columns, Columns]] = field(default_factory=dict)
    """The same of the lower and the upper edge of each of its bands."""

    def nearest(self, x: float) -> tuple[float, float, float] | None:
        """x, y and smoothed y of the point nearest to `x`; None without points."""
        if not len(self.x):
            return None
        i = int(np.searchsorted(self.x, x))
        if i == len(self.x) or (i > 0 and x - self.x[i - 1] < self.x[i] - x):
            i -= 1
        return self.point(i)

    def point(self, i: int) -> tuple[float, float, float]:
        """x, y and smoothed y of the point at position `i`."""
        return float(self.x[i]), float(self.y[i]), float(self.smooth[i])


@dataclass(frozen=True, eq=False)
class ChartState:
    """All that the drawing of a chart depends on, but its size and colours."""

    curves: tuple[PreparedCurve, ...]
    guides: tuple[Guide, ...]
    marks: tuple[Mark, ...]
    left: float
    right: float
    """The part of the x axis that is shown, from `left` to `right`."""
    reach: float
    """The newest x of all charts beside this one; 0: not known."""
    zoomed: bool
    cursor: float | None
    """The x at which values are read out."""
    log_scale: bool
    smoothing: float
    percent: bool
    unit: str
    x_title: str
    x_names: tuple[str, ...] = ()
    """What each whole number on the x axis stands for, where it does not count."""
    x_powers: bool = False
    """x is a power of ten: -3 stands for 0.001."""
    x_axis: bool = True
    """Whether the x axis stands below the plot; of charts one below the other the lowest one has it."""
    least: tuple[float, float] | None = None
    """What the y axis covers at the least."""
    least_gutter: int = 0
    """Cells before the plot at the least."""
    note: Note | None = None

    def x_figure(self, x: float) -> str:
        """An x in words, as its axis has it."""
        if self.x_names:
            return self.x_names[min(max(round(x), 0), len(self.x_names) - 1)]
        return figure(10.0**x if self.x_powers else x)
