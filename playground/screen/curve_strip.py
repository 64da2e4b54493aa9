"""The curves in three rows, on the pages that do not show them: the training loss and the card's metric, each with its newest value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual.strip import Strip

from dlplay.engine.card import Card
from dlplay.runs.history import History, Series
from dlplay.screen.numbers import measure, words
from dlplay.widgets import Surface
from dlplay.widgets.charts.curves import braille, smooth
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.text import fit

SMOOTHING = 0.6


class CurveStrip(Surface, can_focus=False):
    """Half of the width for each: a name and a value above two rows of braille."""

    def __init__(self, card: Card) -> None:
        super().__init__(empty="")
        self._card = card
        self._curves: list[tuple[str, str, str, Series, float]] = []

    def set_card(self, card: Card) -> None:
        """Show the metrics of this variant of the card."""
        self._card = card

    def show(self, history: History) -> None:
        """Draw the history as it is now."""
        card = self._card
        first = next((chart for chart in card.charts if chart.train), None)
        chart = next((chart for chart in card.charts if card.metric in chart.held_out), None)
        found = []
        if first is not None and (series := history.training.get(first.train[0])) is not None and len(series):
            found.append((first.train[0], measure(series.last, percent=first.percent), "train", series, SMOOTHING))
        if (series := history.held_out.get(card.metric)) is not None and len(series):
            value = measure(series.last, percent=chart is not None and chart.percent)
            found.append((card.metric, value, "held_out", series, 0.0))
        self._curves = found
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        room = (width - 2 * (len(self._curves) - 1)) // max(1, len(self._curves))
        if not self._curves or room < 1:
            return [[]]
        rows: list[Row] = [[] for _ in range(height)]
        for number, (name, value, colour, series, weight) in enumerate(self._curves):
            if number:
                for row in rows:
                    row.append(Segment("  ", palette.blank))
            title = f"{words(name)} {value}"
            rows[0] += Strip([Segment(fit(title, room), palette.style(colour))]).adjust_cell_length(room, palette.blank)
            y = smooth(np.asarray(series.y), weight) if weight else np.asarray(series.y)
            lines = curve_lines(np.asarray(series.x, dtype=np.float64), y, room, height - 1)
            for row, line in zip(rows[1:], lines, strict=True):
                row.append(Segment(line, palette.style(colour)))
        return rows


def curve_lines(x: NDArray[np.float64], y: NDArray[np.float64], width: int, height: int) -> list[str]:
    """A curve as `height` lines of `width` braille characters: the mean of the points in each column of dots, joined by lines."""
    columns, rows = 2 * width, 4 * height
    dots = np.zeros((rows, columns), np.bool_)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(x):
        low, high, reach = float(y.min()), float(y.max()), float(x[-1] - x[0])
        at = np.zeros(len(x), np.intp) if reach <= 0 else ((x - x[0]) / reach * (columns - 1)).astype(np.intp)
        sums, counts = np.bincount(at, y, columns), np.bincount(at, minlength=columns)
        known = np.flatnonzero(counts)
        means = np.interp(np.arange(known[-1] + 1), known, sums[known] / counts[known])
        level = np.zeros(len(means), np.intp) if high <= low else ((high - means) / (high - low) * (rows - 1)).round().astype(np.intp)
        for column, row in enumerate(level.tolist()):
            before = int(level[column - 1]) if column else row
            dots[min(row, before) : max(row, before) + 1, column] = True
    return ["".join(chr(0x2800 + code) if code else " " for code in line) for line in braille(dots).tolist()]
