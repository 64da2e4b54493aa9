"""The settings form, made from an architecture's Settings type: one row per setting, and one editor that opens in the row.

Folded it shows what differs from the defaults alone, and the settings of `USUAL`."""

from __future__ import annotations

import dataclasses
import itertools
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
from dlplay.screen.dialogs.pad import PadDialog, drawing_summary
from dlplay.screen.form import groups
from dlplay.screen.form.rows import PRESET, FieldEditor, FieldRows, Row, label_width
from dlplay.widgets.drawing.rows import out_of_sight

USUAL = ("lr", "steps")
"""Settings that are shown in a folded form too: those that a person changes first."""


class FieldScroll(VerticalScroll, inherit_bindings=False):
    """Holds the rows, and has the focus while nothing is edited."""

    can_focus = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if isinstance(self.parent, SettingsForm):
            self.parent.draw_more()

    def on_resize(self) -> None:
        if isinstance(self.parent, SettingsForm):
            self.parent.draw_more()
            self.parent.keep_in_view()


class SettingsForm(Vertical):
    """Every setting with its value and unit, under its group's heading; a text below explains the row under the cursor.

    `values` are checked values by name. During a run, `running` holds the settings in force: a change to a live setting takes effect at
    the next step (`Changed.live`), any other change is marked as pending until a reset, and so is every setting of a preset that is chosen
    meanwhile: it is for the next run.
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
        Binding("left", "cycle(-1)", "choose", key_display="arrows"),
        Binding("right", "cycle(1)", "next choice", show=False),
        Binding("backspace,delete", "default", "default", key_display="⌫"),
    ]

    class Unfold(Message):
        """Its one line was clicked: every setting is to be shown."""

    @dataclasses.dataclass
    class Changed(Message):
        """A setting was given another value (checked). `live`: it takes effect in the present run."""

        name: str
        value: Any
        live: bool

    def __init__(self, card: Card, values: Mapping[str, Any] | None = None, preset: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.card = card
        self.fields = {field.name: field for field in typed.fields(card.settings)}
        self.values: dict[str, Any] = {name: field.default for name, field in self.fields.items()}
        self.values |= typed.make(card.settings, values or {}, lenient=True).__dict__
        self.preset = preset or self._matching_preset()
        self.running: dict[str, Any] | None = None
        self._for_the_next: set[str] = set()
        """The settings that a preset has changed during a run; they count while they differ from the run's."""
        self.folded = False
        self.in_a_line = False
        """Folded to one line: what a folded form shows, one behind the other."""
        self.cursor = 0
        """Position of a row among `lines`."""
        self.problem = ""
        self.editing = False
        self._title = Static(id="form-title")
        self._scroll = FieldScroll(id="form-scroll")
        self._above, self._below = FieldRows(id="rows-above"), FieldRows(id="rows-below")
        self._editor = FieldEditor()
        self._more = Static(id="form-more")
        self._help = Static(id="form-help")

    @property
    def settings(self) -> typed.Settings:
        """The form's settings. Raises `SettingsError` when they do not fit together."""
        return typed.make(self.card.settings, self.values)

    @property
    def unused(self) -> dict[str, str]:
        """The settings that change nothing as the others are, each with what it is for."""
        return self.card.settings(**self.values).unused()

    @property
    def applying(self) -> list[str]:
        """The settings in the order of their groups, without those that are unused and have their default."""
        unused = self.unused
        return [name for name in groups.grouped(self.fields) if name not in unused or self.values[name] != self.fields[name].default]

    @property
    def pending(self) -> list[str]:
        """Names of the settings that differ from those in force."""
        return [name for name in self.values if self._differs(name)]

    def _differs(self, name: str) -> bool:
        running = self.running
        return running is not None and name in running and typed.show(self.values[name]) != typed.show(running[name])

    def live(self, name: str) -> bool:
        """Whether the value that a setting has now takes effect in the present run."""
        return self.fields[name].live and not self.for_the_next(name)

    def for_the_next(self, name: str) -> bool:
        """Whether a setting's value is that of a preset which was chosen during the run, and not the run's own."""
        return name in self._for_the_next and self._differs(name)

    # --- building -----------------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self._title
        with self._scroll:
            yield self._above
            yield self._editor
            yield self._below
        yield self._more
        yield self._help

    def on_mount(self) -> None:
        self.draw()

    @property
    def lines(self) -> list[str]:
        """What stands in each row: the preset, a setting, or for the heading of a group an empty name."""
        shown = self.applying
        if self.folded:
            changed = [name for name in shown if self.values[name] != self.fields[name].default or name in self.pending]
            return [PRESET, *(name for name in shown if name in changed or name in USUAL)]
        found = [PRESET]
        for _, names in itertools.groupby(shown, groups.group):
            found += ["", *names]
        return found

    def fold(self, folded: bool, in_a_line: bool = False) -> None:
        """Show what differs from the defaults alone, all of it `in_a_line` where rows are scarce, or every setting."""
        if (folded, in_a_line) != (self.folded, self.in_a_line):
            at = self._under_cursor()
            self.close_editor()
            self.folded, self.in_a_line = folded, in_a_line
            self.set_class(folded, "-folded")
            self.set_class(in_a_line, "-line")
            self.go_to(at)
            self.draw_more()

    def go_to(self, name: str) -> None:
        """Put the cursor on a setting, or on the preset; on the preset too where the setting is not shown."""
        lines = self.lines
        self.cursor = lines.index(name) if name in lines else 0
        self.draw()
        self.keep_in_view()

    def rows(self) -> list[Row]:
        """The preset, then every field that is shown, with the headings of their groups."""
        pending, unused = set(self.pending), self.unused
        found = [Row(PRESET, self.preset or "none", "", bool(self.card.presets), bool(self.preset), "")]
        lines = self.lines
        for name, following in zip(lines[1:], [*lines[2:], ""], strict=True):
            if not name:
                found.append(Row(groups.group(following), "", "", False, False, "", heading=True))
                continue
            field = self.fields[name]
            note = "no effect" if name in unused else "" if name not in pending else "next step" if self.live(name) else "on reset"
            shown = field.shown(self.values[name]) or "–"
            if field.pad is not None:
                shown = drawing_summary(shown, field.pad)
            unit = "" if shown == field.least or field.unit == field.label else field.unit
            found.append(Row(field.label, shown, unit, bool(_choices(field)), self.values[name] != field.default, note))
        return found

    def draw(self) -> None:
        """Show the rows, the title and the help as they are now."""
        if not self.children:
            return
        rows = self.rows()
        self.cursor = min(self.cursor, len(rows) - 1)  # a folded form loses the row of a setting that has its default again
        split = self.cursor if self.editing else len(rows)
        focused = self.has_focus_within
        label = label_width(row.label for row in rows)
        self._above.show(rows[:split], 0, self.cursor if focused and not self.editing else None, label)
        self._below.show(rows[split + 1 :], split + 1, None, label)
        on_reset = sum(not self.live(name) for name in self.pending)
        hint = f"{on_reset} on reset" if on_reset else f"F2 all ({len(self.applying)})" if self.folded else ""
        title = Content.assemble("Settings", ("  " + hint, "$text-warning not bold" if on_reset else "$text-muted not bold"))
        if self.in_a_line:
            shown = [
                (f"  {row.label} {row.value}{' ' * bool(row.unit)}{row.unit}", "not bold" if row.changed else "$text-muted not bold")
                for row in sorted(rows, key=lambda row: not row.changed)
            ]
            title = Content.assemble(title, *shown)
        self._title.update(title)
        self._help.update(self.help())

    def draw_more(self) -> None:
        """Show how many settings are out of sight, if any are."""
        total, height = len(self.lines), self._scroll.size.height
        above = round(self._scroll.scroll_y)
        below = total - above - height
        self._more.display = not self.in_a_line and total > height + (1 if self._more.display else 0)
        self._more.update(out_of_sight(above, below))

    def help(self) -> Content:
        """What the setting under the cursor means, and which values it takes."""
        name = self._under_cursor()
        if name == PRESET:
            preset = self.card.presets.get(self.preset)
            choose = "presets: arrows choose" if self.card.presets else "this architecture has no presets"
            return Content(preset.why if preset else choose)
        field = self.fields[name]
        if self.problem and not self.editing:
            return Content.styled(self.problem, "$text-error")
        when = "takes effect at the next step" if self.live(name) else "takes effect on reset"
        if use := self.unused.get(name):
            when = f"no effect here: it is for {use}"
        facts = [field.bounds, f"default {typed.show(field.default) or 'empty'}", when]
        return Content.assemble(field.doc, " ", ("; ".join(fact for fact in facts if fact), "$text-muted"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a row is edited, these keys belong to the editor."""
        return not (self.editing and action in ("move", "edit", "cycle", "default"))

    # --- moving and changing ------------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        self.problem = ""
        lines = self.lines
        at = min(max(self.cursor + by, 0), len(lines) - 1)
        while not lines[at]:
            at += 1 if by > 0 else -1  # over the heading of a group; the first row and the last are none
        self.cursor = at
        self.draw()
        self.keep_in_view()

    def action_edit(self) -> None:
        name = self._under_cursor()
        if name == PRESET:
            return self.action_cycle(1)
        field = self.fields[name]
        if _choices_only(field):
            return self.action_cycle(1)
        if field.pad is not None:
            self._draw_setting(name, field.pad)
            return None
        self.editing = True
        self.problem = ""
        self._editor.open(field.label, typed.show(self.values[name]), label_width(row.label for row in self.rows()))
        self.draw()
        self.keep_in_view()
        return None

    def _draw_setting(self, name: str, size: tuple[int, int]) -> None:
        """Open a pad for a setting that is a drawing."""

        def accept(drawing: str | None) -> None:
            if drawing is not None:
                self.put(name, drawing)

        self.app.push_screen(PadDialog(f"Draw: {name.replace('_', ' ')}", typed.show(self.values[name]), size), accept)

    def action_cycle(self, by: int) -> None:
        name = self._under_cursor()
        if name == PRESET:
            names = ["", *self.card.presets]
            self.choose_preset(names[(names.index(self.preset) + by) % len(names) if self.preset in names else 0])
            return
        choices = _choices(self.fields[name])
        if not choices:
            return
        shown = typed.show(self.values[name])
        position = choices.index(shown) if shown in choices else (-1 if by > 0 else 0)
        self.put(name, choices[(position + by) % len(choices)])

    def action_default(self) -> None:
        name = self._under_cursor()
        if name == PRESET:
            self.choose_preset("")
        else:
            self.put(name, self.fields[name].default)

    def all_defaults(self) -> None:
        """Reset every setting to its default."""
        self.choose_preset("")

    def choose_preset(self, name: str) -> None:
        """Set every setting as the preset does; '' for the defaults. A run that is there goes on as it is."""
        at, self.preset = self._under_cursor(), name
        chosen = self.card.presets[name].values if name else {}
        for field_name, field in self.fields.items():
            value = typed.parse(field, chosen[field_name]) if field_name in chosen else field.default
            if value != self.values[field_name]:
                self._set(field, value, for_the_next=self.running is not None)
        self.problem = ""
        self._return_to(at)
        self.draw()

    def put(self, name: str, value: Any) -> bool:
        """Set one field to a value or typed text. False when it is refused; `problem` then says why."""
        try:
            parsed = self._parsed(name, value)
        except SettingsError as error:
            self.problem = str(error)
            self.draw()
            return False
        self.problem = ""
        at = self._under_cursor()
        if parsed != self.values[name] or self.for_the_next(name):
            self._set(self.fields[name], parsed)
            self._return_to(at)
        self.draw()
        return True

    def _parsed(self, name: str, value: Any) -> Any:
        """The value, checked on its own and together with the others. Raises `SettingsError`."""
        parsed = typed.parse(self.fields[name], value)
        typed.make(self.card.settings, self.values | {name: parsed})
        return parsed

    def show_running(self, running: Mapping[str, Any] | None) -> None:
        """Compare with these settings, which are in force in the run; None without a run."""
        if running != self.running:
            self.running = None if running is None else dict(running)
            self.draw()

    def adopt(self, values: Mapping[str, Any]) -> None:
        """Show other settings, such as those of a run that was attached to, without posting `Changed`. Those that import code are left to
        the person."""
        settings = typed.make(self.card.settings, values, lenient=True)
        at = self._under_cursor()
        self.values |= typed.without_code(self.card.settings, settings.__dict__)
        self._for_the_next.clear()
        self.preset = self._matching_preset()
        self._return_to(at)
        self.draw()

    def _matching_preset(self) -> str:
        """The preset with these values, whatever the seed and the device; '' for none, and for the defaults."""
        for name, preset in self.card.presets.items():
            wanted = typed.make(self.card.settings, preset.values).__dict__
            compared = {field for field in self.fields if field not in typed.COMMON or field in preset.values}
            if preset.values and all(self.values[field] == wanted[field] for field in compared):
                return name
        return ""

    def _set(self, field: Field, value: Any, for_the_next: bool = False) -> None:
        self.values[field.name] = value
        (self._for_the_next.add if for_the_next else self._for_the_next.discard)(field.name)
        self.post_message(self.Changed(field.name, value, self.live(field.name)))

    # --- the editor ---------------------------------------------------------------------------------------------------------------

    @on(FieldEditor.Typed)
    def _typed(self, event: FieldEditor.Typed) -> None:
        event.stop()
        self.problem = warning = ""
        try:
            warning = typed.missing(self.fields[self._under_cursor()], self._parsed(self._under_cursor(), event.text))
        except SettingsError as error:
            self.problem = str(error)
        self._editor.show_problem(self.problem or warning)
        self.keep_in_view()  # it may take several lines

    @on(FieldEditor.Submitted)
    def _submitted(self, event: FieldEditor.Submitted) -> None:
        event.stop()
        if not self.editing:
            return
        if self.put(self._under_cursor(), event.text):
            self.close_editor()
            if event.by:
                self.action_move(event.by)
        else:
            self._editor.show_problem(self.problem)

    @on(FieldEditor.Cancelled)
    def close_editor(self) -> None:
        """Stop editing; text that was not accepted is dropped."""
        if not self.editing:
            return
        self.editing = False
        self.problem = ""
        self._editor.close()
        self._scroll.focus()
        self.draw()

    @on(FieldEditor.Left)
    def _left(self, event: FieldEditor.Left) -> None:
        """The focus went elsewhere: a valid value is accepted, an invalid one is dropped."""
        event.stop()
        if self.editing:
            focused = self.screen.focused
            self.put(self._under_cursor(), event.text)
            self.close_editor()
            self.screen.set_focus(focused)

    def on_click(self) -> None:
        if self.in_a_line:
            self.post_message(self.Unfold())

    @on(FieldRows.Clicked)
    def _clicked(self, event: FieldRows.Clicked) -> None:
        event.stop()
        self.close_editor()
        self._scroll.focus()
        if not self.lines[min(event.row, len(self.lines) - 1)]:
            return
        self.cursor = min(event.row, len(self.lines) - 1)
        self.problem = ""
        self.draw()
        if event.arrow:
            self.action_cycle(event.arrow)
        elif event.on_value:
            self.action_edit()

    def on_descendant_focus(self) -> None:
        self.add_class("-focused")
        self.draw()

    def on_descendant_blur(self) -> None:
        self.remove_class("-focused")
        self.draw()

    def keep_in_view(self) -> None:
        """Scroll to the row under the cursor if it is out of sight, as after the form was maximised."""
        self.call_after_refresh(self._scroll_to_cursor)

    def _scroll_to_cursor(self) -> None:
        scroll = self._scroll
        top, height = round(scroll.scroll_y), scroll.size.height
        last = self.cursor + (max(self._editor.size.height - 1, 1) if self.editing else 0)
        if self.cursor < top or last >= top + height:
            scroll.scroll_to(y=self.cursor if self.cursor < top else last - height + 1, animate=False)

    def _return_to(self, name: str) -> None:
        """Keep the cursor on a setting whose row has moved, because others came or went."""
        lines = self.lines
        self.cursor = lines.index(name) if name in lines else min(self.cursor, len(lines) - 1)
        if not lines[self.cursor]:
            self.cursor -= 1  # the heading of a group has come here; the first row is none

    def _under_cursor(self) -> str:
        lines = self.lines
        return lines[min(self.cursor, len(lines) - 1)]


def _choices(field: Field) -> list[str]:
    if field.kind == "bool":
        return ["false", "true"]
    return list(field.choices)


def _choices_only(field: Field) -> bool:
    """Whether no other value than the choices is valid."""
    patterns = [meta.pattern for meta in getattr(field.annotation, "__metadata__", ()) if isinstance(meta, Meta) and meta.pattern]
    return field.kind == "bool" or bool(field.choices and not field.path and not patterns)
