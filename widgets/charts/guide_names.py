"""The names of a chart's guides: inside the plot, at the right end of each one's own line, but off the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
OFF_LINE = 3.0
"""How many dots of curves may be hidden rather than that a name goes one row further from where it belongs."""
SAME_ROW = 0.5
"""The same for each cell in a row that has a name already."""
SHARED = 0.75
"""The part of a row that several names may fill together."""
OFF_RIGHT = 0.02
"""The same for a cell further left."""
VALUELESS = 6.0
"""The same for leaving out values, which are in the list of runs too."""


@dataclass(frozen=True)
class Entry:
    """One or more names in one row."""

    row: int
    """The row of cells of the first one's line; the top or the bottom one where that is out of sight."""
    arrow: str
    """Where the line is, if it is out of sight: ↑ or ↓."""
    names: tuple[tuple[int, str, str], ...]
    """Position among the guides, name and value of each."""
    more: int = 0
    """How many further ones are near the first, but not drawn."""

    @property
    def length(self) -> int:
        """Cells of the whole of it."""
        return len(self.text(False, 10_000))

    def text(self, own_row: bool, room: int, values: bool = True) -> str:
        """As much of it as there is room for: values are left out first, then names, and it is said how many."""
        if self.arrow or (own_row and len(self.names) == 1):
            samples = [""] * len(self.names)
        else:
            samples = [sample(position) for position, _, _ in self.names]
        head = f"{self.arrow} " if self.arrow else ""
        for with_values in (True, False) if values else (False,):
            for count in range(len(self.names), 0 if not with_values else len(self.names) - 1, -1):
                parts = [
                    f"{mark}{name} {value}" if with_values else mark + name
                    for mark, (_, name, value) in zip(samples[:count], self.names[:count], strict=True)
                ]
                more = len(self.names) - count + self.more
                text = head + " · ".join(parts) + (f" +{more}" if more else "")
                if len(text) <= room:
                    return text
        return ""


def dashes(position: int, count: int) -> NDArray[np.bool_]:
    """Which of `count` columns of dots the line of the guide at this position has."""
    lengths = DASHES[position % len(DASHES)]
    period = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    return np.resize(period, count)


@lru_cache(maxsize=64)
def sample(position: int) -> str:
    """Some cells of its line, and a space."""
    grid = np.zeros((4, 2 * SAMPLE), dtype=np.bool_)
    grid[1] = dashes(position, 2 * SAMPLE)
    return "".join(chr(0x2800 + int(cell)) if cell else " " for cell in braille(grid)[0]) + " "


def with_room(guides: Sequence[Guide], rows: Sequence[int], percent: bool, width: int, height: int) -> dict[int, int]:
    """The positions of the guides that are drawn in a plot of `width` x `height` cells, with how many others are left out for each, the
    nearest.

    All, if their names and values fit in half of the rows, within a row of their lines; else those of the lowest ranks that are
    at least two rows apart, and of those out of sight the nearest, which a curve meets first. `rows` are those of the lines, one below 0 or
    from the height on out of sight.
    """
    known = [position for position, guide in enumerate(guides) if math.isfinite(guide.value)]
    every = dict.fromkeys(known, 0)
    joined = _joined(_entries(guides, rows, every, percent, height), width, height)
    found = spread([entry.row for entry in joined], height)
    fit = all(
        entry.length < (width if len(entry.names) == 1 else SHARED * width) and abs(row - entry.row) <= 1
        for row, entry in zip(found, joined, strict=True)
    )
    if fit and 2 * len(joined) <= max(height, 2):
        return every
    at = [min(max(row, -1), height) for row in rows]
    shown: dict[int, int] = {}
    beyond = [max(-row, row - height + 1, 0) for row in rows]
    for position in sorted(known, key=lambda position: (beyond[position], guides[position].rank)):
        nearest = min(shown, key=lambda other: abs(at[other] - at[position]), default=None)
        if nearest is not None and abs(at[nearest] - at[position]) < 2:
            shown[nearest] += 1
        else:
            shown[position] = 0
    return shown


def name_guides(
    guides: Sequence[Guide],
    rows: Sequence[int],
    shown: Mapping[int, int],
    percent: bool,
    ink: NDArray[np.float64],
    canvas: Canvas,
    palette: Palette,
) -> None:
    """Write the names of those that are `shown` (`with_room`) over their lines. `ink` is what a name would hide in each cell
    (`Canvas.ink`, before the lines of the guides are drawn).

    A name whose row is taken by another one goes above or below, and one that would hide a curve to where it hides the least.
    """
    style = palette.style("guide")
    joined = _joined(_entries(guides, rows, shown, percent, canvas.height), canvas.width, canvas.height)
    ink = ink.copy()
    for wanted, entry in zip(spread([entry.row for entry in joined], canvas.height), joined, strict=True):
        found = _place(entry, min(wanted, canvas.height - 1), ink)
        if found is not None:
            row, column, text = found
            canvas.put(row, column, text, style, keep=True)
            ink[row, column : column + len(text)] = np.inf
            ink[row] += SAME_ROW  # two names in a row would seem to be of one line


def _entries(guides: Sequence[Guide], rows: Sequence[int], shown: Mapping[int, int], percent: bool, height: int) -> list[Entry]:
    """One for each of those that are shown, the highest value first."""
    found = []
    for position in sorted(shown, key=lambda position: (-guides[position].value, position)):
        row, guide = rows[position], guides[position]
        arrow = "↑" if row < 0 else "↓" if row >= height else ""
        name = (position, narrow(guide.name), figure(guide.value, percent, short=True))
        found.append(Entry(min(max(row, 0), height - 1), arrow, (name,), shown[position]))
    return found


def _place(entry: Entry, wanted: int, ink: NDArray[np.float64]) -> tuple[int, int, str] | None:
    """Row, column and text where the least is hidden, near the wanted row and far right; None where there is no room at all."""
    height, width = ink.shape
    best: tuple[float, int, int, str] | None = None
    for values, own_row in product((True, False), (wanted == entry.row, wanted != entry.row)):
        text = entry.text(own_row, width - 1, values)
        length = len(text) + 1  # a space before it
        rows = np.array([row for row in range(height) if (row == entry.row) == own_row], dtype=np.intp)
        if not text or length > width or not len(rows):
            continue
        hidden = sliding_window_view(ink[rows], length, axis=1).sum(axis=-1)
        away = OFF_LINE * np.abs(rows - wanted)[:, None] + OFF_RIGHT * np.arange(width - length, -1, -1)
        costs = hidden + away + (0.0 if values else VALUELESS)
        row, column = np.unravel_index(int(costs.argmin()), costs.shape)
        if math.isfinite(costs[row, column]) and (best is None or costs[row, column] < best[0]):
            best = float(costs[row, column]), int(rows[row]), int(column), f" {text}"
        if best is not None and best[0] < OFF_LINE:
            break  # the wanted row was looked at first, and all others cost more
    return best[1:] if best is not None else None


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
        entries = [*entries[:i], Entry(first.row, first.arrow, first.names + second.names, first.more + second.more), *entries[i + 2 :]]
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
