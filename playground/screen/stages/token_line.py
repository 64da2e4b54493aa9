"""A line and its tokens: type a source or a sentence, select a token, put another in its place, see the output token by token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel, Bars, Tokens
from dlplay.engine.settings import Field, fields
from dlplay.runs.client import RunError
from dlplay.screen.flow import Flow, Group, Piece
from dlplay.screen.panels.options_bar import STEPPING, label
from dlplay.screen.panels.panel_widgets import fill_bars
from dlplay.screen.stages.prompt_line import MAX_LENGTH, PromptLine, clean
from dlplay.screen.stages.stage import ActionStage, Command

ANY = -1
"""As the selected place: the panel chooses one."""
PLAY_SECONDS = 0.25
"""Between two tokens that are played: time to look at each."""
MAX_PLAYED = 1000
MAX_UNDOS = 200


class _State(NamedTuple):
    line: str
    changed: str
    """The option that picking an alternative sets."""
    place: int


class _Filled(NamedTuple):
    line: str
    """The line after its masks were filled."""
    values: list[float | None]
    """The probability of each token that filled a mask; None for the others."""


class TokenLineStage(ActionStage, inherit_bindings=False):
    """The stage for a model that answers a line with tokens, or fills in masked tokens of the line."""

    stage: stages.TokenLine

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "write", "type the line", key_display="/"),
        *STEPPING,
        Binding("ctrl+g,g", "play_or_fill", "play, or fill the masks", show=False),
        Binding("x,delete,backspace", "mask", "mask", show=False),
        Binding("ctrl+z,u", "undo", "undo", show=False),
    ]
    ROWS_FOR_MESSAGE: ClassVar[int] = 9

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        assert card.stage is not None
        super().__init__(card, options, card.panel(card.stage.panel).title, id=id)
        self._fields: dict[str, Field] = {field.name: field for field in fields(self.question.options)}
        self.edits_line = self.stage.changes == self.option.name
        """Picking an alternative changes the line itself, not another option."""
        self._line = PromptLine(clean(self._value(self.option.name)), f"type the {label(self.option)}")
        options[self.option.name] = self._line.value
        self._actions = Flow(classes="actions")
        self._strip = widgets.TokenStrip(empty="the tokens, each shaded by its probability")
        self._bars = widgets.Bars(numbered=True, empty="alternatives for the selected token")
        self._bars.label_width = 12
        self._panel: Tokens | None = None
        self._panel_for: dict[str, Any] = {}
        self._filled = _Filled("", [])
        self._due: Callable[[], None] | None = None
        """A key press that has to wait for the answer it is about."""
        self._history: list[_State] = []
        self._typing = False
        self._playing = 0
        """How many tokens of the output are shown while it is played; 0: it is not played."""
        self._play_call = 0

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self._line
        yield self.message
        yield self._actions
        yield self.chips
        with Horizontal(classes="beside"):
            yield self._strip
            yield self._bars

    def on_mount(self) -> None:
        self.watch(self._line, "value", self._line_changed, init=False)
        self._draw_actions()
        self.draw_message()
        self.ask_question()

    def on_resize(self) -> None:
        self.draw_message()

    def _value(self, name: str) -> Any:
        return self.options.get(name, self._fields[name].default)

    @property
    def _state(self) -> _State:
        return _State(self._line.value, self._value(self.stage.changes), self._value(self.stage.place))

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        if not isinstance(panel, Tokens):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with tokens")
            return
        self._panel, self._panel_for = panel, self.question_options()
        panel = self._with_filled_values(panel)
        if panel.place is not None:
            self._strip.cursor = panel.place
        self._strip.show(panel.words, panel.values, notes=panel.notes, selected=panel.place)
        alternatives = panel.alternatives or Bars(labels=[], values=[])
        fill_bars(self._bars, alternatives)
        self.bar.show_figure(panel.figure)
        self._draw_actions()
        super().answered(panel)
        due, self._due = self._due, None
        if due is not None:
            due()

    def refused(self, why: str) -> None:
        self._due = None
        super().refused(why)

    def _current_panel(self, retry: Callable[[], None]) -> Tokens | None:
        """The answer, if it is for the present line; otherwise None, and `retry` is called once that has arrived."""
        if self._panel is not None and self._panel_for == self.question_options():
            return self._panel
        self._due = retry if self.ask is not None else None
        self.ask_question()
        return None

    def _with_filled_values(self, panel: Tokens) -> Tokens:
        """The same, where tokens that filled masks keep the probabilities they had then."""
        line, values = self._filled
        if line != self._line.value or len(values) != len(panel.words):
            return panel
        notes = [
            note if value is None else f'"{word}": {100 * value:.1f} % when it was filled in'
            for note, word, value in zip(panel.notes or panel.words, panel.words, values, strict=True)
        ]
        return msgspec.structs.replace(panel, values=values, notes=notes)

    # --- typing -------------------------------------------------------------------------------------------------------------------

    def _line_changed(self, text: str) -> None:
        if text == self.options.get(self.option.name):
            return
        if not self._typing:
            self._save_state(str(self.options.get(self.option.name, "")))
            self._typing = True
        self._stop()
        self._set_state(text, text if self.edits_line else "", ANY)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_play_or_fill()

    @on(PromptLine.Left)
    def _line_left(self, event: PromptLine.Left) -> None:
        event.stop()
        self._strip.focus()

    @on(PromptLine.Shortened)
    def _paste_shortened(self, event: PromptLine.Shortened) -> None:
        event.stop()
        self.show_notice(f"kept the first {event.kept:,} of {event.pasted:,} characters pasted; the line may hold {MAX_LENGTH:,}")

    def action_write(self) -> None:
        self._line.focus()
        self._line.select_text()

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab; another line drops the forced tokens, as when it is typed."""
        self._stop()
        if self.option.name in values and (text := clean(str(values[self.option.name]))) != self._line.value:
            self._save_state(self._line.value)
            self._typing = False
            self._set_state(text, text if self.edits_line else "", ANY)
        super().set_options({name: value for name, value in values.items() if name != self.option.name})
        self._draw_actions()

    # --- selecting a token, and putting another in its place ----------------------------------------------------------------------

    @on(widgets.TokenStrip.Moved)
    @on(widgets.TokenStrip.Selected)
    def _token_selected(self, event: widgets.TokenStrip.Moved | widgets.TokenStrip.Selected) -> None:
        event.stop()
        self._stop()
        self.show_problem("")
        self.set_option(self.stage.place, event.index)
        self.ask_question()
        if isinstance(event, widgets.TokenStrip.Selected) and self._strip.has_focus:
            self._bars.focus()

    @on(widgets.Bars.Selected)
    def _alternative_picked(self, event: widgets.Bars.Selected) -> None:
        event.stop()
        self._stop()
        self._pick(event.index)

    def _pick(self, position: int) -> None:
        panel = self._current_panel(lambda: self._pick(position))
        if panel is None or panel.alternatives is None or position >= len(panel.alternatives.sets):
            return
        # after a mask was filled, the next one is selected, if there is one; otherwise the token stays selected
        others = {place for place, value in enumerate(panel.values) if value is not None} - {panel.place}
        select_next = self.edits_line and not panel.masked and bool(others)
        self._change(panel.alternatives.sets[position], ANY if select_next or panel.place is None else panel.place)

    @property
    def numbered(self) -> bool:
        """Whether a digit picks an alternative while the tokens have the focus, too."""
        return self._strip.has_focus and self._bars.numbered

    def on_key(self, event: events.Key) -> None:
        if self.numbered:
            self._bars.on_key(event)

    def set_digit_keys(self, available: bool) -> None:
        self._bars.numbered = available

    def action_mask(self) -> None:
        panel = self._current_panel(self.action_mask) if self.edits_line else None
        if panel is not None and panel.place is not None:
            if panel.masked:
                self._change(panel.masked, panel.place)
            else:
                self.show_problem("this token is masked already; pick a word for it, or select another token with the arrows")

    def action_play_or_fill(self) -> None:
        """Show the output token by token, or stop that; or fill every mask."""
        if self.stage.plays:
            if self._playing:
                self._stop()
            else:
                self.begin(self._play, "play")
        elif (panel := self._current_panel(self.action_play_or_fill)) is not None:
            if panel.filled:
                self._fill(panel)
            else:
                self.show_problem("there is no mask to fill; select a word with the arrows and mask it with x")

    def _fill(self, panel: Tokens) -> None:
        first = next((place for place, value in enumerate(panel.filled_values) if value is not None), ANY)
        self._change(panel.filled, first)
        self._filled = _Filled(self._line.value, panel.filled_values)
        self._due = self._report_filled

    def _report_filled(self) -> None:
        words, values = self._strip.words, self._filled.values
        if len(words) == len(values):  # the filled line may be split into other tokens
            named = [f'"{word}" {100 * value:.1f} %' for word, value in zip(words, values, strict=True) if value is not None]
            self.show_notice(f"filled {len(named)}: {', '.join(named)}")

    async def _play(self) -> None:
        """Show one token more at a time."""
        ask, option = self.ask, self.stage.plays
        if ask is None:
            self.show_problem(self.unavailable)
            return
        self._play_call += 1
        call = self._play_call
        self.show_problem("")
        self.set_option(self.stage.place, ANY)
        for count in range(1, 1 + int(self._fields[option].high or MAX_PLAYED)):
            self._playing = count
            self.set_option(option, count)
            options = self.question_options()
            try:
                panel = await ask(self.question.name, options)
            except (RunError, OSError) as error:
                if call == self._play_call:
                    self._stop()
                    self.refused(str(error))
                return
            if call != self._play_call:
                return
            if options != self.question_options():
                break
            self.answered(panel)
            if not isinstance(panel, Tokens) or panel.ended or len(panel.words) < count:
                break
            await asyncio.sleep(PLAY_SECONDS)
            if call != self._play_call:
                return
        self._stop()

    def _stop(self) -> None:
        """Stop playing, and show the whole output."""
        self._play_call += 1
        self._due = None
        if self._playing:
            self._playing = 0
            self.set_option(self.stage.plays, self._fields[self.stage.plays].default)
            self._draw_actions()
            self.ask_question()

    # --- changes and undo ---------------------------------------------------------------------------------------------------------

    def _save_state(self, line: str) -> None:
        """Make it possible to come back to the present state, with this line."""
        now = self._state
        state = _State(line, line if self.edits_line else now.changed, now.place)
        if not self._history or self._history[-1] != state:
            self._history.append(state)
            del self._history[:-MAX_UNDOS]

    def _change(self, text: str, place: int) -> None:
        """Set the option that alternatives change."""
        text = clean(text)
        self._save_state(self._line.value)
        self._typing = False
        self._set_state(text if self.edits_line else self._line.value, text, place)

    def _set_state(self, line: str, changed: str, place: int) -> None:
        """Show this state, and the whole output for it."""
        self.show_problem("")
        if self.stage.plays:
            self.set_option(self.stage.plays, self._fields[self.stage.plays].default)
        self.set_option(self.option.name, line)
        self.set_option(self.stage.changes, line if self.edits_line else changed)
        self.set_option(self.stage.place, place)
        self._show_line(line)
        self._draw_actions()
        self.ask_question()

    def _show_line(self, text: str) -> None:
        if text != self._line.value:
            self.options[self.option.name] = text
            self._line.value = text
            self._line.cursor_position = len(text)

    def action_undo(self) -> None:
        self._stop()
        while self._history:
            state = self._history.pop()
            if state != self._state:
                self._typing = False
                self._set_state(*state)
                return

    # --- the actions --------------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return {"write": not self._line.has_focus, "mask": self.edits_line}.get(action, True)

    def _available(self) -> list[tuple[str, str, str, str, bool]]:
        """Name, key, label and help of each action, and whether it is possible now."""
        play_or_fill = (
            ("stop" if self._playing else "play", "Show the output word by word, with the alternatives for each", True)
            if self.stage.plays
            else ("fill", "Fill every mask, the most confident one first", bool(self._panel and self._panel.filled))
        )
        found = [("play_or_fill", "enter", *play_or_fill)]
        if self.edits_line:
            found.append(("mask", "esc, x", "mask the word", "Mask the selected word", bool(self._panel and self._panel.masked)))
        found.append(("undo", "ctrl+z", "undo", "Go back to the previous line", any(state != self._state for state in self._history)))
        return found

    def _draw_actions(self) -> None:
        groups: list[Group] = []
        for name, key, title, _, possible in self._available():
            groups.append((Piece(key + " ", "flow--quiet", name), Piece(title, "flow--plain" if possible else "flow--quiet", name)))
        self._actions.show(groups)

    @on(Flow.Pressed, ".actions")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        getattr(self, "action_" + event.target)()

    def commands(self) -> list[Command]:
        return [(f"{title} ({key})", help_, getattr(self, "action_" + name)) for name, key, title, help_, _ in self._available()]
