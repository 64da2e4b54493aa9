"""The rows of the settings form: a block of rows drawn line by line, and the one row that is being edited."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from dlplay.screen.flow import fit
from dlplay.screen.line_input import LineInput

PRESET = "preset"
MIN_LABEL, MAX_LABEL = 10, 20
"""Width of the labels in cells, with the space before and the gap behind; a longer one is cut."""


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
    """When a changed value takes effect."""
    heading: bool = False
    """It is the heading of a group, `label` alone."""


def label_width(labels: Iterable[str]) -> int:
    """Cells for these labels, with the space before and the gap behind."""
    return min(MAX_LABEL, max(MIN_LABEL, 2 + max(map(len, labels), default=0)))


class FieldRows(Widget):
    """A block of rows: a label, a value with its unit, and a note at the right."""

    COMPONENT_CLASSES = {"rows--label", "rows--value", "rows--changed", "rows--dim", "rows--note", "rows--cursor"}

    @dataclasses.dataclass
    class Clicked(Message):
        row: int
        arrow: int
        """-1 or 1 when ‹ or › was hit."""
        on_value: bool

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = MIN_LABEL
        self._rows: list[Row] = []
        self._first = 0
        self._cursor: int | None = None

    def show(self, rows: list[Row], first: int, cursor: int | None, label: int) -> None:
        """`first` is the number of the first row, `cursor` that of the row under the cursor; `label` cells are for the labels."""
        if (rows, first, cursor, label) == (self._rows, self._first, self._cursor, self._label):
            return
        self._label = label
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
        if row.heading:
            dim = self.get_component_rich_style("rows--label")
            return Strip([Segment(f" {row.label}", dim + Style(bold=True))]).adjust_cell_length(width, dim)

        def style(name: str) -> Style:
            found = self.get_component_rich_style(f"rows--{name}")
            return found + self.get_component_rich_style("rows--cursor") if here else found

        value_style, note = style("changed") if row.changed else style("value"), row.note
        arrows = 4 if row.choices else 0
        if note and self._label + arrows + len(row.value) + len(note) + 2 > width:  # the value comes first, in the colour of its note
            value_style, note = style("note"), ""
        segments = [Segment(("▸" if here else " ") + f"{fit(row.label, self._label - 2):<{self._label - 1}}", style("label"))]
        if row.choices:
            segments.append(Segment("‹ ", style("dim")))
        room = width - self._label - len(note) - 1 - arrows
        value = row.value if len(row.value) <= room else row.value[: max(room - 1, 0)] + "…"
        segments.append(Segment(value, value_style))
        if row.choices:
            segments.append(Segment(" ›", style("dim")))
        room -= len(value)
        if row.unit and room > len(row.unit) and not note:
            segments.append(Segment(" " + row.unit, style("dim")))
        used = sum(segment.cell_length for segment in segments)
        gap = max(width - used - len(note) - 1, 0)
        segments += [Segment(" " * gap, style("value")), Segment(note, style("note")), Segment(" ", style("value"))]
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


class FieldInput(LineInput):
    """The line in which a value is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "apply", key_display="enter")]


class FieldEditor(Vertical):
    """The row that is being edited, with what is wrong with the text right below; hidden until then.

    It knows nothing of settings: it posts what is typed, and the form calls `show_problem`.
    """

    DEFAULT_CSS = """
    FieldEditor { height: auto; }
    FieldEditor Horizontal { height: 1; }
    FieldEditor #editor-label { color: $text-accent; }
    FieldEditor Input { width: 1fr; background: $boost; }
    FieldEditor #editor-problem { height: auto; padding: 0 1 0 2; color: $text-error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "leave the field"),
        Binding("up", "submit(-1)", "accept, and up", show=False),
        Binding("down", "submit(1)", "accept, and down", show=False),
    ]

    @dataclasses.dataclass
    class Typed(Message):
        """The text has changed."""

        text: str

    @dataclasses.dataclass
    class Submitted(Message):
        """The text is to be accepted, and the cursor to move by so many rows."""

        text: str
        by: int

    class Cancelled(Message):
        """The text is to be dropped."""

    @dataclasses.dataclass
    class Left(Message):
        """The focus went elsewhere."""

        text: str

    def __init__(self) -> None:
        super().__init__()
        self._label = Static(id="editor-label")
        self._input = FieldInput(id="editor-input", compact=True, select_on_focus=True)
        self._problem = Static(id="editor-problem")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._label
            yield self._input
        yield self._problem

    def on_mount(self) -> None:
        self.display = False

    def open(self, label: str, text: str, width: int) -> None:
        """Show the editor and focus it; `width` cells are for the label."""
        self._label.styles.width = width
        self._label.update(Content(" " + label))
        with self._input.prevent(Input.Changed):
            self._input.value = text
        self.show_problem("")
        self.display = True
        self._input.focus()

    def close(self) -> None:
        """Hide the editor."""
        self.display = False

    def show_problem(self, problem: str) -> None:
        """What is wrong with the text; empty when nothing is."""
        self._problem.update(Content(problem))
        self._problem.display = bool(problem)

    def action_cancel(self) -> None:
        self.post_message(self.Cancelled())

    def action_submit(self, by: int) -> None:
        self.post_message(self.Submitted(self._input.value, by))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    @on(Input.Submitted)
    def _input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_submit(0)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if self.display:
            self.call_after_refresh(self._post_left)  # once the focus has settled elsewhere

    def _post_left(self) -> None:
        if self.display and not self._input.has_focus:
            self.post_message(self.Left(self._input.value))
