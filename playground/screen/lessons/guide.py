"""The guide: a pane that shows a lesson's step, asks, does what the step does with one key, and says what of it holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from dlplay import architectures
from dlplay.lessons.condition import Verdict
from dlplay.lessons.evidence import shown
from dlplay.lessons.found import settings_of
from dlplay.lessons.lesson import Claim, Step
from dlplay.screen.flow import Flow, Group, Piece
from dlplay.screen.leaving import EndsItsWork
from dlplay.screen.lessons.play import Play

LOOK_SECONDS = 0.25
"""Between two looks at the runs while the step is being done."""


class GuidePane(EndsItsWork, Vertical, can_focus=True):
    """Docked in the tab on which the present step is taken, which stays usable. It has the keys while it has the focus."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "do it, go on"),
        Binding("backspace", "back", "step back", key_display="⌫"),
        Binding("1,2,3,4", "nothing", "guess", show=False),
        Binding("escape", "leave", "leave the lesson"),
        Binding("up", "read(-1)", "scroll", show=False),
        Binding("down", "read(1)", "scroll", show=False),
    ]

    class Left(Message):
        """The lesson is left, or over."""

    @dataclasses.dataclass
    class Finished(Message):
        """The last step is done."""

        lesson: str

    class Elsewhere(Message):
        """The step is taken on another architecture's tab."""

    def __init__(self, play: Play) -> None:
        super().__init__(id="guide")
        self.play = play
        self._title = Flow(id="guide-title")
        self._text = Static(id="guide-text")
        self._scroll = VerticalScroll(self._text, id="guide-scroll", can_focus=False)
        self._keys = Flow(id="guide-keys")
        self._drawn: tuple[str, str] = ("", "")

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._scroll
        yield self._keys

    def on_mount(self) -> None:
        self.draw()
        self.set_interval(LOOK_SECONDS, self.look)
        self.play.tab.call_after_refresh(self.focus)  # behind what the tab meant to focus when it was opened

    def look(self) -> None:
        """Read what the lesson's runs have recorded since, and draw what is new of it."""
        if self.play.phase in ("doing", "done"):
            self.play.poll()
        self.draw()

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw what has changed."""
        play = self.play
        self.set_class(not play.tab.paged, "-wide")
        self.display = not play.tab.has_class("-small")
        number = f"step {play.at + 1} of {len(play.lesson.steps)}" if play.phase != "finished" else "done"
        self._title.show_title(play.lesson.title)
        self._title.show_figure(number)
        self._title.mark_title(self.has_focus)
        self._keys.show(self._chips())
        text = Content("\n").join(self._lines())
        if (drawn := (text.markup, str(self.size))) != self._drawn:
            self._drawn = drawn
            self._text.update(text)
            if play.phase in ("doing", "done"):  # what is new stands at the end
                self._scroll.scroll_end(animate=False)

    def _lines(self) -> list[Content]:
        play, phase = self.play, self.play.phase
        if phase == "finished":
            return [Content.assemble(("✓ ", "$text-success"), f"{play.lesson.promise} n lists the other lessons.")]
        step = play.step
        lines = [Content(" ".join(step.text.split()))]
        if (question := step.question) is not None:
            lines.append(Content.assemble(("? ", "bold $text-accent"), (question.text, "bold")))
            if (right := play.revealed) is not None:
                guess, answer = (question.choices[at - 1] for at in (play.guesses[play.at], question.answer))
                lines.append(
                    Content.assemble(("✓ ", "$text-success"), f"as you guessed: {answer}")
                    if right
                    else Content.assemble(("✗ ", "$text-warning"), f"you guessed: {guess}; it is: {answer}")
                )
            elif play.at in play.guesses:
                lines.append(Content.styled(f"your guess: {question.choices[play.guesses[play.at] - 1]}", "$text-muted"))
        if phase == "doing" and (words := play.progress()):
            lines.append(Content.styled(words, "$text-muted"))
        if phase in ("doing", "done"):
            lines += [_claim(claim, verdict, final=phase == "done") for claim, verdict in play.verdicts()]
        if problem := play.problem or play.broken():
            lines.append(Content.styled(problem, "$text-error"))
        return lines

    def _chips(self) -> list[Group]:
        """What can be done now, to be read and clicked."""
        play, phase = self.play, self.play.phase
        if phase == "asking" and play.step.question is not None:
            return [_chip(str(number), choice) for number, choice in enumerate(play.step.question.choices, start=1)]
        chips = []
        if phase == "finished":
            chips = [_chip("enter", "close")]
        elif not play.in_own_tab:
            chips = [_chip("enter", f"go to {architectures.card(play.room).title}")]
        elif phase == "ready" or (phase == "doing" and play.broken()):
            chips = [_chip("enter", _deed(play) + (" again" if phase == "doing" else ""))]
        elif phase == "done":
            last = play.at + 1 == len(play.lesson.steps)
            chips = [_chip("enter", "finish the lesson" if last else "next step")]
        if play.at or phase == "finished":
            chips.append(_chip("backspace", "step back", "⌫"))
        return [*chips, _chip("escape", "leave", "esc")]

    # --- keys ---------------------------------------------------------------------------------------------------------------------

    async def key_1(self) -> None:
        self._guess(1)

    async def key_2(self) -> None:
        self._guess(2)

    async def key_3(self) -> None:
        self._guess(3)

    async def key_4(self) -> None:
        self._guess(4)

    def action_nothing(self) -> None:
        """The digits answer the question (`key_1` …); while none is asked they do nothing here."""

    def _guess(self, choice: int) -> None:
        if self.play.guess(choice):
            self.draw()

    def action_go(self) -> None:
        play, phase = self.play, self.play.phase
        if phase == "finished":
            self.post_message(self.Left())
        elif not play.in_own_tab and phase != "asking":
            self.post_message(self.Elsewhere())
        elif phase == "ready" or (phase == "doing" and play.broken()):
            self._do()
        elif phase == "done":
            play.next()
            self._scroll.scroll_home(animate=False)
            if play.phase == "finished":
                self.post_message(self.Finished(play.lesson.name))
        self.draw()

    @work(exclusive=True)
    async def _do(self) -> None:
        await self.play.do()
        self.look()

    def action_read(self, by: int) -> None:
        self._scroll.scroll_relative(y=by, animate=False)

    def action_back(self) -> None:
        self.play.back()
        self.draw()

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def on_focus(self) -> None:
        self.draw()

    def on_blur(self) -> None:
        self.draw()

    @on(Flow.Pressed, "#guide-keys")
    async def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        self.focus()
        if event.target.isdecimal():
            self._guess(int(event.target))
        else:
            await self.run_action({"enter": "go", "backspace": "back", "escape": "leave"}[event.target])


def _chip(key: str, words: str, shown_key: str = "") -> Group:
    return (Piece(f"{shown_key or key} ", "flow--arrow", key), Piece(words, "flow--plain", key))


def _claim(claim: Claim, verdict: Verdict, *, final: bool) -> Content:
    """A claim: while it trains with its values so far, at the end with what became of it."""
    values = (f"  {shown(verdict)}", "$text-muted") if verdict.values else ""
    if not final or verdict.holds is None:
        return Content.assemble(("· ", "$text-muted"), (f"to be seen: {claim.holds}", "$text-muted"), values)
    if verdict.holds:
        return Content.assemble(("✓ ", "$text-success"), claim.text, values)
    return Content.assemble(("✗ ", "$text-warning"), f"Not this time: {claim.holds} does not hold here.", values)


def _deed(play: Play) -> str:
    """What enter does, in words."""
    step: Step = play.step
    if step.train:
        steps = f"train it, {settings_of(play.lesson, step.train).steps:,} steps"
        seeds = play.lesson.runs[step.train].seeds
        return steps if seeds == 1 else f"{steps} with each of {seeds} seeds"
    card = architectures.card(play.room)
    if step.show is not None:
        return f"show {card.panel(step.show.panel).title}"
    if step.act is not None:
        title = next(action.title for action in card.actions if action.name == step.act.action)
        return f"{title}, {step.act.times} times" if step.act.times > 1 else title
    if step.overlay:
        return "lay the curves over each other"
    return "make the range test" if step.find_lr else "set it"
