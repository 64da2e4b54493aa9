"""The layout of a heat map: margins for the labels, and how many cells each value takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import set_cell_size

from dlplay.widgets.drawing.text import width_of

READABLE = 3
"""Width of a column in cells from which labels are cut to it; above narrower columns, only some labels are shown, in full."""
TICK = "╷"
"""Before a word that is wider than its column."""
MAX_TALL = 4
"""Half cells that a labelled value takes at most."""
MAX_LABEL = 5
"""Cells of a column's label for which columns are made wider than square."""


@dataclass(frozen=True)
class Grid:
    """Where the values are drawn; each takes `wide` cells by `tall` half cells."""

    labels: tuple[int, ...]
    """Cells for each column of row labels, spaces included."""
    top: int
    """Lines above the first row."""
    wide: int
    tall: int
    pixel_rows: int
    pixel_columns: int
    shrunk: bool
    """There are more values than fit, and means of neighbours are drawn."""

    @property
    def left(self) -> int:
        """Cells before the first value."""
        return sum(self.labels)

    def at(self, x: int, y: int, rows: int, columns: int) -> tuple[int, int] | None:
        """The value (row, column) drawn at a cell of the widget; None outside."""
        px, py = x - self.left, 2 * (y - self.top)
        if not (0 <= px < self.pixel_columns and 0 <= py < self.pixel_rows):
            return None
        return py * rows // self.pixel_rows, px * columns // self.pixel_columns


def margins(shape: tuple[int, ...], rows: list[str], columns: list[str], width: int, height: int) -> tuple[tuple[int, ...], int]:
    """Cells for the row labels, and lines for the column labels. Where two rows share a line, both labels stand before it, of numbers the
    upper one."""
    room = max(1, height - 1 - bool(columns))
    beside = 2 if room < shape[0] <= 2 * room and not numeric(rows) else 1
    shared = [rows[first::beside] for first in range(beside)] if rows and width >= 12 else []
    labels = tuple(width_of(several, max(3, width // (4 * beside))) + 1 for several in shared)
    return labels, int(bool(columns) and height >= 5)


def numeric(labels: list[str]) -> bool:
    """Whether all labels are numbers, so that every n-th is enough."""
    return all(label.strip().lstrip("-+−").replace(".", "", 1).replace("e-", "", 1).isdecimal() for label in labels)


def stride(labels: list[str], wide: float) -> int:
    """The n of "every n-th label" (1, 2, 5, 10, 20 …) with which numeric labels do not touch above columns of `wide` cells."""
    longest = width_of(labels, 99)
    least = (longest + 1) / wide if longest > max(1, wide - 1) else 1
    return next(factor * int(10**power) for power in range(9) for factor in (1, 2, 5) if factor * 10**power >= least)


def column_labels(labels: list[str], wide: float, largest: Sequence[float] = ()) -> list[tuple[int, str]]:
    """Which columns of `wide` cells are labelled, and how: all of them, cut to their width, or some of them in full.

    Words over narrower columns begin with a tick that stands above the column; those with the `largest` values come first.
    """
    if numeric(labels):
        every = stride(labels, wide)
        return [(i, label) for i, label in enumerate(labels) if i % every == 0]
    room = max(1, int(wide) - 1)
    long = sum(width_of([label], 99) > room for label in labels)
    if wide >= READABLE or (wide >= 1 and not long):
        return [(i, label if width_of([label], 99) <= room else set_cell_size(label, room)) for i, label in enumerate(labels)]
    by_value = sorted(range(len(labels)), key=lambda i: (-largest[i] if i < len(largest) else 0.0, i))
    found: dict[int, str] = {}
    taken: set[int] = set()
    for i in by_value:
        start, narrow = int(i * wide), width_of([labels[i]], 99) > wide
        label = TICK + labels[i] if narrow else labels[i]
        cells = range(start, start + width_of([label], 99) + narrow)
        if taken.isdisjoint(cells):
            found[i] = label
            taken.update(cells)
    return sorted(found.items())


def layout(shape: tuple[int, ...], width: int, height: int, labels: tuple[int, ...], head: int, text: int) -> Grid:
    """The largest whole cells that fit; means of neighbours if there is no room for all. Without labels and text a value is a square, as a
    pixel of an image; else twice as wide as high, and at least `text` cells.

    Labelled values get two lines each at most, since larger blocks of a small matrix are no easier to read.
    """
    rows, columns = shape
    room_x, room_y = max(1, width - sum(labels)), 2 * max(1, height - head - (height > 1))
    tall = _even(room_y // rows)
    tall = min(tall, MAX_TALL) if labels else tall
    bare = not (labels or head or text)
    wide = min(room_x // columns, max(tall, 1) if bare else max(2 * tall, text + 1, 2))
    tall = _even(min(tall, max(2, wide)))
    return Grid(
        labels,
        head,
        max(1, wide),
        max(1, tall),
        rows * tall or min(rows, room_y),
        columns * wide or min(columns, room_x),
        rows > room_y or columns > room_x,
    )


def _even(halves: int) -> int:
    """Rounded down to whole cells, if there is at least one."""
    return halves if halves < 2 else halves - halves % 2
