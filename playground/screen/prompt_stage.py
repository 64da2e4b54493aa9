"""The prompt: type a text, watch the next word's candidates follow, let the model write on, go back, branch."""

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
from dlplay.screen.options_bar import STEPPING
from dlplay.screen.panel_body import fill_bars
from dlplay.screen.passage import LONGEST, Passage, clean
from dlplay.screen.prompt_line import PromptLine
from dlplay.screen.prompt_memory import MemoryLine
from dlplay.screen.prompt_rows import ActionRow, BranchRows
from dlplay.screen.prompt_words import Word, words_of
from dlplay.screen.stage import ActionStage, Ask, Command
from dlplay.screen.writing import FULL, Writer, length_of

MEMORY_FULL = f"what was read before may hold {LONGEST:,} characters; empty it and begin anew"


class PromptStage(ActionStage, inherit_bindings=False):
    """The tab's action for a model of text."""

    stage: stages.Prompt

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "write", "type the prompt", key_display="/"),
        *STEPPING,
        Binding("ctrl+g,g", "generate", "generate", show=False),
        Binding("ctrl+n", "likeliest", "likeliest word", show=False),
        Binding("ctrl+o", "sampled", "sampled word", show=False),
        Binding("ctrl+z,u", "undo", "undo", show=False),
        Binding("ctrl+y,b", "branch", "branch", show=False),
        Binding("ctrl+l,l", "read_on", "read it into the memory", show=False),
        Binding("x", "empty", "empty the memory", show=False),
        Binding("pagedown", "switch(1)", "branches", key_display="pgup pgdn"),
        Binding("pageup", "switch(-1)", "branches", show=False, key_display="pgup pgdn"),
    ]
    LOW: ClassVar[int] = 10

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, "Prompt", length_of(card), id=id)
        before = options.get(self.stage.before, getattr(self.question.options(), self.stage.before, ""))
        self.passage = Passage(clean(str(options.get(self.option.name, self.option.default))), str(before))
        options[self.option.name] = self.passage.text
        if self.stage.before:
            options[self.stage.before] = self.passage.before
        self._writer = Writer(self.passage, card.panel(self.stage.generate), self.option.name) if self.stage.generate else None
        self._line = PromptLine(self.passage.text)
        self._memory = MemoryLine(self.passage.before)
        self._memory.display = bool(self.stage.before)
        self._actions = ActionRow(classes="actions")
        self._bars = widgets.Bars()
        self._bars.numbered = True
        self._bars.label_width = 12
        self._bars.empty = "the likeliest next words"
        self._written = widgets.TokenStrip()
        self._written.empty = "the text, each word the model wrote shaded by its probability"
        self._branches = BranchRows(classes="branches")
        self._words: list[Word] = []
        self._candidates: Bars | None = None
        self._candidates_of: dict[str, Any] = {}
        self._likeliest_due = 0

    def compose(self) -> ComposeResult:
        """Its parts from top to bottom."""
        yield self.bar
        yield self._memory
        yield self._line
        yield self.said
        yield self._actions
        yield self.chips
        with Horizontal(classes="beside"):
            yield self._bars
            with Vertical(classes="written"):
                yield self._written
                yield self._branches

    def on_mount(self) -> None:
        """Everything as it stands before the first answer."""
        self.watch(self._line, "value", self._line_changed, init=False)
        self._draw_passage()
        self.draw_said()
        self.wonder()

    def on_resize(self) -> None:
        """Lines are cut to the new width."""
        self.draw_said()
        self._draw_branches()

    # --- candidates ---------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        """Show the candidates for the next word."""
        if not isinstance(panel, Bars):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with candidates")
            return
        self._candidates, self._candidates_of = panel, self.asked_with()
        self._show_read(panel)
        fill_bars(self._bars, panel)
        self.bar.show_figure(panel.figure)
        super().answered(panel)
        if self._likeliest_due:
            self._likeliest_due -= 1
            self._append_likeliest()

    def _show_read(self, panel: Bars) -> None:
        """As long as nobody has set a text, the line and the memory show the one that this model has read in its place."""
        read = {name: clean(str(text)) for name, text in panel.read.items()}
        shown = {self.option.name: self.passage.text, self.stage.before: self.passage.before} | self.options | read
        text, before = str(shown[self.option.name]), str(shown[self.stage.before])
        if (text, before) != (self.passage.text, self.passage.before):
            self.passage.show_instead(text, before)
            self._memory.show_text(before)
            self._show_line()
            self._draw_passage()

    def refused(self, words: str) -> None:
        """Say why there are no candidates."""
        self._likeliest_due = 0
        super().refused(words)

    def _fresh(self) -> Bars | None:
        """The candidates, if they are those of the text as it stands."""
        return self._candidates if self._candidates is not None and self._candidates_of == self.asked_with() else None

    def _append_candidate(self, position: int) -> None:
        panel = self._fresh()
        if panel is None or position >= len(panel.labels):
            self.say("these candidates are of an earlier text; pick again when they have followed")
            self.wonder()
            return
        text = panel.appends[position] if position < len(panel.appends) else " " + panel.labels[position]
        self.passage.keep()
        appended = self.passage.append(text, panel.values[position])
        self._text_changed()
        if not appended:
            self.say(FULL)

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
        if self._writer is not None and self._writer.writing:
            self._stop()
        else:
            self._write(int(self.bar.values.get("words", 40)))

    def action_sampled(self) -> None:
        """Append one word, drawn by its probability."""
        if self._writer is None or not self._writer.writing:
            self._write(1)

    def _write(self, count: int) -> None:
        if self._writer is None:
            self.say("this model cannot write on; escape, then a candidate's number, appends it")
        elif self.ask is None:
            self.say(self.silence)
        else:
            self.passage.keep()
            self.run_worker(self._write_on(self._writer, self.ask, count), name="write", group="write")

    async def _write_on(self, writer: Writer, ask: Ask, count: int) -> None:
        writer.writing = True
        self._draw_actions()
        problem = await writer.write(ask, count, {**self.options, **self.bar.values}, partial(self._text_changed, following=False))
        if not writer.writing and self.is_attached:
            self._draw_actions()
            self.wonder()
            if problem:
                self.say(problem)

    def _stop(self) -> None:
        self._likeliest_due = 0
        if self._writer is not None and self._writer.writing:
            self._writer.stop()
            self._draw_actions()

    # --- going back, and branches -------------------------------------------------------------------------------------------------

    def action_undo(self) -> None:
        """The former text."""
        self._stop()
        if self.passage.undo():
            self._text_changed()

    def action_branch(self, point: int | None = None) -> None:
        """Keep this continuation beside and go on from where it began; what was writing goes on writing."""
        was_writing = self._writer is not None and self._writer.writing
        self._stop()
        if self.passage.branch(point):
            self._text_changed()
            if was_writing:
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

    # --- a memory of what was read before -----------------------------------------------------------------------------------------

    def action_read_on(self) -> None:
        """Read the line into the memory; the next part is typed in its place."""
        self._stop()
        if self.passage.read_on():
            self._text_changed()
        else:
            few = not self.passage.text.strip()
            self.say("type a part of the text first; then it is read into the memory" if few else MEMORY_FULL)

    def action_empty(self) -> None:
        """Forget what was read before, and see the prediction change."""
        self._stop()
        if self.passage.remember(""):
            self._text_changed()

    # --- typing -------------------------------------------------------------------------------------------------------------------

    def _line_changed(self, text: str) -> None:
        """Called at once when the line changes, so that no word that is being written can overtake what was typed."""
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
        self.note(f"kept the first {event.kept:,} of {event.pasted:,} characters pasted; the text may hold {LONGEST:,}")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_generate()

    def action_write(self) -> None:
        """Go to the line."""
        self._line.focus()

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab."""
        if self.option.name in values and values[self.option.name] != self.passage.text:
            self.passage.typed(clean(str(values[self.option.name])))
            self._text_changed()
        if self.stage.before in values and self.passage.remember(str(values[self.stage.before])):
            self._text_changed()
        super().set_options(values)

    @on(Flow.Pressed, ".actions, .branches")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        if event.flow is self._branches:
            self._switch(int(event.target))
        else:
            getattr(self, "action_" + event.target)()

    def set_digits(self, free: bool) -> None:
        """Candidates carry numbers only where a digit picks them."""
        self._bars.numbered = free

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are named where they mean something."""
        remembers = bool(self.stage.before)
        known = {"write": not self._line.has_focus, "switch": len(self.passage.branches) > 1, "read_on": remembers, "empty": remembers}
        return known.get(action, True)

    def commands(self) -> list[Command]:
        """For the palette."""
        doings = self._actions.doings(can_write=self._writer is not None, remembers=bool(self.stage.before))
        return [(f"{words} ({key})", help_, getattr(self, "action_" + name)) for name, key, words, help_ in doings]

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def _text_changed(self, *, following: bool = True, from_line: bool = False) -> None:
        self.say("")
        if not from_line:
            self._show_line()
        self._draw_passage()
        self.tell(self.option.name, self.passage.text)
        if self.stage.before:
            self._memory.show_text(self.passage.before)
            self.tell(self.stage.before, self.passage.before)
        if following:
            self.wonder()
        else:
            self.renew()

    def _show_line(self) -> None:
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
        writing = self._writer is not None and self._writer.writing
        memory = self.passage.before if self.stage.before else None
        self._actions.show_for(self.passage, can_write=self._writer is not None, writing=writing, memory=memory)
