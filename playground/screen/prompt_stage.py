"""The prompt: type a text, watch the next word's candidates follow, let the model write on, go back, branch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

import widgets
from playground.engine.card import Card
from playground.engine.panels import AnyPanel, Bars, Tokens
from playground.engine.settings import Field, fields
from playground.runs.client import RunError
from playground.screen.flow import Flow, Group, Piece, fit
from playground.screen.options_bar import OptionsBar
from playground.screen.panel_body import fill_bars
from playground.screen.passage import LONGEST, Passage, clean
from playground.screen.prompt_words import Word, branch_lines, continuation, words_of
from playground.screen.stage import NO_MODEL, ActionStage

ACTIONS = (
    ("generate", "enter", "generate"),
    ("likeliest", "ctrl+n", "likeliest"),
    ("sampled", "ctrl+o", "sampled"),
    ("undo", "ctrl+z", "undo"),
    ("branch", "ctrl+y", "branch"),
)
LOW = 10
"""Rows from which there is room for a line of words that tells of no problem."""
WIDE = 100
"""Cells from which there is room for the figure beside the options."""


class PromptLine(Input):
    """The text itself. A pasted text becomes one line, and no longer than a passage may be."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,down", "leave", "Leave the line", show=False),
    ]

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        room = LONGEST - len(self.value) + abs(self.selection.end - self.selection.start)
        text = clean(event.text)[:room]
        self.replace(text, *sorted(self.selection))
        stage = self.query_ancestor(PromptStage)
        if len(text) < len(event.text):
            stage.say(f"kept the first {len(text):,} of {len(event.text):,} characters; the text may hold {LONGEST:,}")

    def action_leave(self) -> None:
        """Give the keys back to everything else."""
        self.query_ancestor(PromptStage).query_one(widgets.Bars).focus()


