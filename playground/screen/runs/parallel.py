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
        super().__init__(empty="no trial has a value yet", id=id)
        self._axes: list[tuple[str, list[tuple[float, str]]]] = []
        """Title, and the labels with their heights 0..1, from the bottom to the top."""
        self._under = -1
        """Position of the line under the cursor among them."""
        self._lines: list[list[float]] = []
        """For each trial, the best first, its height 0..1 on every axis."""

    def show(
        self, names: Sequence[str], metric: str, trials: Sequence[Mapping[str, Any]], better: str, under: Mapping[str, Any] | None = None
    ) -> None:
        """Trials as `dlplay sweep show --json` has them; those without a value, or without one of the settings, are left out. The line of
        the one `under` the cursor is in front of all."""
        told = [trial for trial in trials if trial["value"] is not None and all(name in trial["settings"] for name in names)]
        told.sort(key=lambda trial: trial["value"], reverse=better == "higher")
        self._under = next((rank for rank, trial in enumerate(told) if under is not None and trial["number"] == under["number"]), -1)
        self._axes, columns = [], []
        for name in [*names, metric]:
            values = [trial["value"] if name is metric else trial["settings"][name] for trial in told]
            numeric = bool(values) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
            x, _, choices = positions(values, numeric and min(values) > 0 and max(values) > 20 * min(values))
            low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 1.0)
            heights = (x - low) / (high - low) if high > low else np.full(len(x), 0.5)
            columns.append(heights)
            of_height = {float(height): shown(value) for height, value in zip(heights, values, strict=True)}
            inner = sorted(of_height.items())
            self._axes.append((name.replace("_", " "), inner if choices else [*inner[:1], *inner[1:][-1:]]))
        self._lines = np.stack(columns, axis=1).tolist() if told else []
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self._lines or height < 5 or width < 10 * len(self._axes):
            return []
        canvas = Canvas(height - 3, width, palette.blank)
        count = len(self._axes)
        places = [round(6 + at * (2 * width - 13) / max(1, count - 1)) for at in range(count)]  # in dots
        for rank in sorted(range(len(self._lines)), key=lambda rank: (rank == self._under, -rank)):
            best, here = rank < BEST, rank == self._under
            style = palette.style("text" if here else "held_out" if best else "train", bold=best or here, dim=not best and not here)
            canvas.dots(_polyline(self._lines[rank], places, 4 * (height - 3), 2 * width), style, background=not best and not here)
        for place, (_, labels) in zip(places, self._axes, strict=True):
            for row in range(height - 3):
                canvas.put(row, place // 2, "│", palette.style("faint"), only_blank=True)
            for at, label in labels[1:-1]:
                canvas.put(round((1 - at) * (height - 4)), place // 2 + 2, label, palette.style("muted"), keep=True)
        rows = [self._labels([title for title, _ in self._axes], places, width, palette, "text")]
        rows.append(self._labels([labels[-1][1] for _, labels in self._axes], places, width, palette, "muted"))
        lowest = self._labels([labels[0][1] if len(labels) > 1 else "" for _, labels in self._axes], places, width, palette, "muted")
        return [*rows, *canvas.rows(), lowest]

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


def positions(values: Sequence[Any], log: bool) -> tuple[np.ndarray[Any, np.dtype[np.float64]], bool, tuple[str, ...]]:
    """Where values lie on an axis (count,), whether those are powers of ten, and what each whole number stands for."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        x = np.array(values, np.float64)
        return (np.log10(x), True, ()) if log and len(x) and bool((x > 0).all()) else (x, False, ())
    names = list(
        dict.fromkeys(shown(value) for value in sorted(values, key=lambda value: (value if isinstance(value, list) else [], str(value))))
    )
    return np.array([names.index(shown(value)) for value in values], np.float64), False, tuple(names)


def shown(value: Any) -> str:
    """A setting's value in a table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
