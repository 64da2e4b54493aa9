"""The drawing of a line chart: from its state to rows, with limits, legend, axes, guides, marks and curves."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment

from dlplay.widgets.charts.axis import linear_limits, linear_ticks, log_limits, log_ticks, tick_labels
from dlplay.widgets.charts.canvas import Canvas
from dlplay.widgets.charts.chart import ChartState, Curve, PreparedCurve
from dlplay.widgets.charts.curves import Columns, clean, columns, dots, means
from dlplay.widgets.charts.guide_names import dashes, name_guides, with_room
from dlplay.widgets.charts.legend import DASHES, MARKER, legend
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row, pieces
from dlplay.widgets.drawing.text import fit, narrow, plain

_MIN_COLUMNS_TO_CLIP = 40
"""Columns of dots that a chart must fill before a steep start is clipped."""
_MARKER_STRIDE = 8
"""Cells from one marker of a curve to the next, at the least."""
_MIN_POINTS = 3
"""Points of a curve from which the curves alone decide the limits."""
_FEW = 10
"""Span of x below which ticks may fall between whole numbers."""
_SPANS = 4
"""Ways of drawing a curve that are kept: as it is and smoothed, with two widths."""
_NARROWEST_NOTE, _WIDEST_NOTE = 12, 44
"""Cells of a line of a note."""
_ROOMY = 6
"""Rows from which marks are named; in a lower plot the names would hide the curves."""


@dataclass(frozen=True)
class Plot:
    """Where the plot lies in the widget, and which part of the data it shows."""

    left: float
    right: float
    bottom: float
    top: float
    gutter: int
    """Cells before the plot, for the y axis."""
    labels: int
    """Cells of those that its own labels need; charts one below the other have the same gutter."""
    width: int
    height: int
    log: bool

    def row(self, value: float) -> int:
        """The row of dots for a value; 0 is the top one, and a value outside the limits has a row outside the plot."""
        low, high = self.bottom, self.top
        if self.log:
            if value <= 0:
                return 4 * self.height
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return round((high - value) / (high - low) * (4 * self.height - 1))

    def column(self, x: float) -> int:
        """The column of cells for an x."""
        return math.floor((x - self.left) / (self.right - self.left) * self.width)


def draw(chart: ChartState, width: int, height: int, palette: Palette) -> tuple[Plot, list[Row]]:
    """The plot and all rows of the widget."""
    plot_height = max(1, height - 1 - chart.x_axis)
    # a first guess of the gutter decides the ticks, which decide the gutter
    probe = max(1, width - 8)
    spans = [_span(curve, chart.left, chart.right, 2 * probe) for curve in chart.curves]
    bands = [(prepared, number) for prepared in chart.curves for number in range(len(prepared.curve.bands))]
    spans += [edge for prepared, number in bands for edge in _edges(prepared, number, chart.left, chart.right, 2 * probe, chart.log_scale)]
    bottom, top, clipped = _limits(chart, spans)
    max_ticks = max(2, min(8, plot_height // 2 if chart.log_scale else plot_height * 2 // 5))
    ticks = log_ticks(bottom, top, max_ticks) if chart.log_scale else linear_ticks(bottom, top, max_ticks)
    labels = tick_labels(ticks, chart.percent, even=not chart.log_scale)
    needed = max(5, *(len(label) for label in labels), 0) + 1 if labels else 6
    gutter = max(needed, chart.least_gutter)
    if width - gutter < 6:
        gutter, labels, ticks = 0, [], []
    plot = Plot(chart.left, chart.right, bottom, top, gutter, needed, max(1, width - gutter), plot_height, chart.log_scale)
    canvas = Canvas(plot.height, plot.width, palette.blank)
    _draw_curves(chart, plot, canvas, palette)
    _draw_marks(chart, plot, canvas, palette)
    _draw_cursor(chart, plot, canvas, palette)
    _draw_note(chart, plot, canvas, palette)
    _draw_guides(chart, plot, canvas, palette)
    rows = canvas.rows()
    if gutter:
        rows = [[*axis, *row] for axis, row in zip(_y_axis(plot, ticks, labels, palette), rows, strict=True)]
    if height >= 2:
        rows.insert(0, legend(chart, width, palette, clipped))
    if height >= 3 and chart.x_axis:
        rows.append(_x_axis(chart, plot, width, palette))
    return plot, rows


def _span(curve: PreparedCurve, left: float, right: float, count: int, smoothed: bool = False) -> Columns:
    """What a curve covers in each of `count` columns of dots; of a curve that has not changed it is known from the last drawing."""
    key = (left, right, count, smoothed)
    if key not in curve.spans:
        if len(curve.spans) > _SPANS:
            curve.spans.clear()
        x, y, piece = means(curve.x, curve.smooth, curve.piece, left, right, count) if smoothed else (curve.x, curve.y, curve.piece)
        curve.spans[key] = columns(x, y, piece, left, right, count, curve.curve.style == "line")
    return curve.spans[key]


def _edges(curve: PreparedCurve, number: int, left: float, right: float, count: int, log: bool) -> tuple[Columns, Columns]:
    """What the lower and the upper edge of a band cover in each of `count` columns of dots; known from the last drawing, as `_span` is."""
    key = (number, left, right, count)
    if key not in curve.edges:
        band = curve.curve.bands[number]
        if len(curve.edges) > _SPANS * len(curve.curve.bands):
            curve.edges.clear()
        x = np.asarray(band.x, np.float64)
        low, high = (columns(*clean(x, np.asarray(side, np.float64), log), left, right, count, True) for side in (band.low, band.high))
        curve.edges[key] = low, high
    return curve.edges[key]


def _limits(chart: ChartState, spans: list[Columns]) -> tuple[float, float, bool]:
    """The limits of y, and whether they clip a curve.

    The curves decide; a guide is included where that leaves the curves at least 60 % of the height. While every curve has too few points,
    the nearest guide above and the nearest below are included.
    """
    lows = np.concatenate([np.zeros(0), *(s.low[~np.isnan(s.low)] for s in spans)])
    highs = np.concatenate([np.zeros(0), *(s.high[~np.isnan(s.high)] for s in spans)])
    measured = bool(len(lows))
    if not measured:  # the guides alone
        lows = highs = np.array([guide.value for guide in chart.guides if math.isfinite(guide.value)])
        lows = highs = lows[lows > 0] if chart.log_scale else lows
    if not len(lows):
        return (0.1, 1.0, False) if chart.log_scale else (0.0, 1.0, False)
    low, high = float(lows.min()), float(highs.max())
    clipped = False
    if not chart.log_scale:
        low, high = _without_start(spans) if measured else (low, high)
        clipped = (low, high) != (float(lows.min()), float(highs.max()))
    guides = [guide.value for guide in chart.guides if math.isfinite(guide.value) and (guide.value > 0 or not chart.log_scale)]
    if max((len(curve.x) for curve in chart.curves), default=0) < _MIN_POINTS:
        low = max((value for value in guides if value <= low), default=low)
        high = min((value for value in guides if value >= high), default=high)
    for value in guides:
        new_low, new_high = min(low, value), max(high, value)
        have, need = (math.log(high / low), math.log(new_high / new_low)) if chart.log_scale else (high - low, new_high - new_low)
        if have >= 0.6 * need:
            low, high = new_low, new_high
    if chart.least is not None and not chart.log_scale:
        low, high = min(low, chart.least[0]), max(high, chart.least[1])
    return (*(log_limits(low, high) if chart.log_scale else linear_limits(low, high)), clipped)


def _without_start(spans: list[Columns]) -> tuple[float, float]:
    """The limits without a steep start, which would hide the rest: without a tenth of the columns, if that takes most of the height."""
    lows, highs = np.fmin.reduce([s.low for s in spans]), np.fmax.reduce([s.high for s in spans])
    drawn = np.flatnonzero(~np.isnan(lows))
    lows, highs = lows[drawn], highs[drawn]
    low, high = float(lows.min()), float(highs.max())
    if len(drawn) < _MIN_COLUMNS_TO_CLIP:
        return low, high
    rest = drawn > drawn[0] + (drawn[-1] - drawn[0]) // 10
    rest_low, rest_high = float(lows[rest].min()), float(highs[rest].max())
    if high - rest_low < 0.4 * (high - low):
        return rest_low, high
    if rest_high - low < 0.4 * (high - low):
        return low, rest_high
    return low, high


def _draw_curves(chart: ChartState, plot: Plot, canvas: Canvas, palette: Palette) -> None:
    for prepared in chart.curves:
        _draw_bands(prepared, plot, canvas, palette)
    behind = [prepared for prepared in chart.curves if prepared.curve.behind]
    inked: list[tuple[Curve, NDArray[np.bool_]]] = []
    for prepared in behind:
        curve = prepared.curve
        smooth = _span(prepared, plot.left, plot.right, 2 * plot.width, smoothed=chart.smoothing > 0 and curve.smoothed)
        grid = dots(smooth, plot.bottom, plot.top, plot.height, plot.log)
        if curve.dotted:
            grid = grid & (np.arange(grid.shape[1]) % 3 == 0)
        canvas.dots(grid, palette.style(curve.colour, dim=not curve.bands), background=True)
        inked.append((curve, grid))
    _draw_markers(inked, canvas, palette)
    inked.clear()
    for prepared in chart.curves:
        if prepared.curve.behind:
            continue
        curve = prepared.curve
        if curve.style == "dots" or len(prepared.x) == 1:
            canvas.paint(_points(prepared, plot), curve.marker or MARKER, palette.style(curve.colour, bold=True))
            continue
        span = _span(prepared, plot.left, plot.right, 2 * plot.width)
        grid = dots(span, plot.bottom, plot.top, plot.height, plot.log)
        if chart.smoothing > 0 and curve.smoothed:
            canvas.dots(grid, palette.style(curve.colour, dim=True), background=True, open=True)
            smooth = _span(prepared, plot.left, plot.right, 2 * plot.width, smoothed=True)
            grid = dots(smooth, plot.bottom, plot.top, plot.height, plot.log)
        inked.append((curve, grid))
        on, off = DASHES[prepared.dash % len(DASHES)]
        if off:
            grid = grid & (np.arange(grid.shape[1]) % (on + off) < on)
        canvas.dots(grid, palette.style(curve.colour))
    _draw_markers(inked, canvas, palette)


def _points(prepared: PreparedCurve, plot: Plot) -> NDArray[np.bool_]:
    """The cells (rows, columns) in which a point lies."""
    cells = np.zeros((plot.height, plot.width), dtype=np.bool_)
    for x, y in zip(prepared.x.tolist(), prepared.y.tolist(), strict=True):
        row, column = plot.row(y) // 4, plot.width - 1 if x == plot.right else plot.column(x)
        if 0 <= row < plot.height and 0 <= column < plot.width:
            cells[row, column] = True
    return cells


def _draw_bands(prepared: PreparedCurve, plot: Plot, canvas: Canvas, palette: Palette) -> None:
    """The innermost band in sparse dots, the others as dotted outlines; where there is no colour all are outlines."""
    curve = prepared.curve
    for number in range(len(curve.bands)):
        low, high = _edges(prepared, number, plot.left, plot.right, 2 * plot.width, plot.log)
        if number or palette.shaded:
            edges = [dots(edge, plot.bottom, plot.top, plot.height, plot.log) for edge in (low, high)]
            grid = (edges[0] | edges[1]) & (np.arange(2 * plot.width) % (4 * number + 2) == 0)
        else:
            grid = dots(Columns(low.low, high.high), plot.bottom, plot.top, plot.height, plot.log)
            grid = grid & (np.add.outer(np.arange(4 * plot.height), np.arange(2 * plot.width)) % 2 == 0)
        canvas.dots(grid, palette.style(curve.colour, dim=True), background=True, open=True)


def _draw_markers(inked: list[tuple[Curve, NDArray[np.bool_]]], canvas: Canvas, palette: Palette) -> None:
    """The markers of curves on some of their dots, and on the last; those of several curves stand side by side."""
    stride = max(_MARKER_STRIDE, canvas.width // 5)
    for position, (curve, grid) in enumerate(inked):
        columns_inked = np.flatnonzero(grid.any(axis=0)) // 2
        if not curve.marker or not len(columns_inked):
            continue
        wanted = np.arange(int((0.5 + position / len(inked)) * stride) % stride, canvas.width, stride)
        style = palette.style(curve.colour, bold=not curve.behind, dim=curve.behind and not curve.bands)
        for column in {*(wanted[np.isin(wanted, columns_inked)]).tolist(), int(columns_inked[-1])}:
            rows = np.flatnonzero(grid[:, 2 * column : 2 * column + 2].any(axis=1))
            canvas.put(int(rows[len(rows) // 2]) // 4, column, curve.marker, style)


def _draw_guides(chart: ChartState, plot: Plot, canvas: Canvas, palette: Palette) -> None:
    """Draw dashes where no curve runs, and the names where they hide the least of the curves; some of them where there are many."""
    grid: NDArray[np.bool_] = np.zeros((4 * plot.height, 2 * plot.width), dtype=bool)
    ink = canvas.ink()
    dot_of = [plot.row(guide.value) if math.isfinite(guide.value) else -1 for guide in chart.guides]
    rows = [dot // 4 for dot in dot_of]
    shown = with_room(chart.guides, rows, chart.percent, plot.width, plot.height)
    for position in shown:
        if 0 <= dot_of[position] < 4 * plot.height:
            grid[dot_of[position]] |= dashes(position, 2 * plot.width) & canvas.open(dot_of[position] // 4).repeat(2)
    canvas.dots(grid, palette.style("guide", dim=True), background=True)
    name_guides(chart.guides, rows, shown, chart.percent, ink, canvas, palette)


def _draw_marks(chart: ChartState, plot: Plot, canvas: Canvas, palette: Palette) -> None:
    style = palette.style("mark", dim=True)
    for mark in chart.marks:
        column = plot.column(mark.x) if math.isfinite(mark.x) else -1
        if not 0 <= column < plot.width:
            continue
        for row in range(plot.height):
            canvas.put(row, column, "┊", style, only_blank=True)
        label = narrow(mark.label) if plot.height >= _ROOMY else ""
        places = ((row, start) for row in range(plot.height) for start in (column + 1, column - len(label)))
        for row, start in places:
            if canvas.free(row, start, len(label)):
                canvas.put(row, start, label, palette.style("mark"), keep=True)
                break


def _draw_note(chart: ChartState, plot: Plot, canvas: Canvas, palette: Palette) -> None:
    """A box left of its x, or where there is no room as far left as it is, in the rows in which it hides the least."""
    note = chart.note
    room = min(plot.width - 3, _WIDEST_NOTE)
    if note is None or room < _NARROWEST_NOTE or plot.left == plot.right:
        return
    column = min(max(plot.column(note.x), 0), plot.width - 1)
    for row in range(plot.height):
        canvas.put(row, column, "┊", palette.style("mark"), only_blank=True)
    parts = ((text, name) for text, name in ((note.what, "mark"), (note.way_out, "accent")) if text)
    lines = [(line, name) for text, name in parts for line in textwrap.wrap(narrow(text), room)][: plot.height]
    width = max(len(line) for line, _ in lines) + 2
    left = max(0, column - width) if column >= width else min(column + 1, plot.width - width)
    hidden = canvas.ink()[:, left : left + width].sum(axis=1)
    top = min(range(plot.height - len(lines) + 1), key=lambda row: (float(hidden[row : row + len(lines)].sum()), row))
    for row, (line, name) in enumerate(lines, start=top):
        canvas.put(row, left, f" {line} ".ljust(width), palette.style(name, bold=True), keep=True)


def _draw_cursor(chart: ChartState, plot: Plot, canvas: Canvas, palette: Palette) -> None:
    cursor = chart.cursor
    if cursor is None or not 0 <= plot.column(cursor) < plot.width:
        return
    style = palette.style("accent")
    for row in range(plot.height):
        canvas.put(row, plot.column(cursor), "│", style, only_blank=True)
    for curve in chart.curves:
        point = curve.nearest(cursor) if not curve.curve.behind else None
        if point is not None and plot.left <= point[0] <= plot.right:
            x, _, y = point
            style = palette.style(curve.curve.colour, bold=True)
            canvas.put(plot.row(y) // 4, min(plot.width - 1, plot.column(x)), "◆", style)


def _y_axis(plot: Plot, ticks: list[float], labels: list[str], palette: Palette) -> list[Row]:
    by_row = {plot.row(tick) // 4: label for tick, label in zip(ticks, labels, strict=True) if 0 <= plot.row(tick) < 4 * plot.height}
    muted, faint = palette.style("muted"), palette.style("faint")
    rows: list[Row] = []
    for y in range(plot.height):
        label = by_row.get(y)
        rows.append([Segment(fit(label or "", plot.gutter - 1, right=True), muted), Segment("┤" if label else "│", faint)])
    return rows


def _x_ticks(chart: ChartState, plot: Plot) -> list[tuple[float, str]]:
    """Where the x axis has labels, and what they say."""
    most = max(2, plot.width // 14)
    if chart.x_names:
        return [(float(at), narrow(name)) for at, name in enumerate(chart.x_names)]
    if chart.x_powers:
        values = log_ticks(10.0**plot.left, 10.0**plot.right, max(2, plot.width // 10))
        return [(math.log10(value), label) for value, label in zip(values, tick_labels(values, even=False), strict=True)]
    ticks = linear_ticks(plot.left, plot.right, most)
    if plot.right - plot.left < _FEW and all(bool((curve.x == np.floor(curve.x)).all()) for curve in chart.curves):
        # x counts something, such as steps
        ticks = [tick for tick in ticks if round(tick, 6).is_integer()]
    return list(zip(ticks, tick_labels(ticks), strict=True))


def _x_axis(chart: ChartState, plot: Plot, width: int, palette: Palette) -> Row:
    title = "" if chart.x_names else plain(chart.x_title)
    parts: list[tuple[int, str, str]] = []
    end = width
    if len(title) < plot.gutter:
        parts.append((plot.gutter - 1 - len(title), title, "faint"))
    elif width > len(title) + 12:
        end = width - len(title) - 2
        parts.append((width - len(title), title, "faint"))
    free = plot.gutter
    for tick, label in _x_ticks(chart, plot):
        middle = plot.gutter + min(plot.width - 1, plot.column(tick))
        start = max(plot.gutter, min(middle - len(label) // 2, width - len(label)))
        if start >= free and start + len(label) <= end:
            parts.append((start, label, "muted"))
            free = start + len(label) + 2
    return pieces(parts, width, palette)
