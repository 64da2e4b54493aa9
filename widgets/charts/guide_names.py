"""The names of a chart's guides: inside the plot, at the right end of each one's own line, in order of their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dlplay.widgets.charts.canvas import Canvas
from dlplay.widgets.charts.chart import Guide
from dlplay.widgets.charts.curves import braille
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.text import figure, narrow

DASHES = ((3, 3), (1, 3), (7, 2), (3, 2, 1, 2), (1, 1), (5, 2, 1, 2, 1, 2), (2, 6), (10, 4))
"""Columns of dots that are drawn and left out, in turn, so that guides are told apart."""
SAMPLE = 3
"""Cells of its dashes that stand before the name of a guide whose line is elsewhere."""
FILLED = 0.6
"""The part of the rows that may hold names; beyond it names share a row."""


@dataclass(frozen=True)
class Entry:
    """One or more names in one row."""

    row: int
    """The row of cells of the first one's line; the top or the bottom one where that is out of sight."""
    arrow: str
    """Where the line is, if it is out of sight: ↑ or ↓."""
    names: tuple[tuple[int, str, str], ...]
    """Position among the guides, name and value of each."""

    @property
    def length(self) -> int:
        """Cells of the whole of it."""
        return len(self.text(False, 10_000))

    def text(self, own_row: bool, room: int) -> str:
        """As much of it as there is room for: values are left out first, then names, and it is said how many."""
        if self.arrow or (own_row and len(self.names) == 1):
            samples = [""] * len(self.names)
        else:
            samples = [sample(position) for position, _, _ in self.names]
        head = f"{self.arrow} " if self.arrow else ""
        for with_values in (True, False):
            for count in range(len(self.names), 0 if not with_values else len(self.names) - 1, -1):
                parts = [
                    f"{mark}{name} {value}" if with_values else mark + name
                    for mark, (_, name, value) in zip(samples[:count], self.names[:count], strict=True)
                ]
                text = head + " · ".join(parts) + (f" +{len(self.names) - count}" if count < len(self.names) else "")
                if len(text) <= room:
                    return text
        return ""


def dashes(position: int, count: int) -> NDArray[np.bool_]:
    """Which of `count` columns of dots the line of the guide at this position has."""
    lengths = DASHES[position % len(DASHES)]
    period = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    return np.resize(period, count)


def sample(position: int) -> str:
    """Some cells of its line, and a space."""
    grid = np.zeros((4, 2 * SAMPLE), dtype=np.bool_)
    grid[1] = dashes(position, 2 * SAMPLE)
    return "".join(chr(0x2800 + int(cell)) if cell else " " for cell in braille(grid)[0]) + " "


def name_guides(guides: Sequence[Guide], rows: Sequence[int], percent: bool, canvas: Canvas, palette: Palette) -> None:
    """Write the names over their lines, where no curve runs. `rows` are those of the lines, one below 0 or from the height on out of sight.

    A name whose row is taken by another one goes above or below. Where a curve runs at the right end it goes further left.
    """
    style = palette.style("guide")
    entries = []
    for position, (row, guide) in enumerate(zip(rows, guides, strict=True)):
        if math.isfinite(guide.value):
            arrow = "↑" if row < 0 else "↓" if row >= canvas.height else ""
            value = figure(guide.value, percent, short=True)
            entry = Entry(min(max(row, 0), canvas.height - 1), arrow, ((position, narrow(guide.name), value),))
            entries.append((-guide.value, position, entry))
    joined = _joined([entry for _, _, entry in sorted(entries, key=lambda each: each[:2])], canvas.width, canvas.height)
    for row, entry in zip(spread([entry.row for entry in joined], canvas.height), joined, strict=True):
        text = entry.text(row == entry.row, canvas.width - 1)
        if text and row < canvas.height:
            canvas.put(row, _column(canvas, row, len(text)), f" {text}", style, keep=True)


def _column(canvas: Canvas, row: int, length: int) -> int:
    """Where the name begins, a space before it: as far right as nothing but lines of guides lies under it, else at the right end."""
    free = np.convolve(canvas.open(row), np.ones(length + 1), mode="valid") > length
    found = np.flatnonzero(free)
    return int(found[-1]) if len(found) else canvas.width - length - 1


def _joined(entries: list[Entry], width: int, height: int) -> list[Entry]:
    """Join neighbours into one row: those of the same row that are short, then the closest while they fill too many rows."""
    most = max(1, int(FILLED * height))
    while len(entries) > 1:
        alike = [(b.row - a.row, a.length + b.length, i) for i, (a, b) in enumerate(pairwise(entries)) if a.arrow == b.arrow]
        near = [pair for pair in alike if pair[0] == 0 and pair[1] + 3 <= width // 2]
        if not near and (len(entries) <= most or not alike):
            break
        _, _, i = min(near or alike)
        upper, lower = entries[i : i + 2]
        first, second = (lower, upper) if lower.arrow == "↑" else (upper, lower)  # the nearest first
        entries = [*entries[:i], Entry(first.row, first.arrow, first.names + second.names), *entries[i + 2 :]]
    return entries


def spread(rows: list[int], height: int) -> list[int]:
    """A row of its own for each, in the same order and as near to `rows` (ascending) as possible: an isotonic regression."""
    blocks: list[tuple[float, int]] = []  # mean of (row - rank), how many
    for rank, row in enumerate(rows):
        mean, count = float(row - rank), 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean, count = (before * others + mean * count) / (others + count), count + others
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [min(max(math.floor(mean + 0.5), 0), max(0, height - len(rows))) + rank for rank, mean in enumerate(means)]
