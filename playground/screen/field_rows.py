"""Rows of the settings form, drawn line by line: a label, a value with its unit, and a note at the right."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from dlplay.screen.flow import fit

PRESET = "preset"
LEAST_LABEL, MOST_LABEL = 14, 20
"""Cells of the labels, the leading blank and the gap behind them included; a longer one is cut."""


@dataclasses.dataclass(frozen=True)
class Row:
    label: str
    value: str
    unit: str
    choices: bool
    """‹ and › stand around the value."""
    changed: bool
    """Differs from the default."""
    note: str


def label_width(labels: Iterable[str]) -> int:
    """Cells for these labels, the blank before them and the gap behind them included."""
    return min(MOST_LABEL, max(LEAST_LABEL, 2 + max(map(len, labels), default=0)))


class FieldRows(Widget):
    """A block of rows, as many as there are fields in it."""

    COMPONENT_CLASSES = {"rows--label", "rows--value", "rows--changed", "rows--dim", "rows--note", "rows--cursor"}

    @dataclasses.dataclass
    class Clicked(Message):
        row: int
        arrow: int
        """-1 or 1 when ‹ or › was hit."""
        on_value: bool

    def __init__(self, label: int = LEAST_LABEL, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label
        self._rows: list[Row] = []
        self._first = 0
        self._cursor: int | None = None

    def show(self, rows: list[Row], first: int, cursor: int | None) -> None:
        """`first` is the number of the first row, `cursor` the number of the one under the cursor."""
        if (rows, first, cursor) == (self._rows, self._first, self._cursor):
            return
        taller = len(rows) != len(self._rows)
        self._rows, self._first, self._cursor = rows, first, cursor
        self.refresh(layout=taller)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._rows)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row, here = self._rows[y], self._first + y == self._cursor

        def style(name: str) -> Style:
            found = self.get_component_rich_style(f"rows--{name}")
            return found + self.get_component_rich_style("rows--cursor") if here else found

        value_style = style("changed") if row.changed else style("value")
        segments = [Segment(("▸" if here else " ") + f"{fit(row.label, self._label - 2):<{self._label - 1}}", style("label"))]
        if row.choices:
            segments.append(Segment("‹ ", style("dim")))
        room = width - self._label - len(row.note) - 1 - (4 if row.choices else 0)
        value = row.value if len(row.value) <= room else row.value[: max(room - 1, 0)] + "…"
        segments.append(Segment(value, value_style))
        if row.choices:
            segments.append(Segment(" ›", style("dim")))
        room -= len(value)
        if row.unit and room > len(row.unit) and not row.note:
            segments.append(Segment(" " + row.unit, style("dim")))
        used = sum(segment.cell_length for segment in segments)
        gap = max(width - used - len(row.note) - 1, 0)
        segments += [Segment(" " * gap, style("value")), Segment(row.note, style("note")), Segment(" ", style("value"))]
        return Strip(segments).adjust_cell_length(width, style("value"))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if not 0 <= event.y < len(self._rows):
            return
        row = self._rows[event.y]
        arrow = 0
        if row.choices:
            left, right = self._label, self._label + 2 + len(row.value)
            arrow = -1 if left <= event.x < left + 2 else 1 if left + 2 <= event.x <= right + 1 else 0
        self.post_message(self.Clicked(self._first + event.y, arrow, event.x >= self._label))
