"""Options as compact steppers, such as `layer ‹ 1 ›  head ‹ 2 ›`: changed with keys, with a click on an arrow, or by typing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from dlplay.engine.settings import Field, Options, SettingsError, fields, parse, show
from dlplay.screen.dialogs.pad import PadDialog, drawing_summary
from dlplay.screen.flow import Flow, Group, Piece
from dlplay.screen.line_input import LineInput

STEPPING: tuple[Binding, ...] = (
    Binding("left_square_bracket", "step(-1)", "change option", key_display="[ ]"),
    Binding("right_square_bracket", "step(1)", "change option", show=False, key_display="[ ]"),
    Binding("left_curly_bracket", "mark(-1)", "select option", key_display="{ }"),
    Binding("right_curly_bracket", "mark(1)", "select option", show=False, key_display="{ }"),
    Binding("e", "edit", "edit option", key_display="e"),
)
"""Keys for a widget that holds a bar: it needs `action_step`, `action_mark` and `action_edit`. They act on the marked option."""
GAP_PIECE = Piece(" ", "flow--quiet")
AUTO = "auto"
"""In place of an empty text: something is chosen for it."""
ROOM_TO_TYPE = 30
"""Cells that a text such as the address of a module needs."""
MAX_VALUE = 24
"""Cells that a value may take before it is cut."""


class OptionsBar(Flow):
    """The title of a panel or a stage, with its options behind."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")

    @dataclasses.dataclass
    class Changed(Message):
        """An option was changed by a person."""

        name: str
        value: Any
        before: Any

    @dataclasses.dataclass
    class Refused(Message):
        """A value was typed that the option cannot take."""

        why: str

    def __init__(self, fields: Sequence[Field] = (), title: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(title, id=id, classes=classes)
        self.fields = tuple(fields)
        self.marked = 0
        """Position of the option that the keys change."""
        self._values: dict[str, Any] = {}
        self._back_to: Any = None
        self._draw()

    @property
    def values(self) -> dict[str, Any]:
        """Every option's value by name; one that was not set has its default."""
        return {field.name: self._values.get(field.name, field.default) for field in self.fields}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these values; those of options that are not in this bar are ignored."""
        known = {field.name for field in self.fields}
        self._values |= {name: value for name, value in values.items() if name in known}
        self._draw()

    def step(self, position: int, by: int) -> None:
        """Change the option at `position` by one step up or down; choices wrap around. A text has no steps and is typed."""
        if not 0 <= position < len(self.fields):
            return
        field = self.fields[position]
        if _is_typed(field):
            self.edit(position)
            return
        before = self.values[field.name]
        self._set(field, stepped(field, before, by), before)

    def mark(self, by: int) -> None:
        """Mark the next option, or the one before, as the one that the keys change."""
        if self.fields:
            self.marked = (self.marked + by) % len(self.fields)
            self._draw()

    def mark_title(self, focused: bool) -> None:
        super().mark_title(focused)
        self._draw()

    def edit(self, position: int = 0) -> None:
        """Open a field to type the value of the option at `position`, or a pad to draw it."""
        if not self.fields:
            return
        field = self.fields[position % len(self.fields)]
        if field.pad is not None:
            self._draw_option(field, field.pad)
            return
        place = self.place(field.name)
        if place is None:
            return
        if self._back_to is None:
            self._back_to = self.screen.focused
        editor = _Editor(field, self.values[field.name])
        width = max(8, min(MAX_VALUE, len(show(self.values[field.name])) + 4))
        left, top = place
        if _is_typed(field):  # a text has the rest of the line, or all of it where that is little
            left = left if self.size.width - left >= ROOM_TO_TYPE else 0
            width = self.size.width
        editor.styles.offset = left, top
        editor.styles.width = max(4, min(width, self.size.width - left))
        self.mount(editor)
        editor.focus()

    def _draw_option(self, field: Field, size: tuple[int, int]) -> None:
        """Open a pad for an option that is a drawing; an empty pad removes the drawing."""
        before = show(self.values[field.name])

        def accept(drawing: str | None) -> None:
            if drawing is not None:
                self._set(field, drawing if drawing.strip("0/") else "", before)

        self.app.push_screen(PadDialog(f"Draw: {label(field)}", before, size), accept)

    def _set(self, field: Field, value: Any, before: Any) -> None:
        if value == before:
            return
        self._values[field.name] = value
        self._draw()
        self.post_message(self.Changed(field.name, value, before))

    def _draw(self) -> None:
        self.show([self._group(field, self.values[field.name]) for field in self.fields])

    def _group(self, field: Field, value: Any) -> Group:
        marked = self.focused_title and len(self.fields) > 1 and self.fields[self.marked % len(self.fields)] is field
        name = Piece(label(field), "flow--marked" if marked else "flow--quiet")
        text = field.shown(value).replace("\n", " ")
        if field.pad is not None:
            return name, GAP_PIECE, Piece(drawing_summary(text, field.pad) if text else "draw one", "flow--strong", field.name)
        text = text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
        if _is_typed(field):
            return name, GAP_PIECE, Piece(text or AUTO, "flow--strong", field.name)
        text = text.rjust(_value_width(field))
        return (
            name,
            GAP_PIECE,
            Piece("‹ ", "flow--arrow", field.name + "-"),
            Piece(text, "flow--strong", field.name),
            Piece(" ›", "flow--arrow", field.name + "+"),
        )

    def on_flow_pressed(self, event: Flow.Pressed) -> None:
        if event.flow is not self:
            return
        event.stop()
        name = event.target.rstrip("+-")
        position = next(i for i, field in enumerate(self.fields) if field.name == name)
        if event.target != name:
            self.step(position, 1 if event.target.endswith("+") else -1)
        elif self.fields[position].kind == "bool" or self.fields[position].choices:
            self.step(position, 1)
        else:
            self.edit(position)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._step_hovered(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._step_hovered(event, -1)

    def _step_hovered(self, event: events.MouseEvent, by: int) -> None:
        name = self._hover.rstrip("+-")
        position = next((i for i, field in enumerate(self.fields) if field.name == name), None)
        if position is not None and not _is_typed(self.fields[position]):
            event.stop()
            self.step(position, by)

    # --- typing a value -----------------------------------------------------------------------------------------------------------

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._accept(event.input):
            self._close(event.input)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()

    def on_key(self, event: events.Key) -> None:
        """While a value is typed: escape cancels, tab goes on to the next option."""
        editor = self.screen.focused
        if not isinstance(editor, _Editor) or editor.parent is not self:
            return
        if event.key == "escape":
            event.stop()
            self._close(editor)
        elif event.key in ("tab", "shift+tab"):
            event.stop()
            event.prevent_default()
            if self._accept(editor):
                position = self.fields.index(editor.field) + (1 if event.key == "tab" else -1)
                editor.remove()
                self.call_after_refresh(self.edit, position)

    def _accept(self, editor: Input) -> bool:
        assert isinstance(editor, _Editor)
        try:
            value = parse(editor.field, editor.value)
        except SettingsError as error:
            self.post_message(self.Refused(str(error).removeprefix("--")))
            return False
        self._set(editor.field, value, self.values[editor.field.name])
        return True

    def _close(self, editor: Input) -> None:
        back_to, self._back_to = self._back_to, None
        editor.remove()
        if back_to is not None and back_to.is_attached:
            back_to.focus()


class _Editor(LineInput):
    """The field in which a value is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "apply", key_display="enter")]

    def __init__(self, field: Field, value: Any) -> None:
        super().__init__(show(value), compact=True, select_on_focus=True, max_length=200, placeholder=field.doc if _is_typed(field) else "")
        self.field = field


