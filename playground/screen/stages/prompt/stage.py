"""The prompt: type a text, see the candidates for the next word, let the model continue it, undo, branch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel, Bars
from dlplay.screen.flow import Flow
from dlplay.screen.panels.options_bar import STEPPING
from dlplay.screen.panels.panel_widgets import fill_bars
from dlplay.screen.stages.prompt.generation import FULL, Generator, length_option
from dlplay.screen.stages.prompt.passage import Passage, Word, words_of
from dlplay.screen.stages.prompt.rows import ActionRow, BranchRows, MemoryLine
from dlplay.screen.stages.prompt_line import MAX_LENGTH, PromptLine, clean
from dlplay.screen.stages.stage import ActionStage, Ask, Command

MEMORY_FULL = f"the memory is full ({MAX_LENGTH:,} characters): clear it and start again"
MAX_DUE = 20
"""Most likely words that may be asked for ahead of the model's answers."""


class PromptStage(ActionStage, inherit_bindings=False):
    """The stage for a language model."""

    stage: stages.Prompt

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "write", "type the prompt", key_display="/"),
        *STEPPING,
        Binding("ctrl+g,g", "generate", "generate", show=False),
        Binding("ctrl+n", "most_likely", "most likely word", show=False),
        Binding("ctrl+o", "sample", "sampled word", show=False),
        Binding("ctrl+z,u", "undo", "undo", show=False),
        Binding("ctrl+y,b", "branch", "branch", show=False),
        Binding("ctrl+l,l", "read_into_memory", "read into memory", show=False),
        Binding("x", "clear_memory", "clear memory", show=False),
        Binding("pagedown", "switch(1)", "branches", key_display="pgup pgdn"),
        Binding("pageup", "switch(-1)", "branches", show=False, key_display="pgup pgdn"),
    ]
    ROWS_FOR_MESSAGE: ClassVar[int] = 10

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, "Prompt", length_option(card), id=id)
        memory = options.get(self.stage.before, getattr(self.question.options(), self.stage.before, ""))
        self.passage = Passage(clean(str(options.get(self.option.name, self.option.default))), str(memory))
        options[self.option.name] = self.passage.text
        if self.stage.before:
            options[self.stage.before] = self.passage.memory
        self._generator = Generator(self.passage, card.panel(self.stage.generate), self.option.name) if self.stage.generate else None
        self._line = PromptLine(self.passage.text)
        self._memory = MemoryLine(self.passage.memory)
        self._memory.display = bool(self.stage.before)
        self._actions = ActionRow(classes="actions")
        self._bars = widgets.Bars()
        self._bars.numbered = True
        self._bars.label_width = 12
        self._bars.empty = "the most likely next words"
        self._written = widgets.TokenStrip()
        self._written.empty = "the text; each generated word is shaded by its probability"
        self._branches = BranchRows(classes="branches")
        self._words: list[Word] = []
        self._candidates: Bars | None = None
        self._candidates_for: dict[str, Any] = {}
        self._most_likely_due = 0
        """How many most likely words are still to be appended, each once its candidates have arrived."""

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self._memory
        yield self._line
        yield self.message
        yield self._actions
        yield self.chips
        with Horizontal(classes="beside"):
            yield self._bars
            with Vertical(classes="written"):
                yield self._written
                yield self._branches

    def on_mount(self) -> None:
        self.watch(self._line, "value", self._line_changed, init=False)
        self._draw_passage()
        self.draw_message()
        self.ask_question()

    def on_resize(self) -> None:
        self.draw_message()
        self._draw_branches()

    # --- candidates ---------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        if not isinstance(panel, Bars):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with candidates")
            return
        self._candidates, self._candidates_for = panel, self.question_options()
        self._show_defaults(panel)
        fill_bars(self._bars, panel)
        self.bar.show_figure(panel.figure)
        super().answered(panel)
        if self._most_likely_due:
            self._most_likely_due -= 1
            self._append_most_likely()

    def _show_defaults(self, panel: Bars) -> None:
        """While nobody has set a text, show the default text and memory that this model has used in its place."""
        defaults = {name: clean(str(text)) for name, text in panel.read.items()}
        shown = {self.option.name: self.passage.text, self.stage.before: self.passage.memory} | self.options | defaults
        text, memory = str(shown[self.option.name]), str(shown[self.stage.before])
        if (text, memory) != (self.passage.text, self.passage.memory):
            self.passage.show_default(text, memory)
            self._memory.show_text(memory)
            self._show_line()
            self._draw_passage()

    def refused(self, why: str) -> None:
        self._most_likely_due = 0
        super().refused(why)

    def _current_candidates(self) -> Bars | None:
        """The candidates, if they are those for the present text."""
        return self._candidates if self._candidates is not None and self._candidates_for == self.question_options() else None

    def _append_candidate(self, position: int) -> None:
        panel = self._current_candidates()
        if panel is None or position >= len(panel.labels):
            self.show_problem("these candidates belong to an earlier text; pick again when they are up to date")
            self.ask_question()
            return
        text = panel.appends[position] if position < len(panel.appends) else " " + panel.labels[position]
        self.passage.begin_change()
        appended = self.passage.append(text, panel.values[position])
        self._text_changed()
        if not appended:
            self.show_problem(FULL)

    def _append_most_likely(self) -> None:
        panel = self._current_candidates()
        if panel is not None and panel.values:
            self._append_candidate(max(range(len(panel.values)), key=panel.values.__getitem__))

    @on(widgets.Bars.Selected)
    def _candidate_picked(self, event: widgets.Bars.Selected) -> None:
        event.stop()
        self._stop()
        self._append_candidate(event.index)

    def action_most_likely(self) -> None:
        """Append the most likely word; key presses that are faster than the model's answers are counted."""
        self._stop()
        if self._current_candidates() is not None:
            self._append_most_likely()
        elif self.ask is not None:
            self._most_likely_due = min(self._most_likely_due + 1, MAX_DUE)
            self.ask_question()

    # --- generation ---------------------------------------------------------------------------------------------------------------

    @property
    def _generating(self) -> bool:
        return self._generator is not None and self._generator.running

    def action_generate(self) -> None:
        if self._generating:
            self._stop()
        else:
            self._generate(int(self.bar.values.get("words", 40)))

    def action_sample(self) -> None:
        if not self._generating:
            self._generate(1)

    def _generate(self, count: int) -> None:
        if self._generator is None:
            self.show_problem("this model cannot generate; escape and then a candidate's number appends that word")
        elif self.ask is None:
            self.show_problem(self.unavailable)
        else:
            self.passage.begin_change()
            self.begin(partial(self._run_generator, self._generator, self.ask, count), "generate")

    async def _run_generator(self, generator: Generator, ask: Ask, count: int) -> None:
        generator.running = True
        self._draw_actions()
        problem = await generator.generate(ask, count, {**self.options, **self.bar.values}, partial(self._text_changed, at_once=False))
        if not generator.running and self.is_attached:
            self._draw_actions()
            self.ask_question()
            if problem:
                self.show_problem(problem)

    def _stop(self) -> None:
        self._most_likely_due = 0
        if self._generator is not None and self._generator.running:
            self._generator.stop()
            self._draw_actions()

    # --- undo and branches --------------------------------------------------------------------------------------------------------

    def action_undo(self) -> None:
        self._stop()
        if self.passage.undo():
            self._text_changed()

    def action_branch(self, point: int | None = None) -> None:
        """Keep this continuation as a branch and go back to where it began; if the model was generating, it goes on from there."""
        was_generating = self._generating
        self._stop()
        if self.passage.branch(point):
            self._text_changed()
            if was_generating:
                self.action_generate()
        else:
            self.show_problem("nothing to branch from yet: append a word, or generate some")

    def action_switch(self, by: int) -> None:
        self._switch((self.passage.current + by) % len(self.passage.branches))

    def _switch(self, position: int) -> None:
        self._stop()
        if self.passage.switch(position):
            self._text_changed()

    @on(widgets.TokenStrip.Selected)
    def _word_picked(self, event: widgets.TokenStrip.Selected) -> None:
        event.stop()
        word = self._words[event.index]
        if word.value is None:
            self.show_problem("you typed this word: change it in the line above; picking a generated word tries another in its place")
        else:
            self.action_branch(word.piece)

    # --- the memory of a model that has one ---------------------------------------------------------------------------------------

    def action_read_into_memory(self) -> None:
        self._stop()
        if self.passage.read_into_memory():
            self._text_changed()
        else:
            empty = not self.passage.text.strip()
            self.show_problem("type a part of the text first; then it can be read into the memory" if empty else MEMORY_FULL)

    def action_clear_memory(self) -> None:
        self._stop()
        if self.passage.set_memory(""):
            self._text_changed()

    # --- typing -------------------------------------------------------------------------------------------------------------------

    def _line_changed(self, text: str) -> None:
        """Called at once when the line changes, so that no word that is being generated can overtake what was typed."""
        if text != self.passage.text:
            self._stop()
            self.passage.typed(text)
            self._text_changed(from_line=True)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()

    @on(PromptLine.Left)
    def _line_left(self, event: PromptLine.Left) -> None:
        event.stop()
        self._bars.focus()

    @on(PromptLine.Shortened)
    def _paste_shortened(self, event: PromptLine.Shortened) -> None:
        event.stop()
        self.show_notice(f"kept the first {event.kept:,} of {event.pasted:,} characters pasted; the text may hold {MAX_LENGTH:,}")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_generate()

    def action_write(self) -> None:
        self._line.focus()
        self._line.select_text()

    def set_options(self, values: Mapping[str, Any]) -> None:
        if self.option.name in values and values[self.option.name] != self.passage.text:
            self.passage.typed(clean(str(values[self.option.name])))
            self._text_changed()
        if self.stage.before in values and self.passage.set_memory(str(values[self.stage.before])):
            self._text_changed()
        super().set_options(values)

    @on(Flow.Pressed, ".actions, .branches")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        if event.flow is self._branches:
            self._switch(int(event.target))
        else:
            getattr(self, "action_" + event.target)()

    def set_digit_keys(self, available: bool) -> None:
        self._bars.numbered = available

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        has_memory = bool(self.stage.before)
        possible = {
            "write": not self._line.has_focus,
            "switch": len(self.passage.branches) > 1,
            "read_into_memory": has_memory,
            "clear_memory": has_memory,
        }
        return possible.get(action, True)

    def commands(self) -> list[Command]:
        actions = self._actions.available(can_generate=self._generator is not None, has_memory=bool(self.stage.before))
        return [(f"{label} ({key})", help_, getattr(self, "action_" + name)) for name, key, label, help_ in actions]

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def _text_changed(self, *, at_once: bool = True, from_line: bool = False) -> None:
        """Show the passage, and ask for its candidates: `at_once`, or while words are generated only as often as when training."""
        self.show_problem("")
        if not from_line:
            self._show_line()
        self._draw_passage()
        self.set_option(self.option.name, self.passage.text)
        if self.stage.before:
            self._memory.show_text(self.passage.memory)
            self.set_option(self.stage.before, self.passage.memory)
        if at_once:
            self.ask_question()
        else:
            self.model_changed()

    def _show_line(self) -> None:
        if self._line.value != self.passage.text:  # else what is selected in it stays so
            self._line.value = self.passage.text
            self._line.cursor_position = len(self.passage.text)

    def _draw_passage(self) -> None:
        self._words = words_of(self.passage.pieces)
        notes = ["typed" if word.value is None else f"{100 * word.value:.1f} %" for word in self._words]
        self._written.show([word.text for word in self._words], [word.value for word in self._words], notes=notes)
        self._draw_branches()
        self._draw_actions()

    def _draw_branches(self) -> None:
        before = self._branches.display
        self._branches.show_for(self.passage, self.size.height // 3)
        if self._branches.display != before:
            self.refresh_bindings()

    def _draw_actions(self) -> None:
        memory = self.passage.memory if self.stage.before else None
        self._actions.show_for(self.passage, can_generate=self._generator is not None, generating=self._generating, memory=memory)
