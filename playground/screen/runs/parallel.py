"""Parallel coordinates: an axis for each setting and one for the value, and a line through all of them for each trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.segment import Segment

from dlplay.widgets.charts.canvas import Canvas
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit

BEST = 3
"""Trials whose lines stand out."""


class ParallelCoordinates(Surface):
    """The lines of the best trials are bright and in front."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(empty="no trial has told a value yet", id=id)
        self._axes: list[tuple[str, str, str]] = []
        """Title, label at the bottom and label at the top."""
        self._lines: list[list[float]] = []
        """For each trial, the best first, its height 0..1 on every axis."""

    def show(self, names: Sequence[str], metric: str, trials: Sequence[Mapping[str, Any]], better: str) -> None:
        """Trials as `dlplay sweep show --json` has them; those without a value, or without one of the settings, are left out."""
        told = [trial for trial in trials if trial["value"] is not None and all(name in trial["settings"] for name in names)]
        told.sort(key=lambda trial: trial["value"], reverse=better == "higher")
        self._axes, columns = [], []
        for name in [*names, metric]:
            values = [trial["value"] if name is metric else trial["settings"][name] for trial in told]
            numeric = bool(values) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
            x, _ = positions(values, numeric and min(values) > 0 and max(values) > 20 * min(values))
            low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 1.0)
            columns.append((x - low) / (high - low) if high > low else np.full(len(x), 0.5))
            ends = [values[int(x.argmin())], values[int(x.argmax())]] if len(x) else ["", ""]
            self._axes.append((name, *(f"{end:.3g}" if isinstance(end, float) else str(end) for end in ends)))  # type: ignore[arg-type]
        self._lines = np.stack(columns, axis=1).tolist() if told else []
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self._lines or height < 5 or width < 10 * len(self._axes):
            return []
        canvas = Canvas(height - 3, width, palette.blank)
        count = len(self._axes)
        places = [round(6 + at * (2 * width - 13) / max(1, count - 1)) for at in range(count)]  # in dots
        for rank in reversed(range(len(self._lines))):
            style = palette.style("held_out", bold=True) if rank < BEST else palette.style("train", dim=True)
            canvas.dots(_polyline(self._lines[rank], places, 4 * (height - 3), 2 * width), style, background=rank >= BEST)
        for place in places:
            for row in range(height - 3):
                canvas.put(row, place // 2, "│", palette.style("faint"), only_blank=True)
        rows = [self._labels([title for title, _, _ in self._axes], places, width, palette, "text")]
        rows.append(self._labels([top for _, _, top in self._axes], places, width, palette, "muted"))
        return [*rows, *canvas.rows(), self._labels([bottom for _, bottom, _ in self._axes], places, width, palette, "muted")]

    def _labels(self, labels: Sequence[str], places: Sequence[int], width: int, palette: Palette, style: str) -> Row:
        text = ""
        for label, place in zip(labels, places, strict=True):
            start = min(max(place // 2 - len(label) // 2, len(text) + bool(text)), max(width - len(label), len(text)))
            text = text.ljust(start) + label
        return [Segment(fit(text, width), palette.style(style))]


def _polyline(heights: Sequence[float], places: Sequence[int], rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The dots (rows, columns) of straight lines between neighbouring axes; steep ones without gaps."""
    grid = np.zeros((rows, columns), dtype=bool)
    x = np.arange(places[0], places[-1] + 1)
    y = (1 - np.interp(x, places, heights)) * (rows - 1)
    for column, (here, there) in enumerate(zip(y, [*y[1:], y[-1]], strict=True), start=places[0]):
        low, high = sorted((round(float(here)), round(float(there))))
        grid[low : high + 1, column] = True
    return grid


def positions(values: Sequence[Any], log: bool) -> tuple[np.ndarray[Any, np.dtype[np.float64]], str]:
    """Where values lie on an axis (count,), and what its title adds: powers of ten, or what each whole number stands for."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        x = np.array(values, np.float64)
        return (np.log10(x), ", 10^x") if log and bool((x > 0).all()) else (x, "")
    names = sorted({shown(value) for value in values})
    return np.array([names.index(shown(value)) for value in values], np.float64), " (" + ", ".join(names) + ")"


def shown(value: Any) -> str:
    """A setting's value in a table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
