"""The legend of a line chart, which is its readout too: line style, name and value of every curve."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment

from dlplay.widgets.charts.chart import ChartState, PreparedCurve
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.text import figure, fit, plain

DASHES = ((1, 0), (5, 3), (2, 2), (1, 3))
"""Columns of dots that are drawn and left out, so that lines differ without colour."""
GLYPHS = ("━━", "╍╍", "┅┅", "┈┈")
"""What stands for each in the legend."""
MARKER = "•"
SHORTEST = 8
"""Cells of a name that is cut."""


def legend(chart: ChartState, width: int, palette: Palette, clipped: bool = False) -> Row:
    """Line style, name and value of every curve: the value at the cursor, else the newest. Where it is too long, details are left out."""
    cursor = chart.cursor
    head: Row = []
    if cursor is not None:
        points = [point for curve in chart.curves if (point := curve.nearest(cursor)) is not None]
        x = min((point[0] for point in points), key=lambda x: abs(x - cursor), default=cursor)
        head.append(Segment(f"{plain(chart.x_title)} {chart.x_figure(x)}  ", palette.style("accent", bold=True)))
    front = [curve for curve in chart.curves if not curve.curve.behind]
    behind = [curve for curve in reversed(chart.curves) if curve.curve.behind and curve.curve.name]  # the latest first
    row, values = _of_front(chart, front, behind, head, width + 2, palette)  # the two spaces at the end may be cut
    row += _of_those_behind(chart, behind, width + 2 - _length(row), palette, values)
    states = (
        "log" if chart.log_scale else "",
        f"smoothed {chart.smoothing:g}" if chart.smoothing and any(curve.curve.smoothed for curve in chart.curves) else "",
        "start clipped" if clipped and not chart.zoomed else "",
        "zoomed" if chart.zoomed else "",
    )
    state = " · ".join(text for text in states if text)
    used = _length(row)
    if state and used + len(state) <= width:
        row.append(Segment(fit(state, width - used, right=True), palette.style("faint")))
    return row


def _of_front(
    chart: ChartState, front: list[PreparedCurve], behind: list[PreparedCurve], head: Row, room: int, palette: Palette
) -> tuple[Row, bool]:
    """The entries of the curves in front, and whether they have values. Names say which curve is which, so that those of the curves
    behind come before values, unless a cursor reads them out."""

    def row_of(detail: int, most: int = SHORTEST) -> Row:
        return head + [segment for curve in front for segment in _entry(chart, curve, detail, palette, most)]

    marked = bool(front) and all(curve.curve.marker for curve in front)  # the marker says which curve it is
    if chart.cursor is not None:
        rows = [(row_of(detail), True) for detail in ((4, 3, 2, 1) if marked else (4, 3, 2, 1, 0))]
    else:
        longest = max((len(curve.curve.name) for curve in front), default=0)
        rows = [(row_of(detail), True) for detail in (4, 3, 2)] + [(row_of(-1), False)]
        rows += [(row_of(0, most), False) for most in range(longest - 1, SHORTEST - 1, -1)]
        rows += [(row_of(1), True)] if marked else []
    fitting = [(row, values) for row, values in rows if _length(row) <= room]
    if not fitting:
        entries = [_entry(chart, curve, 1 if marked else 0, palette, SHORTEST) for curve in front]
        return head + _as_many_as_fit(entries, room - _length(head), palette), marked
    names = _said_once(behind)
    needed = [_length(_entry(chart, curve, -1, palette, name=name)) for curve, name in zip(behind, names, strict=True)]
    needed = needed[: None if chart.cursor is None else 1]
    return max(fitting, key=lambda found: sum(sum(needed[: n + 1]) <= room - _length(found[0]) for n in range(len(needed))))


def _of_those_behind(chart: ChartState, behind: list[PreparedCurve], room: int, palette: Palette, values: bool) -> Row:
    """The entries of all of them, with their `values` if there is room; else as many names as fit, and how many are left out. A cursor
    is there for the values: for these a first word that all share is left out."""
    tried = [(2, _said_once(behind))] if values else []
    if values and chart.cursor is not None and len(behind) > 1:
        tried.append((2, _said_once(behind, times=0)))
    for detail, names in [*tried, (-1, _said_once(behind))]:
        entries = [_entry(chart, curve, detail, palette, name=name) for curve, name in zip(behind, names, strict=True)]
        if sum(map(_length, entries)) <= room:
            return [segment for entry in entries for segment in entry]
    return _as_many_as_fit(entries, room, palette)


def _as_many_as_fit(entries: list[Row], room: int, palette: Palette) -> Row:
    """The first of them, and how many are left out."""
    row: Row = []
    for count, entry in enumerate(entries):
        more = f"+{len(entries) - count}"
        last = count == len(entries) - 1
        if _length(row) + _length(entry) + (0 if last else len(more) + 2) > room:
            return [*row, Segment(more, palette.style("muted"))] if _length(row) + len(more) + 2 <= room else row
        row += entry
    return row


def _said_once(curves: list[PreparedCurve], times: int = 1) -> list[str]:
    """Their names; a first word that all share, such as `pretrained`, stands in the first one alone, or in none of them (0 `times`)."""
    names = [curve.curve.name for curve in curves]
    first = {name.partition(" ")[0] for name in names}
    if len(first) > 1 or not all(" " in name for name in names):
        return names
    return [*names[:times], *(name.partition(" ")[2] for name in names[times:])]


def _length(row: Row) -> int:
    return sum(cell_len(segment.text) for segment in row)


def _entry(chart: ChartState, prepared: PreparedCurve, detail: int, palette: Palette, most: int = 0, name: str = "") -> Row:
    """One curve in the legend, under its own name or another.

    `detail` 4: smoothed value too, 3: the step of a value that is not of the newest step, 2: value, 1: the value without a name, -1: the
    name alone, 0: that in `most` cells.
    """
    curve = prepared.curve
    dots = curve.style == "dots"
    line = GLYPHS[-1] if curve.dotted else "──" if curve.behind else GLYPHS[prepared.dash % len(GLYPHS)]
    glyph = curve.marker or (MARKER * 2 if dots else line)
    row = [Segment(glyph + " ", palette.style(curve.colour, bold=not curve.behind, dim=curve.behind and not curve.bands))]
    if detail != 1:
        name = plain(name or curve.name)
        row.append(Segment((name if detail else fit(name, min(len(name), most))) + " ", palette.style("muted")))
    scattered = ((dots and len(prepared.x) > 1) or not curve.sequence) and chart.cursor is None  # none of the points is the newest
    if detail > 0 and not scattered:
        newest = prepared.point(-1) if len(prepared.x) else None
        point = prepared.nearest(chart.cursor) if chart.cursor is not None else newest
        value = figure(None if point is None else point[1], chart.percent, chart.unit)
        if detail > 3 and point is not None and chart.smoothing > 0 and curve.smoothed and not dots:
            value += f" (smoothed {figure(point[2], chart.percent)})"
        row.append(Segment(value, palette.style("text")))
        if (
            detail > 2
            and chart.cursor is None
            and newest is not None
            and not curve.smoothed
            and newest[0] < chart.reach
            and not chart.x_powers
        ):
            row.append(Segment(f" at {plain(chart.x_title)} {newest[0]:,.0f}", palette.style("muted")))
    if detail > 0 or curve.behind or scattered:
        row.append(Segment("  ", palette.style("text")))
    return row
