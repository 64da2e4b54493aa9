"""An examination in words and pictures: every diagnosis with the curve that it is seen on, or with what was measured by layer as bars."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

import numpy as np
from rich.segment import Segment
from textual.strip import Strip

from dlplay.doctor.examine import Examination
from dlplay.engine.diagnosis import Diagnosis
from dlplay.experiments.compare import picture
from dlplay.runs.history import History
from dlplay.widgets import Bars, Curve, LineChart
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row

HEIGHT = 10
"""Rows of a chart, its legend and axis included."""
SCALES = 100
"""Positive values of which the largest is more than so many times the smallest are drawn on a log scale."""


def summary(found: Examination) -> list[str]:
    """What is to be said of the run as a whole."""
    said = [f"without its layers: {found.layers}"] if found.layers else []
    return (
        said if found.diagnoses else [*said, f"{found.run}: {nothing(found.step, found.judged, len(found.rules))}, at step {found.step:,}"]
    )


def nothing(step: int, judged: int, rules: int) -> str:
    """What it means that no rule has found anything."""
    having = f"{judged} of {rules} rules have what they need"
    return f"nothing is found wrong: {having}" if step and judged else f"nothing to judge yet: {having}"


def words(diagnosis: Diagnosis) -> list[str]:
    """A diagnosis line by line."""
    return [
        f"{diagnosis.title} ({diagnosis.name})",
        f"  {diagnosis.found}",
        f"  measured {diagnosis.number:.3g} against {diagnosis.bound:.3g}: {diagnosis.rule}",
        f"  {diagnosis.source}",
        f"  what helps: {diagnosis.advice}",
    ]


def drawing(curve: str, bars: Mapping[str, float], history: History) -> LineChart | Bars | None:
    """A metric's curve, or else bars; None where there is nothing to be looked at."""
    held_out = curve in history.held_out
    series = (history.held_out if held_out else history.training).get(curve)
    if series is not None and len(series) > 1 and np.isfinite(series.y).any():
        chart = LineChart(log_scale=_many_scales(float(np.nanmin(series.y)), float(np.nanmax(series.y))))
        name = curve.replace("_", " ")
        chart.show([Curve(name, series.x, series.y, colour="held_out" if held_out else "train", smoothed=not held_out)])
        return chart
    if not bars:
        return None
    drawn = Bars()
    drawn.show(list(bars), list(bars.values()), log=_many_scales(min(bars.values()), max(bars.values())))
    return drawn


def _many_scales(low: float, high: float) -> bool:
    return low > 0 and high > SCALES * low


def rows(diagnosis: Diagnosis, history: History, width: int, colours: Palette) -> list[Row]:
    """Its picture; none where there is nothing to be drawn."""
    drawn = drawing(diagnosis.curve, diagnosis.bars, history)
    if drawn is None:
        return []
    height = HEIGHT if isinstance(drawn, LineChart) else len(diagnosis.bars)
    return [list(Strip(row).crop(0, width)) for row in drawn.paint(width, height, colours)]


def svg(found: Examination, history: History, width: int) -> str:
    """All of it as a picture of a terminal of this width."""
    colours = picture.colours(plain=False)
    return picture.svg(list(_page(found, history, width, colours)), width, f"dlplay doctor {found.run}")


def _page(found: Examination, history: History, width: int, colours: Palette) -> Iterator[Row]:
    def text(line: str) -> Iterator[Row]:
        for part in broken(line, width):
            yield [Segment(part, colours.style("text"))]

    for line in summary(found):
        yield from text(line)
    for diagnosis in found.diagnoses:
        title, *lines = words(diagnosis)
        yield [Segment(title[:width], colours.style("accent", bold=True))]
        for line in lines:
            yield from text(line)
        yield from rows(diagnosis, history, width, colours)
        yield []


def broken(line: str, width: int) -> list[str]:
    """A line as several of at most this width, indented as it is."""
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line.strip(), width, initial_indent=indent, subsequent_indent=indent) or [""]
