"""The cells of a scatter plot: which cell each point falls into, and which character is drawn there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row

Bounds = tuple[float, float, float, float]
"""Left, right, bottom, top."""

BOTH = "◈"
"""Drawn where points of two groups share a cell."""
_SHORT = "→↗↑↖←↙↓↘"
_LONG = "⇒⇗⇑⇖⇐⇙⇓⇘"
OUTSIDE = -10
"""Row and column of a point that is out of bounds."""


class Glyph(NamedTuple):
    """One character on the plane."""

    character: str
    colour: str
    """A colour name of the palette."""
    bold: bool = False


def bounds_of(points: NDArray[np.float64]) -> Bounds:
    """Bounds that hold the finite points, with a small margin."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return 0.0, 1.0, 0.0, 1.0
    low, high = finite.min(axis=0), finite.max(axis=0)
    pad = np.where(high > low, (high - low) * 0.04, 0.5)
    (left, bottom), (right, top) = (low - pad).tolist(), (high + pad).tolist()
    return left, right, bottom, top


def cells_of(points: NDArray[np.float64], bounds: Bounds, rows: int, columns: int) -> NDArray[np.intp]:
    """Row and column (count, 2) of each point among `rows` x `columns` cells; `OUTSIDE` for those out of bounds."""
    left, right, bottom, top = bounds
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x = (points[:, 0] - left) / (right - left) * (columns - 1)
        y = (top - points[:, 1]) / (top - bottom) * (rows - 1)
    seen = np.isfinite(x) & np.isfinite(y) & (x >= -0.5) & (x <= columns - 0.5) & (y >= -0.5) & (y <= rows - 0.5)
    cells = np.rint(np.stack([np.where(seen, y, 0), np.where(seen, x, 0)], axis=1)).astype(np.intp)
    cells = np.clip(cells, 0, [rows - 1, columns - 1])
    return np.where(seen[:, None], cells, OUTSIDE)


def best_per_cell(
    cells: NDArray[np.intp], groups: NDArray[np.intp], lengths: NDArray[np.float64], columns: int
) -> Iterator[tuple[int, int, int, bool]]:
    """For each cell that holds points: row, column, the point that is drawn there, and whether the cell holds points of several groups.

    The point with the longest arrow is drawn; without arrows, the first of the group with the most points there.
    """
    inside = np.flatnonzero(cells[:, 0] >= 0)
    if not inside.size:
        return
    arrow = np.zeros(len(cells))
    arrow[: len(lengths)] = lengths[: len(cells)]
    code = cells[inside, 0] * columns + cells[inside, 1]
    kinds = int(groups.max(initial=0)) + 1 if groups.min(initial=0) >= 0 else 1
    tally = code * kinds + (groups[inside] if kinds > 1 else 0)
    _, of, counts = np.unique(tally, return_inverse=True, return_counts=True)
    order = np.lexsort((inside, -counts[of], -arrow[inside], code))
    ordered = code[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    low = np.minimum.reduceat(groups[inside][order], first)
    high = np.maximum.reduceat(groups[inside][order], first)
    for at, mixed in zip(first.tolist(), (low != high).tolist(), strict=True):
        row, column = divmod(int(ordered[at]), columns)
        yield row, column, int(inside[order[at]]), mixed


def arrow_character(right: float, up: float, longest: float) -> str:
    """An arrow in one of eight directions; a double one if it is longer than half of `longest`."""
    eighth = round(float(np.arctan2(up, right)) / (np.pi / 4)) % 8
    return (_LONG if np.hypot(right, up) > longest / 2 else _SHORT)[eighth]


def place_label(drawn: dict[int, dict[int, Glyph]], row: int, column: int, label: str, columns: int, colour: str) -> None:
    """Add a label to the right of its point, else to the left, else not at all, so that it covers nothing."""
    line = drawn.setdefault(row, {})
    for start in (column + 2, column - 1 - len(label)):
        cells = range(start, start + len(label))
        if start >= 0 and cells.stop <= columns and not any(c in line for c in range(start - 1, cells.stop + 1) if c != column):
            for cell, character in zip(cells, label, strict=True):
                line[cell] = Glyph(character, colour)
            return


def draw_glyphs(row: Row, glyphs: dict[int, Glyph], levels: NDArray[np.intp] | None, palette: Palette) -> Row:
    """The row with glyphs, by column, drawn over the background, whose `levels` they keep behind them."""
    if not glyphs:
        return row
    characters: list[str] = []
    styles: list[Style] = []
    for segment in row:
        characters += segment.text
        styles += [segment.style or palette.blank] * len(segment.text)
    on_levels = levels is not None and not palette.shaded
    for column, glyph in glyphs.items():
        if column < len(characters):
            characters[column] = glyph.character
            level = int(levels[column]) if levels is not None and on_levels else 0
            styles[column] = palette.on_backdrop(glyph.colour, level, True) if on_levels else palette.style(glyph.colour, bold=glyph.bold)
    edges = [0, *(i for i in range(1, len(styles)) if styles[i] is not styles[i - 1]), len(styles)]
    return [Segment("".join(characters[start:end]), styles[start]) for start, end in pairwise(edges)]
