"""The charts of a comparison: one for each metric, every source a curve, drawn as the screen draws them."""

from __future__ import annotations

import io
import os
import string
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from textual.strip import Strip

from dlplay import widgets
from dlplay.engine.settings import fields
from dlplay.experiments.compare.comparison import Comparison, Metric
from dlplay.experiments.compare.member import Axis, Floats, Member, Source
from dlplay.experiments.compare.spread import quartiles
from dlplay.runs.console import print_line, rich_console
from dlplay.widgets.charts.curves import smooth
from dlplay.widgets.drawing.palette import MARKERS, Palette, palette
from dlplay.widgets.drawing.rows import Row

HEIGHT = 14
"""Rows of a chart, its legend and axis included."""
SMOOTHING = 0.9
"""Weight of the past in the exponential moving average of what is measured at every step."""
BACKGROUND, FOREGROUND, ACCENT = (41, 41, 41), (224, 224, 224), (240, 165, 20)
"""The background is that of the SVGs that rich writes."""


def colours(*, plain: bool) -> Palette:
    """The palette of a picture; without colours where it is `plain`."""
    return palette(BACKGROUND, FOREGROUND, ACCENT, "mono" if plain else "full")


def marker(position: int) -> str:
    """The character that stands on the curve of this source."""
    marks = MARKERS + string.ascii_uppercase
    return marks[position % len(marks)]


def chart(comparison: Comparison, metric: Metric, axis: Axis, width: int, colours: Palette) -> list[Row]:
    """One chart. Raises `SettingsError` where a source cannot be placed on the axis."""
    drawing = widgets.LineChart(log_scale=metric.log, percent=metric.percent, x_title=_title(comparison, axis))
    curves = [
        _curve(source, metric, axis, position)
        for position, source in enumerate(comparison.sources)
        if source.name in metric.sources
        and any(np.isfinite(member.curves[metric.name].values).any() for member in source.having(metric.name))
    ]
    drawing.reach = max((float(curve.x[-1]) for curve in curves), default=0.0)
    drawing.show(curves, [widgets.Guide(name, value) for name, value in _baselines(comparison, metric).items()])
    return [list(Strip(row).crop(0, width)) for row in drawing.paint(width, HEIGHT, colours)]


def svg(rows: Sequence[Row], width: int, title: str) -> str:
    """The rows as an SVG picture of a terminal."""
    console = Console(
        width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor", record=True, legacy_windows=False, markup=False
    )
    for row in rows:
        console.print(Segments([*row, Segment("\n")]), end="", soft_wrap=True)
    return console.export_svg(title=title)


def print_rows(rows: Callable[[Palette], Iterable[Row]]) -> None:
    """Rows in the colours of the terminal that they are printed on, else as plain text."""
    console = rich_console(highlight=False, markup=False) if sys.stdout.isatty() else None
    plain = console is None or console.color_system is None or console.no_color or os.environ.get("TERM", "dumb") == "dumb"
    for row in rows(colours(plain=plain)):
        if plain or console is None:
            print_line("".join(segment.text for segment in row).rstrip())
        else:
            console.print(Segments([*_without_background(row), Segment("\n")]), end="", soft_wrap=True)


def _without_background(row: Row) -> Row:
    """On the background that the terminal has."""
    return [Segment(text, Style(color=style.color, bold=style.bold) if style else None) for text, style, _ in row]


def _curve(source: Source, metric: Metric, axis: Axis, position: int) -> widgets.Curve:
    members = source.having(metric.name)
    lines = [_line(member, metric.name, axis) for member in members]
    bands: tuple[widgets.Band, ...] = ()
    if len(lines) > 1:
        x, low, quarter, median, three_quarters, high = quartiles(lines)
        bands = (widgets.Band(x, quarter, three_quarters), widgets.Band(x, low, high))
    else:
        x, median = lines[0]
    return widgets.Curve(
        source.name,
        x,
        median,
        colour=str(position % 10),
        style="line" if len(x) > 1 else "dots",
        smoothed=False,
        marker=marker(position),
        bands=bands,
    )


def _line(member: Member, metric: str, axis: Axis) -> tuple[Floats, Floats]:
    """x and y of one training; what is measured at every step is smoothed."""
    measured = member.curves[metric]
    return member.at(measured.steps, axis), smooth(measured.values, SMOOTHING) if measured.kind == "training" else measured.values


def _baselines(comparison: Comparison, metric: Metric) -> dict[str, float]:
    """Those that are the same for all sources that have them."""
    tables = [item.baselines for item in comparison.reached(metric)] if metric.kind != "training" else []
    merged = {name: value for table in tables for name, value in table.items()}
    return {name: value for name, value in merged.items() if all(table.get(name, value) == value for table in tables)}


def _title(comparison: Comparison, axis: Axis) -> str:
    """The axis' title: what the examples are, where they are the same for all."""
    if axis != "examples":
        return axis
    members = [member for source in comparison.sources for member in source.members]
    units = {
        next((field.unit for field in fields(member.card.settings) if field.name == member.card.batch), "") if member.card else ""
        for member in members
    }
    return units.pop() or "examples" if len(units) == 1 else "examples"
