"""What the stages have in common: they put one question about what was typed or drawn, and show the newest answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from textual import on
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from dlplay.engine.card import ActionCard, Card, PanelCard
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Field, fields
from dlplay.engine.stages import Stage
from dlplay.runs.client import RunError
from dlplay.screen.flow import Flow, Group, Piece, fit
from dlplay.screen.options_bar import STEPPING, OptionsBar, known
from dlplay.screen.run_link import NO_MODEL

Ask = Callable[[str, dict[str, Any]], Awaitable[AnyPanel]]

Command = tuple[str, str, Callable[[], None]]
"""Something that the stage itself can do: its words with its key, one line of help, and what does it."""


class Act(Protocol):
    """How an action is done: its name and options, answered with a panel, or None. Raises `RunError` in words."""

    def __call__(self, name: str, options: dict[str, Any], *, urgent: bool = False) -> Awaitable[AnyPanel | None]:
        """Do it."""


RENEW_SECONDS = 0.25
"""Between two questions that are put because the model went on learning."""
TELL_SECONDS = 0.15
"""Between two messages about what was typed or drawn, so that fast typing does not flood the other panels."""


class ActionStage(Container):
    """Base of the prompt, the tokens, the pad, the plane and the environment.

    One question is in flight at a time; what changes meanwhile is asked next, and an answer to anything but the newest question is
    dropped. `options` is the tab's dictionary of options; what the stage changes in it is told by `OptionsChanged`.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(STEPPING)
    LOW: ClassVar[int] = 0
    """Rows from which there is room for a line of words that tells of no problem."""

    stage: Stage
    """The card's own description of it."""

    MOST_LINES: ClassVar[int] = 1
    """Lines that the words may take when they tell of a problem."""

    class OptionsChanged(Message):
        """The stage changed options that other panels know as well."""

        def __init__(self, stage: ActionStage, values: dict[str, Any]) -> None:
            super().__init__()
            self.stage = stage
            self.values = values

        @property
        def control(self) -> ActionStage:
            """The stage."""
            return self.stage

    class ActionChosen(Message):
        """One of the card's actions is to be done."""

        def __init__(self, stage: ActionStage, name: str) -> None:
            super().__init__()
            self.stage = stage
            self.name = name

        @property
        def control(self) -> ActionStage:
            """The stage."""
            return self.stage

    def __init__(self, card: Card, options: dict[str, Any], title: str, more: Sequence[Field] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        assert card.stage is not None
        self.card = card
        self.stage = card.stage
        self.options = options
        self.question: PanelCard = card.panel(self.stage.panel)
        self.option: Field = next(field for field in fields(self.question.options) if field.name == self.stage.option)
        own = [field for field in fields(self.question.options) if field.name not in self.stage.by_hand]
        self.bar = OptionsBar([*own, *more], title)
        """The options of the question, `more` behind them."""
        self.bar.set_values(options)
        self.said = Static("", classes="said", markup=False)
        self.chips = Flow(classes="chips")
        """The card's actions, to be clicked."""
        self.chips.show([chip(action) for action in self.offered()])
        self.chips.display = bool(self.offered())
        self.silence = NO_MODEL
        """Why nobody answers, in words, while there is no `ask`."""
        self.act: Act | None = None
        """How an action is done; None: nobody can."""
        self.caption = ""
        """What the newest answer says of itself."""
        self._refusal = ""
        self._answered: dict[str, Any] | None = None
        """What the answer that is shown was asked with."""
        self._note = self._done = ""
        self._ask: Ask | None = None
        self._asking = False
        self._stale = False
        self._asked_at = 0.0
        # not Textual's timers: one that rings once never rings when the machine is too busy at the moment it is set
        self._renewal: asyncio.TimerHandle | None = None
        self._untold: dict[str, Any] = {}
        self._telling: asyncio.TimerHandle | None = None

    def on_descendant_focus(self) -> None:
        """The title says where the focus is."""
        self.bar.mark_title(self.has_focus_within)

    def on_descendant_blur(self) -> None:
        """The focus has left, perhaps only for another part of the stage: that may be heard of first."""
        self.bar.mark_title(self.has_focus_within)

    # --- what the tab calls -------------------------------------------------------------------------------------------------------

    @property
    def ask(self) -> Ask | None:
        """How a question is put: panel name and options, answered with a panel or an error in words. None: nobody can answer."""
        return self._ask

    @ask.setter
    def ask(self, ask: Ask | None) -> None:
        self._ask = ask
        if self.is_mounted:
            self.call_later(self.wonder)

    def renew(self) -> None:
        """The model is another than it was: ask again, but not more often than is good for training."""
        if self._renewal is None and self.ask is not None:
            wait = max(0.01, self._asked_at + RENEW_SECONDS - time.monotonic())
            self._renewal = asyncio.get_running_loop().call_later(wait, self._renew_now)

    def _renew_now(self) -> None:
        self._renewal = None
        if self.can_be_seen():
            self.wonder()
        elif self.is_attached and self.app.screen is not self.screen:  # a dialog covers it: nobody tells when that is closed
            self._renewal = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew_now)

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab."""
        self.options.update(values)
        self.bar.set_values(values)
        if set(values) & {field.name for field in fields(self.question.options)}:
            self.wonder()

    def can_be_seen(self) -> bool:
        """Whether nothing hides it: its page, another part that fills the window, a dialog."""
        if not self.is_attached or self.app.screen is not self.screen:
            return False
        maximised = self.screen.maximized
        if maximised is not None and maximised not in self.ancestors_with_self and self not in maximised.ancestors:
            return False
        return all(node.display for node in self.ancestors_with_self if isinstance(node, Widget))

    def set_digits(self, free: bool) -> None:
        """Whether digits are free for the stage; in a small window they turn pages."""

    def commands(self) -> list[Command]:
        """What the palette offers of the stage's own."""
        return []

    # --- the card's actions -------------------------------------------------------------------------------------------------------

    def offered(self) -> list[ActionCard]:
        """The card's actions that are done as they are; a stage that does some itself leaves them out."""
        return list(self.card.actions)

    def does(self, name: str) -> bool:
        """Whether the stage does this action of the card itself; if so it has begun to."""
        return False

    def done(self, action: ActionCard, panel: AnyPanel | None) -> None:
        """An action was done, and this was the answer."""
        self.note(f"{action.title}: done, and marked on the curves" if action.lasting else "")
        self.wonder()

    @on(Flow.Pressed, ".chips")
    def _chip_pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        event.prevent_default()
        self.post_message(self.ActionChosen(self, event.target))

    def on_show(self) -> None:
        """The page came to the front, and what it shows may be old."""
        self.wonder()

    # --- questions ----------------------------------------------------------------------------------------------------------------

    def wonder(self) -> None:
        """Put the question as it stands now; while one is in flight, right after it."""
        if self.ask is None:
            self.draw_said()
            return
        self._stale = True
        if not self._asking:
            self._asking = True
            self.run_worker(self._keep_asking(), name="ask", group="ask")

    async def _keep_asking(self) -> None:
        try:
            while self._stale and self.ask is not None:
                self._stale = False
                self._asked_at = time.monotonic()
                question = self.asked_with()
                try:
                    panel = await self.ask(self.question.name, question)
                except (RunError, OSError) as error:
                    if not self._stale:
                        self.refused(str(error))
                    continue
                if question == self.asked_with():
                    self.answered(panel)
                else:
                    self._stale = True
        finally:
            self._asking = False

    def asked_with(self) -> dict[str, Any]:
        """The tab's options as far as the question knows them."""
        return known(self.question.options, self.options)

    def answered(self, panel: AnyPanel) -> None:
        """The newest answer."""
        self.caption, self._refusal, self._answered = panel.caption, "", self.asked_with()
        self.draw_said()

    def refused(self, words: str) -> None:
        """There is no answer, and why."""
        self._refusal = words
        self.draw_said()

    # --- the line of words --------------------------------------------------------------------------------------------------------

    def say(self, problem: str) -> None:
        """Tell what stands in the way of something that a person did; empty takes it back."""
        if problem != self._note or self._done:
            self._note, self._done = problem, ""
            self.draw_said()

    def note(self, words: str) -> None:
        """Tell that something was done; it stands there until the next thing that a person does."""
        self._note, self._done = "", words
        self.draw_said()

    def keep_silent(self, words: str) -> None:
        """Why nobody answers, for as long as nobody does."""
        if words != self.silence:
            self.silence = words
            self.draw_said()

    def quiet_words(self) -> str:
        """What the line says while nothing is wrong."""
        return self.caption

    def draw_said(self) -> None:
        """What went wrong, else what was done, else a quiet word where there is room for one."""
        problem = self._note or (self._refusal if self.ask is not None else "")
        silence = self.silence if self.ask is None else ""
        self.said.display = bool(problem or self._done or silence) or self.size.height >= self.LOW
        self.said.set_class(bool(problem), "problem")
        # where nobody answers any more, what was answered last still holds for what was asked then
        stale = bool(self._refusal) if self.ask is not None else self._answered != self.asked_with()
        self.set_class(self._answered is not None and stale, "-stale")
        text = f"✗ {problem}" if problem else f"✓ {self._done}" if self._done else silence or self.quiet_words()
        lines = self.MOST_LINES if problem else 1
        width = max(10, self.said.size.width or self.size.width)
        self.said.update(fit(text.replace("\n", " "), width if lines == 1 else lines * (width - 6)))

    # --- options ------------------------------------------------------------------------------------------------------------------

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

    def action_step(self, by: int) -> None:
        """Change the marked option by one step."""
        self.bar.step(self.bar.marked, by)

    def action_mark(self, by: int) -> None:
        """Mark the next option, or the one before."""
        self.bar.mark(by)

    def action_edit(self) -> None:
        """Type the marked option's value; tab goes on to the next."""
        self.bar.edit(self.bar.marked)

    # --- telling the others -------------------------------------------------------------------------------------------------------

    def tell(self, name: str, value: Any) -> None:
        """Set an option for the whole tab; the other panels hear of it a moment later, once for several changes."""
        if self.options.get(name) == value:
            return
        self.options[name] = value
        self._untold[name] = value
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_now)

    def _tell_now(self) -> None:
        self._telling = None
        values, self._untold = self._untold, {}
        self.post_message(self.OptionsChanged(self, values))


def chip(action: ActionCard) -> Group:
    """An action as its key and its title."""
    key = (Piece(action.key + " ", "flow--quiet", action.name),) if action.key else ()
    return (*key, Piece(action.title, "flow--plain", action.name))