class PromptStage(ActionStage):
    """The tab's action for a model of text."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+g,g", "generate", "Generate", show=False),
        Binding("ctrl+n", "likeliest", "Likeliest word", show=False),
        Binding("ctrl+o", "sampled", "Sampled word", show=False),
        Binding("ctrl+z,u", "undo", "Undo", show=False),
        Binding("ctrl+y,b", "branch", "Branch", show=False),
        Binding("pagedown", "switch(1)", "Next branch", show=False),
        Binding("pageup", "switch(-1)", "Branch before", show=False),
        Binding("slash", "write", "Write", show=False),
        Binding("left_square_bracket", "step(0, -1)", "First option down", show=False),
        Binding("right_square_bracket", "step(0, 1)", "First option up", show=False),
        Binding("left_curly_bracket", "step(1, -1)", "Second option down", show=False),
        Binding("right_curly_bracket", "step(1, 1)", "Second option up", show=False),
        Binding("e", "edit", "Type an option", show=False),
    ]

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, id=id)
        own = [field for field in fields(self.question.options) if field.name != self.option.name]
        self._generate_fields: tuple[Field, ...] = fields(card.panel(self.stage.generate).options) if self.stage.generate else ()
        words = [field for field in self._generate_fields if field.name == "words"]
        self._bar = OptionsBar([*own, *words], "Prompt")
        self._bar.set_values(options)
        self.passage = Passage(str(options.get(self.option.name, self.option.default)))
        options[self.option.name] = self.passage.text
        self._line = PromptLine(self.passage.text, placeholder="type the beginning of a text", compact=True, max_length=LONGEST)
        self._said = Static("", classes="said", markup=False)
        self._problem = ""
        self._caption = ""
        self._actions = Flow(classes="actions")
        self._bars = widgets.Bars()
        self._bars.numbered = True
        self._bars.empty = "the likeliest next words"
        self._written = widgets.TokenStrip()
        self._written.empty = "the text, each word the model wrote shaded by its probability"
        self._branches = Flow(classes="branches")
        self._words: list[Word] = []
        self._candidates: Bars | None = None
        self._candidates_of: dict[str, Any] = {}
        self._likeliest_due = 0
        self._generation = 0
        self._generating = False

    def compose(self) -> ComposeResult:
        """Its parts from top to bottom."""
        yield self._bar
        yield self._line
        yield self._said
        yield self._actions
        with Horizontal(classes="beside"):
            yield self._bars
            with Vertical(classes="written"):
                yield self._written
                yield self._branches

    def on_mount(self) -> None:
        """Everything as it stands before the first answer."""
        self._draw_passage()
        self._draw_said()
        self.wonder()

    def on_resize(self) -> None:
        """Lines are cut to the new width."""
        self._draw_said()
        self._draw_branches()

    # --- candidates ---------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        """Show the candidates for the next word."""
        if not isinstance(panel, Bars):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with candidates")
            return
        self._candidates, self._candidates_of = panel, self.asked_with()
        fill_bars(self._bars, panel)
        self._bar.show_figure(panel.figure if self.size.width >= WIDE else "")
        self._caption = panel.caption
        self.say("")
        if self._likeliest_due:
            self._likeliest_due -= 1
            self._append_likeliest()

    def refused(self, words: str) -> None:
        """Say why there are no candidates."""
        self._likeliest_due = 0
        self.say(words)

    def say(self, problem: str) -> None:
        """Say what stands in the way; empty when nothing does."""
        self._problem = problem
        self._draw_said()

    def _fresh(self) -> Bars | None:
        """The candidates, if they are those of the text as it stands."""
        return self._candidates if self._candidates is not None and self._candidates_of == self.asked_with() else None

    def _append_candidate(self, position: int) -> None:
        panel = self._fresh()
        if panel is None or position >= len(panel.labels):
            return
        text = panel.appends[position] if position < len(panel.appends) else " " + panel.labels[position]
        self.passage.keep()
        if not self.passage.append(text, panel.values[position]):
            self.say(f"the text may hold {LONGEST:,} characters; undo, or begin a new one")
        self._text_changed()

    def _append_likeliest(self) -> None:
        panel = self._fresh()
        if panel is not None and panel.values:
            self._append_candidate(max(range(len(panel.values)), key=panel.values.__getitem__))

    @on(widgets.Bars.Selected)
    def _candidate_picked(self, event: widgets.Bars.Selected) -> None:
        event.stop()
        self._stop()
        self._append_candidate(event.index)

    def action_likeliest(self) -> None:
        """Append the likeliest word; pressed faster than the model answers, it is remembered."""
        self._stop()
        if self._fresh() is not None:
            self._append_likeliest()
        elif self.ask is not None:
            self._likeliest_due = min(self._likeliest_due + 1, 20)
            self.wonder()

    # --- writing on ---------------------------------------------------------------------------------------------------------------

    def action_generate(self) -> None:
        """Write on word by word, or stop."""
        if self._generating:
            self._stop()
        else:
            self._generate(int(self._bar.values.get("words", 40)))

    def action_sampled(self) -> None:
        """Append one word, drawn by its probability."""
        if not self._generating:
            self._generate(1)

    def _generate(self, count: int) -> None:
        if self.ask is None or not self.stage.generate:
            self.say(NO_MODEL if self.ask is None else "this model cannot write on; pick candidates by their number")
            return
        self._generation += 1
        self._generating = True
        self._draw_actions()
        self.passage.keep()
        self.run_worker(self._write_on(self._generation, count), name="generate", group="generate")

    async def _write_on(self, generation: int, count: int) -> None:
        names = {field.name for field in self._generate_fields}
        for _ in range(count):
            before, ask = self.passage.text, self.ask
            if ask is None:
                break
            question = {name: value for name, value in {**self.options, **self._bar.values}.items() if name in names}
            question |= {self.option.name: before} | {name: value for name, value in self._one_word().items() if name in names}
            try:
                panel = await ask(self.stage.generate, question)
            except (RunError, OSError) as error:
                if generation == self._generation:
                    self._stop()
                    self.say(str(error))
                return
            if generation != self._generation or self.passage.text != before:
                return
            text, value = continuation(before, panel) if isinstance(panel, Tokens) else ("", None)
            if not self.passage.append(text, value):
                self.say(f"the text may hold {LONGEST:,} characters; undo, or begin a new one")
                break
            self._text_changed(following=False)
            if not text or (isinstance(panel, Tokens) and panel.ended):
                break
        if generation == self._generation:
            self._stop()
            self.wonder()

    def _one_word(self) -> dict[str, Any]:
        seeds = {field.name: random.randrange(int(field.high or 2**31)) for field in self._generate_fields if "seed" in field.name}
        return {"words": 1, **seeds}

    def _stop(self) -> None:
        self._generation += 1
        self._likeliest_due = 0
        if self._generating:
            self._generating = False
            self._draw_actions()

    # --- going back, and branches -------------------------------------------------------------------------------------------------

    def action_undo(self) -> None:
        """The former text."""
        self._stop()
        if self.passage.undo():
            self._text_changed()

    def action_branch(self, point: int | None = None) -> None:
        """Keep this continuation beside and go on from where it began; what was writing goes on writing."""
        was_generating = self._generating
        self._stop()
        if self.passage.branch(point):
            self._text_changed()
            if was_generating:
                self.action_generate()
        else:
            self.say("nothing to branch from yet: append a word, or generate some")

    def action_switch(self, by: int) -> None:
        """Go to another branch."""
        self._switch((self.passage.present + by) % len(self.passage.branches))

    def _switch(self, position: int) -> None:
        self._stop()
        if self.passage.switch(position):
            self._text_changed()

    @on(widgets.TokenStrip.Selected)
    def _word_picked(self, event: widgets.TokenStrip.Selected) -> None:
        event.stop()
        word = self._words[event.index]
        if word.value is None:
            self.say("this word was typed: change it in the line above; a word of the model's can be picked to try another in its place")
        else:
            self.action_branch(word.piece)

    # --- typing -------------------------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input is self._line and event.value != self.passage.text:
            self._stop()
            self.say("")
            self.passage.typed(event.value)
            self._text_changed(from_line=True)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_generate()

    @on(OptionsBar.Changed)
    def _option_changed(self, event: OptionsBar.Changed) -> None:
        event.stop()
        self.say("")
        self.tell(event.name, event.value)
        self.wonder()

    @on(OptionsBar.Refused)
    def _option_refused(self, event: OptionsBar.Refused) -> None:
        event.stop()
        self.say(event.words)

    def action_write(self) -> None:
        """Go to the line."""
        self._line.focus()

    def action_step(self, position: int, by: int) -> None:
        """Change an option by one step."""
        self._bar.step(position, by)

    def action_edit(self) -> None:
        """Type the first option's value; tab goes on to the next."""
        self._bar.edit()

    def set_options(self, values: dict[str, Any]) -> None:  # type: ignore[override]
        """Options were changed elsewhere in the tab."""
        self._bar.set_values(values)
        if self.option.name in values and values[self.option.name] != self.passage.text:
            self.passage.typed(clean(str(values[self.option.name])))
            self._text_changed()
        super().set_options(values)

    @on(Flow.Pressed)
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        if event.flow is self._branches:
            self._switch(int(event.target))
        else:
            getattr(self, "action_" + event.target)()

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def _text_changed(self, *, following: bool = True, from_line: bool = False) -> None:
        if not from_line:
            self._line.value = self.passage.text
            self._line.cursor_position = len(self.passage.text)
        self._draw_passage()
        self.tell(self.option.name, self.passage.text)
        if following:
            self.wonder()
        else:
            self.renew()

    def _draw_passage(self) -> None:
        self._words = words_of(self.passage.pieces)
        notes = ["typed" if word.value is None else f"{100 * word.value:.1f} %" for word in self._words]
        self._written.show([word.text for word in self._words], [word.value for word in self._words], notes=notes)
        self._draw_branches()
        self._draw_actions()

    def _draw_branches(self) -> None:
        lines = branch_lines(self.passage, max(8, self._branches.size.width or 40), max(1, self.size.height // 3))
        self._branches.display = bool(lines)
        self._branches.show([(Piece(text, "flow--chosen" if chosen else "flow--quiet", target),) for text, chosen, target in lines])

    def _draw_actions(self) -> None:
        groups: list[Group] = []
        for name, key, words in ACTIONS:
            if self.stage.generate or name not in ("generate", "sampled"):
                words = "stop" if name == "generate" and self._generating else words
                usable = name != "undo" or self.passage.can_undo
                groups.append((Piece(key + " ", "flow--quiet", name), Piece(words, "flow--plain" if usable else "flow--quiet", name)))
        self._actions.show(groups)

    def _draw_said(self) -> None:
        text = ("✗ " + self._problem) if self._problem else self._caption
        self._said.display = bool(self._problem) or self.size.height >= LOW
        self._said.set_class(bool(self._problem), "problem")
        self._said.update(fit(text.replace("\n", " "), max(10, self.size.width - 2)))
