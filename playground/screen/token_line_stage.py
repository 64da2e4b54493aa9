"""A line and its tokens: type a source or a sentence, look at one token, put another in its place, watch them come one by one."""

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
from dlplay.screen.options_bar import STEPPING, words
from dlplay.screen.panel_body import fill_bars
from dlplay.screen.passage import LONGEST, UNDOS, clean
from dlplay.screen.prompt_line import PromptLine
from dlplay.screen.stage import ActionStage, Command

ANY = -1
"""The place that is left to the panel."""
PLAY_SECONDS = 0.25
"""Between two tokens that come one by one: time to look at each."""
MOST = 1000
"""Tokens that are played at the most."""


class _State(NamedTuple):
    line: str
    changed: str
    place: int


class _Filled(NamedTuple):
    line: str
    """The line after its masks were filled."""
    values: list[float | None]
    """How probable each word that filled one was."""


class TokenLineStage(ActionStage, inherit_bindings=False):
    """The tab's action for a model that answers a line with tokens, or fills tokens of it in."""

    stage: stages.TokenLine

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "write", "type the line", key_display="/"),
        *STEPPING,
        Binding("ctrl+g,g", "go", "play, or fill the masks", show=False),
        Binding("x,delete,backspace", "mask", "mask", show=False),
        Binding("ctrl+z,u", "undo", "undo", show=False),
    ]
    LOW: ClassVar[int] = 9

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        assert card.stage is not None
        super().__init__(card, options, card.panel(card.stage.panel).title, id=id)
        self._fields: dict[str, Field] = {field.name: field for field in fields(self.question.options)}
        self.own_line = self.stage.changes == self.option.name
        """Picking an alternative changes the line itself, not another option."""
        self._line = PromptLine(clean(self._value(self.option.name)), f"type the {words(self.option)}")
        options[self.option.name] = self._line.value
        self._actions = Flow(classes="actions")
        self._strip = widgets.TokenStrip(empty="the tokens, each shaded by its probability")
        self._bars = widgets.Bars(numbered=True, empty="what else might stand at the chosen place")
        self._bars.label_width = 12
        self._panel: Tokens | None = None
        self._panel_of: dict[str, Any] = {}
        self._filled = _Filled("", [])
        self._due: Callable[[], None] | None = None
        """What was pressed before the answer that it is about had come."""
        self._former: list[_State] = []
        self._typing = False
        self._playing = 0
        self._turn = 0

    def compose(self) -> ComposeResult:
        """Its parts from top to bottom."""
        yield self.bar
        yield self._line
        yield self.said
        yield self._actions
        yield self.chips
        with Horizontal(classes="beside"):
            yield self._strip
            yield self._bars

    def on_mount(self) -> None:
        """Everything as it stands before the first answer."""
        self.watch(self._line, "value", self._line_changed, init=False)
        self._draw_actions()
        self.draw_said()
        self.wonder()

    def on_resize(self) -> None:
        """Words are cut to the new width."""
        self.draw_said()

    def _value(self, name: str) -> Any:
        return self.options.get(name, self._fields[name].default)

    @property
    def _present(self) -> _State:
        return _State(self._line.value, self._value(self.stage.changes), self._value(self.stage.place))

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        """Show the tokens and what else might stand at the chosen place."""
        if not isinstance(panel, Tokens):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with tokens")
            return
        self._panel, self._panel_of = panel, self.asked_with()
        panel = self._with_fills(panel)
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

    def refused(self, words: str) -> None:
        """There is no answer, and why."""
        self._due = None
        super().refused(words)

    def _fresh(self, again: Callable[[], None]) -> Tokens | None:
        """The answer, if it is about the line as it stands; else `again` is called as soon as that has come."""
        if self._panel is not None and self._panel_of == self.asked_with():
            return self._panel
        self._due = again if self.ask is not None else None
        self.wonder()
        return None

    def _with_fills(self, panel: Tokens) -> Tokens:
        """The words that filled masks, shaded by how probable they were then."""
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
            self._keep(str(self.options.get(self.option.name, "")))
            self._typing = True
        self._stop()
        self._put(text, text if self.own_line else "", ANY)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_go()

    @on(PromptLine.Left)
    def _line_left(self, event: PromptLine.Left) -> None:
        event.stop()
        self._strip.focus()

    @on(PromptLine.Shortened)
    def _paste_shortened(self, event: PromptLine.Shortened) -> None:
        event.stop()
        self.note(f"kept the first {event.kept:,} of {event.pasted:,} characters pasted; the line may hold {LONGEST:,}")

    def action_write(self) -> None:
        """Go to the line."""
        self._line.focus()

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab; another line is met without prejudice, as one that was typed."""
        self._stop()
        if self.option.name in values and (text := clean(str(values[self.option.name]))) != self._line.value:
            self._keep(self._line.value)
            self._typing = False
            self._put(text, text if self.own_line else "", ANY)
        super().set_options({name: value for name, value in values.items() if name != self.option.name})
        self._draw_actions()

    # --- looking at a token, and putting another in its place ---------------------------------------------------------------------

    @on(widgets.TokenStrip.Moved)
    @on(widgets.TokenStrip.Selected)
    def _place_chosen(self, event: widgets.TokenStrip.Moved | widgets.TokenStrip.Selected) -> None:
        event.stop()
        self._stop()
        self.say("")
        self.tell(self.stage.place, event.index)
        self.wonder()
        if isinstance(event, widgets.TokenStrip.Selected) and self._strip.has_focus:
            self._bars.focus()

    @on(widgets.Bars.Selected)
    def _alternative_picked(self, event: widgets.Bars.Selected) -> None:
        event.stop()
        self._stop()
        self._pick(event.index)

    def _pick(self, position: int) -> None:
        panel = self._fresh(lambda: self._pick(position))
        if panel is None or panel.alternatives is None or position >= len(panel.alternatives.sets):
            return
        # a mask that was filled gives way to the next one, if there is any; else the word stays the one that is looked at
        others = {place for place, value in enumerate(panel.values) if value is not None} - {panel.place}
        goes_on = self.own_line and not panel.masked and bool(others)
        self._change(panel.alternatives.sets[position], ANY if goes_on or panel.place is None else panel.place)

    def on_key(self, event: events.Key) -> None:
        """A digit picks an alternative while a token is chosen, too."""
        if self._strip.has_focus and self._bars.numbered:
            self._bars.on_key(event)

    def set_digits(self, free: bool) -> None:
        """Alternatives carry numbers only where a digit picks them."""
        self._bars.numbered = free

    def action_mask(self) -> None:
        """Mask the chosen word."""
        panel = self._fresh(self.action_mask) if self.own_line else None
        if panel is not None and panel.place is not None:
            if panel.masked:
                self._change(panel.masked, panel.place)
            else:
                self.say("there is a mask at this place already; pick a word for it, or go to another with the arrows")

    def action_go(self) -> None:
        """Let the tokens come one by one, or stop; or fill every mask."""
        if self.stage.plays:
            if self._playing:
                self._stop()
            else:
                self.run_worker(self._play(), name="play", group="play")
        elif (panel := self._fresh(self.action_go)) is not None:
            if panel.filled:
                self._fill(panel)
            else:
                self.say("there is no mask to fill; choose a word with the arrows and mask it with x")

    def _fill(self, panel: Tokens) -> None:
        first = next((place for place, value in enumerate(panel.filled_values) if value is not None), ANY)
        self._change(panel.filled, first)
        self._filled = _Filled(self._line.value, panel.filled_values)
        self._due = self._tell_filled

    def _tell_filled(self) -> None:
        words, values = self._strip.words, self._filled.values
        if len(words) == len(values):  # else parts of words became other parts when they stood side by side
            named = [f'"{word}" {100 * value:.1f} %' for word, value in zip(words, values, strict=True) if value is not None]
            self.note(f"filled {len(named)}: {', '.join(named)}")

    async def _play(self) -> None:
        """One token more at a time, each asked for when the one before has been looked at."""
        ask, option = self.ask, self.stage.plays
        if ask is None:
            self.say(self.silence)
            return
        self._turn += 1
        turn = self._turn
        self.say("")
        self.tell(self.stage.place, ANY)
        for count in range(1, 1 + int(self._fields[option].high or MOST)):
            self._playing = count
            self.tell(option, count)
            question = self.asked_with()
            try:
                panel = await ask(self.question.name, question)
            except (RunError, OSError) as error:
                if turn == self._turn:
                    self._stop()
                    self.refused(str(error))
                return
            if turn != self._turn:
                return
            if question != self.asked_with():
                break
            self.answered(panel)
            if not isinstance(panel, Tokens) or panel.ended or len(panel.words) < count:
                break
            await asyncio.sleep(PLAY_SECONDS)
            if turn != self._turn:
                return
        self._stop()

    def _stop(self) -> None:
        """Nothing is played from now on, and the whole output is seen."""
        self._turn += 1
        self._due = None
        if self._playing:
            self._playing = 0
            self.tell(self.stage.plays, self._fields[self.stage.plays].default)
            self._draw_actions()
            self.wonder()

    # --- changes ------------------------------------------------------------------------------------------------------------------

    def _keep(self, line: str) -> None:
        """What follows can be undone."""
        now = self._present
        state = _State(line, line if self.own_line else now.changed, now.place)
        if not self._former or self._former[-1] != state:
            self._former.append(state)
            del self._former[:-UNDOS]

    def _change(self, text: str, place: int) -> None:
        """Set the option that alternatives change; the whole output is seen again."""
        text = clean(text)
        self._keep(self._line.value)
        self._typing = False
        self._put(text if self.own_line else self._line.value, text, place)

    def _put(self, line: str, changed: str, place: int) -> None:
        self.say("")
        if self.stage.plays:
            self.tell(self.stage.plays, self._fields[self.stage.plays].default)
        self.tell(self.option.name, line)
        self.tell(self.stage.changes, line if self.own_line else changed)
        self.tell(self.stage.place, place)
        self._show_line(line)
        self._draw_actions()
        self.wonder()

    def _show_line(self, text: str) -> None:
        if text != self._line.value:
            self.options[self.option.name] = text
            self._line.value = text
            self._line.cursor_position = len(text)

    def action_undo(self) -> None:
        """The former line, and what was put into it."""
        self._stop()
        while self._former:
            state = self._former.pop()
            if state != self._present:
                self._typing = False
                self._put(*state)
                return

    # --- what can be done ---------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are named where they mean something."""
        return {"write": not self._line.has_focus, "mask": self.own_line}.get(action, True)

    def _doings(self) -> list[tuple[str, str, str, str, bool]]:
        """Action, its key, a word for it, a line of help, whether it does anything just now."""
        go = (
            ("stop" if self._playing else "play", "The output comes word by word, each with what else the model thought of", True)
            if self.stage.plays
            else ("fill", "Fill every mask, the most certain first", bool(self._panel and self._panel.filled))
        )
        found = [("go", "enter", *go)]
        if self.own_line:
            found.append(("mask", "esc x", "mask the word", "Mask the word that is looked at", bool(self._panel and self._panel.masked)))
        found.append(("undo", "ctrl+z", "undo", "The former line", any(state != self._present for state in self._former)))
        return found

    def _draw_actions(self) -> None:
        groups: list[Group] = []
        for name, key, title, _, usable in self._doings():
            groups.append((Piece(key + " ", "flow--quiet", name), Piece(title, "flow--plain" if usable else "flow--quiet", name)))
        self._actions.show(groups)

    @on(Flow.Pressed, ".actions")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        getattr(self, "action_" + event.target)()

    def commands(self) -> list[Command]:
        """For the palette."""
        return [(f"{title} ({key})", help_, getattr(self, "action_" + name)) for name, key, title, help_, _ in self._doings()]
