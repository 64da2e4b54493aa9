"""The legend of a line chart, which is its readout too: line shape, name and value of every curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment

from dlplay.widgets.palette import Palette
from dlplay.widgets.surface import Row
from dlplay.widgets.text import figure, fit, plain

if TYPE_CHECKING:
    from dlplay.widgets.line_chart import LineChart

DASHES = ((1, 0), (5, 3), (2, 2), (1, 3))
"""Columns of dots that are drawn and left out, so that lines differ without colour."""
GLYPHS = ("━━", "╍╍", "┅┅", "┈┈")
"""What stands for each in the legend."""
MARKER = "•"


def dash(chart: LineChart, index: int) -> int:
    """Which dash pattern a line has: its position among the lines."""
    return sum(curve.style == "line" for curve in chart.curves[:index]) % len(DASHES)


def nearest(chart: LineChart, index: int, at: float) -> tuple[float, float, float] | None:
    """x, y and smoothed y of the point nearest to `at`."""
    x, y, _, soft = chart.prepared(index)
    if not len(x):
        return None
    i = int(np.searchsorted(x, at))
    if i == len(x) or (i > 0 and at - x[i - 1] < x[i] - at):
        i -= 1
    return float(x[i]), float(y[i]), float(soft[i])


def legend(chart: LineChart, width: int, palette: Palette, clipped: bool = False) -> Row:
    """Line shape, name and value of every curve: at the cursor, else the newest. Where it is too long, what matters less is left out."""
    at = chart.cursor
    head: Row = []
    if at is not None:
        points = [p for i in range(len(chart.curves)) if (p := nearest(chart, i, at)) is not None]
        step = figure(min(points, key=lambda p: abs(p[0] - at))[0]) if points else figure(at)
        head.append(Segment(f"{plain(chart.x_title)} {step}  ", palette.style("accent", bold=True)))
    row: Row = []
    # a readout must show values; without a cursor, names say which curve is which
    for detail in (3, 2, 1, 0) if at is not None else (3, 2, -1, 0):
        row = head + [segment for i in range(len(chart.curves)) for segment in _entry(chart, i, at, detail, palette)]
        if _length(row) <= width + 2:  # two cells of space at the end may go
            break
    states = (
        "log" if chart.log_scale else "",
        f"smoothed {chart.smoothing:g}" if chart.smoothing and any(curve.smoothed for curve in chart.curves) else "",
        "start clipped" if clipped and not chart.zoomed else "",
        "zoomed" if chart.zoomed else "",
    )
    state = " · ".join(word for word in states if word)
    used = _length(row)
    if state and used + len(state) <= width:
        row.append(Segment(fit(state, width - used, right=True), palette.style("faint")))
    return row


def _length(row: Row) -> int:
    return sum(cell_len(segment.text) for segment in row)


def _entry(chart: LineChart, index: int, at: float | None, detail: int, palette: Palette) -> Row:
    """One curve in the legend; detail 3: smoothed value too, 2: value, 1: the value without a name, -1: the name alone, 0: that cut."""
    curve = chart.curves[index]
    dots = curve.style == "dots"
    glyph = MARKER * 2 if dots else GLYPHS[dash(chart, index)]
    row = [Segment(glyph + " ", palette.style(curve.colour, bold=True))]
    if detail != 1:
        name = plain(curve.name)
        row.append(Segment((name if detail else fit(name, min(len(name), 8))) + " ", palette.style("muted")))
    if detail > 0:
        x, y, _, soft = chart.prepared(index)
        point = nearest(chart, index, at) if at is not None else (x[-1], y[-1], soft[-1]) if len(x) else None
        value = figure(None if point is None else float(point[1]), chart.percent, chart.unit)
        if detail > 2 and point is not None and chart.smoothing > 0 and curve.smoothed and not dots:
            value += f" ~{figure(float(point[2]), chart.percent)}"
        row.append(Segment(value + "  ", palette.style("text")))
    return row
