"""Where the values of a heat map stand: margins for labels, and whole cells or half cells for each value."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import set_cell_size

from dlplay.widgets.text import width_of

READABLE = 3
"""Cells of a column from which words are cut to its width; in narrower ones that would be noise, and some are written whole."""
MOST_TALL = 4
"""Half cells that a labelled value takes at the most."""
MOST_WORD = 5
"""Cells of a column's label for which columns are made wider than square."""


@dataclass(frozen=True)
class Grid:
    """Where the values stand: behind the row `labels` (cells of each, spaces included) and below `top` lines;
    each value `wide` cells by `tall` half cells.

    `shrunk`: there are more rows or columns than that, and the values are means of neighbours."""

    labels: tuple[int, ...]
    top: int
    wide: int
    tall: int
    pixel_rows: int
    pixel_columns: int
    shrunk: bool

    @property
    def left(self) -> int:
        """Cells before the first value."""
        return sum(self.labels)

    def at(self, x: int, y: int, rows: int, columns: int) -> tuple[int, int] | None:
        """The value (row, column) under a cell of the widget."""
        px, py = x - self.left, 2 * (y - self.top)
        if not (0 <= px < self.pixel_columns and 0 <= py < self.pixel_rows):
            return None
        return py * rows // self.pixel_rows, px * columns // self.pixel_columns


def margins(shape: tuple[int, ...], rows: list[str], columns: list[str], width: int, height: int) -> tuple[tuple[int, ...], int]:
    """Cells for row labels, and lines for column labels. Where two rows share a line, both labels stand before it."""
    room = max(1, height - 1 - bool(columns))
    beside = 2 if room < shape[0] <= 2 * room else 1
    shared = [rows[first::beside] for first in range(beside)] if rows and width >= 12 else []
    labels = tuple(width_of(several, max(3, width // (4 * beside))) + 1 for several in shared)
    return labels, int(bool(columns) and height >= 5)


def numeric(labels: list[str]) -> bool:
    """Whether all labels are numbers, of which every n-th says enough."""
    return all(label.strip().lstrip("-+−").replace(".", "", 1).replace("e-", "", 1).isdecimal() for label in labels)


def stride(labels: list[str], wide: float) -> int:
    """Of numeric labels in columns of `wide` cells every how manieth is written, so that they stay apart: 1, 2, 5, 10, 20 …"""
    longest = width_of(labels, 99)
    least = (longest + 1) / wide if longest > max(1, wide - 1) else 1
    return next(factor * int(10**power) for power in range(9) for factor in (1, 2, 5) if factor * 10**power >= least)


def column_labels(labels: list[str], wide: float) -> list[tuple[int, str]]:
    """Which columns of `wide` cells are labelled, and how: every one cut to its cells, or whole words as far apart as they need."""
    if numeric(labels):
        every = stride(labels, wide)
        return [(at, label) for at, label in enumerate(labels) if at % every == 0]
    most = max(1, int(wide) - 1)
    long = sum(width_of([label], 99) > most for label in labels)
    if wide >= READABLE or (wide >= 1 and long <= len(labels) // 4):
        return [(at, label if width_of([label], 99) <= most else set_cell_size(label, most)) for at, label in enumerate(labels)]
    found: list[tuple[int, str]] = []
    free = 0
    for at, label in enumerate(labels):
        start = int(at * wide)
        if start >= free:
            found.append((at, label))
            free = start + width_of([label], 99) + 1
    return found


def layout(shape: tuple[int, ...], width: int, height: int, labels: tuple[int, ...], head: int, text: int) -> Grid:
    """The largest whole cells that fit, about square, but at least `text` wide for what is to be read; else means of neighbours.

    Labelled values get no more than two lines each: beyond that a small matrix would be nothing but slabs.
    """
    rows, columns = shape
    room_x, room_y = max(1, width - sum(labels)), 2 * max(1, height - head - (height > 1))
    tall = _even(room_y // rows)
    tall = min(tall, MOST_TALL) if labels else tall
    wide = min(room_x // columns, max(2 * tall, text + 1, 2))
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
    """Whole cells where there is at least one."""
    return halves if halves < 2 else halves - halves % 2