def filter_options(options: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` whose names are options of this type."""
    names = {field.name for field in fields(options)}
    return {name: value for name, value in values.items() if name in names}


def question(options: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a panel with these options is asked: those of `values` that it takes, and the interventions, which any panel takes."""
    return filter_options(options, values) | ({"do": values["do"]} if values.get("do") else {})


def label(field: Field) -> str:
    """An option's name as it is shown."""
    return field.label


def _is_typed(field: Field) -> bool:
    """Whether any text is a value of it."""
    return field.kind == "text" and not field.choices


def stepped(field: Field, value: Any, by: int) -> Any:
    """The value one step further, kept within the bounds; choices and switches wrap around."""
    if field.kind == "bool":
        return not value
    if field.choices:
        position = field.choices.index(value) if value in field.choices else -1 if by > 0 else 0
        return field.choices[(position + by) % len(field.choices)]
    if field.kind == "int":
        return _bounded(field, value + by, 1)
    if field.kind == "float":
        step = float_step(field)
        further = round(round(value / step) + by) * step
        return float(f"{_bounded(field, further, step):.10g}")
    return value


def float_step(field: Field) -> float:
    """The step of a number: a round one, about a twentieth of the range."""
    span = (field.high if field.high is not None else 10 * max(abs(field.default), 0.1)) - (field.low or 0.0)
    rough = min(span, 4.0) / 20 if span > 0 else 0.1
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * round_ for round_ in (1, 2, 5, 10) if power * round_ >= rough * 0.999)


def _bounded(field: Field, value: Any, step: Any) -> Any:
    if field.low is not None:
        value = max(value, field.low + (step if field.open_low else 0))
    if field.high is not None:
        value = min(value, field.high - (step if field.open_high else 0))
    return value


def _value_width(field: Field) -> int:
    """Cells reserved for the value, so that the line does not move while it is stepped."""
    if field.choices:
        return min(MAX_VALUE, max(len(choice) for choice in field.choices))
    if field.kind == "bool":
        return 5
    if field.kind == "float":
        return len(f"{float_step(field):g}")
    return max(len(field.least), len(show(field.high)) if field.high is not None and field.high < 1000 else 3)
