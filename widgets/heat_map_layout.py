"""Where the values of a heat map stand: margins for labels, and whole cells or half cells for each value."""

from __future__ import annotations

from dataclasses import dataclass

from widgets.text import width_of

READABLE = 3
"""Cells of a column from which labels are written downwards or cut; in narrower ones they would be noise."""


@dataclass(frozen=True)
class Grid:
    """Where the values stand: `left`, `top` in cells; each value `wide` cells by `tall` half cells; or many values to a cell (`shrunk`)."""

    left: int
    top: int
    wide: int
    tall: int
    pixel_rows: int
    pixel_columns: int
    shrunk: bool

    def at(self, x: int, y: int, rows: int, columns: int) -> tuple[int, int] | None:
        """The value (row, column) under a cell of the widget."""
        px, py = x - self.left, 2 * (y - self.top)
        if not (0 <= px < self.pixel_columns and 0 <= py < self.pixel_rows):
            return None
        return py * rows // self.pixel_rows, px * columns // self.pixel_columns


def margins(shape: tuple[int, ...], rows: list[str], columns: list[str], width: int, height: int) -> tuple[int, int]:
    """Cells for row labels (0: none) and lines for column labels (more than one: written downwards)."""
    label_width = width_of(rows, max(3, width // 4)) + 1 if rows and width >= 12 and shape[0] <= 2 * height else 0
    head = 0
    if columns and height >= 5 and shape[1] <= width - label_width:
        longest = width_of(columns, 99)
        room = (width - label_width) // max(1, shape[1])
        if longest <= max(1, room - 1) or numeric(columns):
            head = 1
        elif room >= READABLE:
            head = min(longest, max(1, height // 4))
    return label_width, head


def numeric(labels: list[str]) -> bool:
    """Whether all labels are numbers, of which every n-th says enough."""
    return all(label.strip().lstrip("-+−").replace(".", "", 1).replace("e-", "", 1).isdecimal() for label in labels)


def stride(labels: list[str], wide: int) -> int:
    """Of numeric labels in columns of `wide` cells every how manieth is written, so that they stay apart: 1, 2, 5, 10, 20 …"""
    least = (width_of(labels, 99) + 1) / max(1, wide) if width_of(labels, 99) > max(1, wide - 1) else 1
    return next(factor * int(10**power) for power in range(9) for factor in (1, 2, 5) if factor * 10**power >= least)


def layout(shape: tuple[int, ...], width: int, height: int, label_width: int, head: int, text: int) -> Grid:
    """The largest whole cells that fit, about square, but at least `text` wide for printed numbers; else means of neighbours."""
    rows, columns = shape
    room_x, room_y = max(1, width - label_width), 2 * max(1, height - head - (height > 1))
    if rows > room_y or columns > room_x:
        return Grid(label_width, head, 1, 1, min(rows, room_y), min(columns, room_x), True)
    tall = _even(room_y // rows)
    wide = min(room_x // columns, max(2 * tall, text + 1, 2))
    tall = _even(min(tall, max(2, wide)))
    return Grid(label_width, head, wide, tall, rows * tall, columns * wide, False)


def _even(halves: int) -> int:
    """Whole cells where there is at least one."""
    return halves if halves < 2 else halves - halves % 2
