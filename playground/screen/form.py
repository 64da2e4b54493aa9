"""The settings form, made from an architecture's Settings type: one row a setting, one editor that opens in the row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Meta
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from dlplay.engine import settings as typed
from dlplay.engine.card import Card
from dlplay.engine.settings import Field, SettingsError
from dlplay.screen.dialogs.pad import PadDialog, in_short
from dlplay.screen.field_editor import FieldEditor
from dlplay.screen.field_rows import PRESET, FieldRows, Row, label_width
from dlplay.widgets.surface import out_of_sight


class FieldScroll(VerticalScroll, inherit_bindings=False):
    """Holds the rows; has the focus while nothing is edited."""

    can_focus = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.tell()

    def on_resize(self) -> None:
        self.tell()
        if isinstance(self.parent, SettingsForm):
            self.parent.keep_in_view()

    def tell(self) -> None:
        """Say how much is out of sight."""
        if isinstance(self.parent, SettingsForm):
            self.parent.draw_more()


class SettingsForm(Vertical):
    """Every setting with its value and unit; the row under the cursor says what it does and what it may be.

    `values` are checked values by name. While a run goes on, `running` holds the settings in force: a live setting that is changed takes
    effect at once (`Changed.live`), another one is marked as waiting for a reset.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()
    BORDER_TITLE = "Settings"
    BINDINGS = [
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("pageup", "move(-10)", "page up", show=False),
        Binding("pagedown", "move(10)", "page down", show=False),
        Binding("home", "move(-1000)", "first", show=False),
        Binding("end", "move(1000)", "last", show=False),
        Binding("enter", "edit", "change", key_display="enter"),
        Binding("left", "cycle(-1)", "choose", key_display="←→"),
        Binding("right", "cycle(1)", "next choice", show=False),
        Binding("backspace,delete", "default", "default", key_display="⌫"),
    ]

    @dataclasses.dataclass
    class Changed(Message):
        """A setting was given another value (checked). `live`: it takes effect in the run that goes on."""

        form: SettingsForm
        name: str
        value: Any
        live: bool

        @property
        def control(self) -> SettingsForm:
            """The form, for `@on` selectors."""
            return self.form

    def __init__(self, card: Card, values: Mapping[str, Any] | None = None, preset: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.card = card
        self.fields = {field.name: field for field in typed.fields(card.settings)}
        self.values: dict[str, Any] = {name: field.default for name, field in self.fields.items()}
        self.values |= typed.make(card.settings, values or {}, lenient=True).__dict__
        self.preset = preset or self._recognised()
        self.running: dict[str, Any] | None = None
        self.cursor = 0
        self.problem = ""
        self.editing = False
        self._title = Static(id="form-title")
        self._scroll = FieldScroll(id="form-scroll")
        label = label_width([PRESET, *self.fields])
        self._above, self._below = FieldRows(label, id="rows-above"), FieldRows(label, id="rows-below")
        self._editor = FieldEditor(label)
        self._more = Static(id="form-more")
        self._words = Static(id="form-words")

    @property
    def settings(self) -> typed.Settings:
        """The form's settings. Raises `SettingsError` when they do not fit together."""
        return typed.make(self.card.settings, self.values)

    @property
    def waiting(self) -> list[str]:
        """Names of the settings that differ from those in force."""
        if self.running is None:
            return []
        return [name for name, value in self.values.items() if name in self.running and typed.show(value) != typed.show(self.running[name])]

    # --- building -----------------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Title, rows with the editor among them, words."""
        yield self._title
        with self._scroll:
            yield self._above
            yield self._editor
            yield self._below
        yield self._more
        yield self._words

    def on_mount(self) -> None:
        """Show the values."""
        self.draw()

    def rows(self) -> list[Row]:
        """What is to be seen: the preset first, then every field."""
        waiting = set(self.waiting)
        found = [Row(PRESET, self.preset or "none", "", bool(self.card.presets), bool(self.preset), "")]
        for name, field in self.fields.items():
            note = "" if name not in waiting else "next step" if field.live else "on reset"
            shown = typed.show(self.values[name]) or "–"
            if field.pad is not None:
                shown = in_short(shown, field.pad)
            found.append(Row(name.replace("_", " "), shown, field.unit, bool(_choices(field)), self.values[name] != field.default, note))
        return found

    def draw(self) -> None:
        """Show what has changed."""
        if not self.children:
            return
        rows = self.rows()
        split = self.cursor if self.editing else len(rows)
        focused = self.has_focus_within
        self._above.show(rows[:split], 0, self.cursor if focused and not self.editing else None)
        self._below.show(rows[split + 1 :], split + 1, None)
        waits = sum(not self.fields[name].live for name in self.waiting)
        title = Content.assemble("Settings", ("   " + f"{waits} on reset", "$text-warning not bold") if waits else "")
        self._title.update(title)
        self._words.update(self.words())

    def draw_more(self) -> None:
        """How many settings are out of sight, where some are."""
        total, height = len(self.fields) + 1, self._scroll.size.height
        above = round(self._scroll.scroll_y)
        below = total - above - height
        self._more.display = total > height + (1 if self._more.display else 0)
        self._more.update(out_of_sight(above, below))

    def words(self) -> Content:
        """What the row under the cursor means, and what it may be."""
        name = self._here()
        if name == PRESET:
            preset = self.card.presets.get(self.preset)
            choose = "known-good settings; ← → choose" if self.card.presets else "this architecture has no presets"
            return Content(preset.why if preset else choose)
        field = self.fields[name]
        if self.problem and not self.editing:
            return Content.styled(self.problem, "$text-error")
        when = "takes effect at the next step" if field.live else "takes effect on reset"
        facts = [field.bounds, f"default {typed.show(field.default) or 'empty'}", when]
        return Content.assemble(field.doc, " ", ("; ".join(fact for fact in facts if fact), "$foreground 40%"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a row is edited its keys belong to the editor."""
        return not (self.editing and action in ("move", "edit", "cycle", "default"))

    # --- moving and changing ------------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """The cursor up or down."""
        self.problem = ""
        self.cursor = min(max(self.cursor + by, 0), len(self.fields))
        self.draw()
        self.keep_in_view()

    def action_edit(self) -> None:
        """Type a value, or take the next choice."""
        name = self._here()
        if name == PRESET:
            return self.action_cycle(1)
        field = self.fields[name]
        if _closed(field):
            return self.action_cycle(1)
        if field.pad is not None:
            self._draw_setting(name, field.pad)
            return None
        self.editing = True
        self.problem = ""
        self._editor.open(name.replace("_", " "), typed.show(self.values[name]))
        self.draw()
        self.keep_in_view()
        return None

    def _draw_setting(self, name: str, size: tuple[int, int]) -> None:
        """Open a pad on a setting that is a drawing."""

        def take(drawing: str | None) -> None:
            if drawing is not None:
                self.put(name, drawing)

        self.app.push_screen(PadDialog(f"Draw: {name.replace('_', ' ')}", typed.show(self.values[name]), size), take)

    def action_cycle(self, by: int) -> None:
        """The next choice, or the one before."""
        name = self._here()
        if name == PRESET:
            names = ["", *self.card.presets]
            self.choose_preset(names[(names.index(self.preset) + by) % len(names) if self.preset in names else 0])
            return
        choices = _choices(self.fields[name])
        if not choices:
            return
        shown = typed.show(self.values[name])
        at = choices.index(shown) if shown in choices else (-1 if by > 0 else 0)
        self.put(name, choices[(at + by) % len(choices)])

    def action_default(self) -> None:
        """The row back to its default."""
        name = self._here()
        if name == PRESET:
            self.choose_preset("")
        else:
            self.put(name, self.fields[name].default)

    def all_defaults(self) -> None:
        """Every row back to its default."""
        self.choose_preset("")

    def choose_preset(self, name: str) -> None:
        """Every setting as the preset has it; '' for the defaults."""
        self.preset = name
        chosen = self.card.presets[name].values if name else {}
        for field_name, field in self.fields.items():
            value = typed.parse(field, chosen[field_name]) if field_name in chosen else field.default
            if value != self.values[field_name]:
                self._set(field, value)
        self.problem = ""
        self.draw()

    def put(self, name: str, value: Any) -> bool:
        """Set one field to a value or typed text; False, with the problem in words, when it cannot be."""
        try:
            parsed = self._parsed(name, value)
        except SettingsError as error:
            self.problem = str(error)
            self.draw()
            return False
        self.problem = ""
        if parsed != self.values[name]:
            self._set(self.fields[name], parsed)
        self.draw()
        return True

    def _parsed(self, name: str, value: Any) -> Any:
        """The value, checked by itself and together with the others. Raises `SettingsError`."""
        parsed = typed.parse(self.fields[name], value)
        typed.make(self.card.settings, self.values | {name: parsed})
        return parsed

    def show_running(self, running: Mapping[str, Any] | None) -> None:
        """The settings in force in the run, None without one."""
        if running != self.running:
            self.running = None if running is None else dict(running)
            self.draw()

    def adopt(self, values: Mapping[str, Any]) -> None:
        """Show other settings, such as those of a run that was attached to; nothing is sent."""
        settings = typed.make(self.card.settings, values, lenient=True)
        self.values |= settings.__dict__
        self.preset = self._recognised()
        self.draw()

    def _recognised(self) -> str:
        """The preset that the model's settings are those of, whatever the seed and the device; '' for none, and for the defaults."""
        for name, preset in self.card.presets.items():
            wanted = typed.make(self.card.settings, preset.values).__dict__
            told = {field for field in self.fields if field not in typed.COMMON or field in preset.values}
            if preset.values and all(self.values[field] == wanted[field] for field in told):
                return name
        return ""

    def _set(self, field: Field, value: Any) -> None:
        self.values[field.name] = value
        self.post_message(self.Changed(self, field.name, value, field.live))

    # --- the editor ---------------------------------------------------------------------------------------------------------------

    @on(FieldEditor.Typed)
    def _typed(self, event: FieldEditor.Typed) -> None:
        event.stop()
        self.problem = warning = ""
        try:
            warning = typed.missing(self.fields[self._here()], self._parsed(self._here(), event.text))
        except SettingsError as error:
            self.problem = str(error)
        self._editor.say(self.problem or warning)

    @on(FieldEditor.Entered)
    def _entered(self, event: FieldEditor.Entered) -> None:
        event.stop()
        if not self.editing:
            return
        if self.put(self._here(), event.text):
            self.close_editor()
            if event.by:
                self.action_move(event.by)
        else:
            self._editor.say(self.problem)

    @on(FieldEditor.Dropped)
    def close_editor(self) -> None:
        """Leave the row; what was typed and not entered is dropped."""
        if not self.editing:
            return
        self.editing = False
        self.problem = ""
        self._editor.close()
        self._scroll.focus()
        self.draw()

    @on(FieldEditor.Left)
    def _left(self, event: FieldEditor.Left) -> None:
        """The focus went elsewhere: a value that can be used is taken, another one is dropped."""
        event.stop()
        if self.editing:
            focused = self.screen.focused
            self.put(self._here(), event.text)
            self.close_editor()
            self.screen.set_focus(focused)

    @on(FieldRows.Clicked)
    def _clicked(self, event: FieldRows.Clicked) -> None:
        event.stop()
        self.close_editor()
        self._scroll.focus()
        self.cursor = event.row
        self.problem = ""
        self.draw()
        if event.arrow:
            self.action_cycle(event.arrow)
        elif event.on_value:
            self.action_edit()

    def on_descendant_focus(self) -> None:
        """Title and cursor say where the focus is."""
        self.add_class("-focused")
        self.draw()

    def on_descendant_blur(self) -> None:
        """The focus has left."""
        self.remove_class("-focused")
        self.draw()

    def keep_in_view(self) -> None:
        """Scroll to the row under the cursor where it is out of sight, as after the form had the whole window."""
        self.call_after_refresh(self._scroll_to_cursor)

    def _scroll_to_cursor(self) -> None:
        scroll = self._scroll
        top, height = round(scroll.scroll_y), scroll.size.height
        last = self.cursor + (1 if self.editing else 0)
        if self.cursor < top or last >= top + height:
            scroll.scroll_to(y=self.cursor if self.cursor < top else last - height + 1, animate=False)

    def _here(self) -> str:
        return PRESET if self.cursor == 0 else list(self.fields)[self.cursor - 1]


def _choices(field: Field) -> list[str]:
    if field.kind == "bool":
        return ["false", "true"]
    return list(field.choices)


def _closed(field: Field) -> bool:
    """True when nothing but the choices can be a value."""
    patterns = [meta.pattern for meta in getattr(field.annotation, "__metadata__", ()) if isinstance(meta, Meta) and meta.pattern]
    return field.kind == "bool" or bool(field.choices and not field.path and not patterns)
