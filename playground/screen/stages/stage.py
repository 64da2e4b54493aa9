"""What all stages share: they ask one question about what a person typed or drew, and show the newest answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
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
from dlplay.runs.client import NotAnswered, RunError
from dlplay.screen.flow import Flow, Group, Piece, fit
from dlplay.screen.leaving import EndsItsWork
from dlplay.screen.panels.options_bar import STEPPING, OptionsBar, question
from dlplay.screen.run.run_link import NO_MODEL

Ask = Callable[[str, dict[str, Any]], Awaitable[AnyPanel]]
"""Answers the question of a panel, given its name and options. Raises `RunError`, whose message can be shown."""

Command = tuple[str, str, Callable[[], None]]
"""Something that the stage itself can do: its label with its key, one line of help, and what does it."""


class Act(Protocol):
    """Does an action, given its name and options; returns its answer, or None. Raises `RunError`, whose message can be shown."""

    def __call__(self, name: str, options: dict[str, Any], *, urgent: bool = False) -> Awaitable[AnyPanel | None]: ...


ASK_SECONDS = 0.5
"""Between two questions that are asked because training has changed the model; what stands below the stage comes with each answer."""
BEHIND_SECONDS = 2.0
"""Between two pictures behind the stage that training has changed: most of their cells have to be sent."""
MODEL_WIDTH = 32
"""Cells that the name of the model may take."""
TALL_ROWS = 17
"""From so many rows, and where it is not four times as wide as it is high, a stage stacks its parts."""
ROOMY_ROWS = 20
"""From so many rows the message may take two."""
POST_SECONDS = 0.15
"""Between two `OptionsChanged`, so that fast typing does not flood the other panels."""


class ActionStage(EndsItsWork, Container):
    """The base of all stages.

    One question is in flight at a time. What changes meanwhile is asked next, and an answer to an older question is dropped. `options`
    is the tab's own dictionary of options; the stage posts `OptionsChanged` when it has changed some.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(STEPPING)
    ROWS_FOR_MESSAGE: ClassVar[int] = 0
    """Rows from which there is room for a message line even when there is no problem."""
    MAX_MESSAGE_LINES: ClassVar[int] = 1
    """Lines that the message may take when there is a problem."""

    stage: Stage
    """The card's description of it."""

    @dataclasses.dataclass
    class OptionsChanged(Message):
        """The stage changed options that other panels may have as well."""

        values: dict[str, Any]

    @dataclasses.dataclass
    class ActionChosen(Message):
        """One of the card's actions was clicked."""

        name: str

    def __init__(self, card: Card, options: dict[str, Any], title: str, more: Sequence[Field] = (), *, id: str | None = None) -> None:
        """`more` are options to show behind those of the question."""
        super().__init__(id=id)
        assert card.stage is not None
        self.card = card
        self.stage = card.stage
        self.options = options
        self.question: PanelCard = card.panel(self.stage.panel)
        self.option: Field = next(field for field in fields(self.question.options) if field.name == self.stage.option)
        own = [field for field in fields(self.question.options) if field.name not in self.stage.by_hand]
        self._title = title
        self.bar = OptionsBar([*own, *more], title)
        self.bar.set_values(options)
        self.message = Static("", classes="message", markup=False)
        self.chips = Flow(classes="chips")
        """The card's actions, to be clicked."""
        self.chips.show([_chip(action) for action in self.listed_actions()])
        self.chips.display = bool(self.listed_actions())
        self.unavailable = NO_MODEL
        """Why no model can answer, while `ask` is None."""
        self.ask_seconds = ASK_SECONDS
        """Between two questions while training; longer where an answer takes a long time to send."""
        self.act: Act | None = None
        """Does an action; None while no model can."""
        self.caption = ""
        """The caption of the newest answer."""
        self.remark = ""
        """What a person has to know of the newest answer, however little room there is."""
        self._refusal = ""
        self._answered_options: dict[str, Any] | None = None
        """The options of the question whose answer is shown."""
        self._problem = self._notice = ""
        self._ask: Ask | None = None
        self._asking = False
        self._stale = False
        self._asked_at = 0.0
        self._behind: dict[str, Any] | None = None
        """Options of the picture that stands behind; None before there is one of this model's."""
        self._behind_at = 0.0
        self._next_behind: asyncio.TimerHandle | None = None
        self._behind_is_old = False
        """Training has changed the model since then."""
        # not Textual's timers: one that fires once never does so if the machine is too busy at the moment it is set
        self._next_question: asyncio.TimerHandle | None = None
        self._unposted: dict[str, Any] = {}
        self._next_post: asyncio.TimerHandle | None = None

    def on_resize(self) -> None:
        self.set_class(self.stacks(), "-tall")

    def stacks(self) -> bool:
        """Whether its parts stand one below the other, not side by side."""
        return self.size.height >= TALL_ROWS and self.size.width < 4 * self.size.height

    def on_descendant_focus(self) -> None:
        self.bar.mark_title(self.has_focus_within)

    def on_descendant_blur(self) -> None:
        # the focus may have moved within the stage, and that event may come first
        self.bar.mark_title(self.has_focus_within)

    # --- what the tab calls -------------------------------------------------------------------------------------------------------

    @property
    def ask(self) -> Ask | None:
        """Answers a question; None while no model can."""
        return self._ask

    @ask.setter
    def ask(self, ask: Ask | None) -> None:
        self._ask, self._behind = ask, None
        if self.is_mounted:
            self.call_later(self.ask_question)

    def show_model(self, model: str) -> None:
        """Name the model that answers behind the title, or alone where there is no room for both; empty while none does."""
        if not model:
            self.bar.show_title(self._title)
            return
        name = model.partition(" at step ")[0]
        with_step = [f"{self._title} · {model}"] if len(model) <= MODEL_WIDTH else []
        self.bar.show_title(*with_step, f"{self._title} · {fit(name, MODEL_WIDTH)}", fit(name, MODEL_WIDTH))

    def set_unavailable(self, why: str) -> None:
        """Why no model can answer, to be shown while none can."""
        if why != self.unavailable:
            self.unavailable = why
            self.draw_message()

    def model_changed(self) -> None:
        """Training has changed the model: ask again, but not so often that it slows training down."""
        self._behind_is_old = True
        if self._next_question is None and self.ask is not None:
            wait = max(0.01, self._asked_at + self.ask_seconds - time.monotonic())
            self._next_question = asyncio.get_running_loop().call_later(wait, self._ask_if_seen)

    def _ask_if_seen(self) -> None:
        self._next_question = None
        if self.can_be_seen():
            self.ask_question()
        elif self.is_attached and self.app.screen is not self.screen:  # a dialog covers it, and no event tells when that is closed
            self._next_question = asyncio.get_running_loop().call_later(self.ask_seconds, self._ask_if_seen)

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab."""
        self.options.update(values)
        self.bar.set_values(values)
        if set(values) & {field.name for field in fields(self.question.options)}:
            self.ask_question()

    def can_be_seen(self) -> bool:
        """Whether it is not hidden by another page, a maximised part or a dialog."""
        if not self.is_attached or self.app.screen is not self.screen:
            return False
        maximised = self.screen.maximized
        if maximised is not None and maximised not in self.ancestors_with_self and self not in maximised.ancestors:
            return False
        return all(node.display for node in self.ancestors_with_self if isinstance(node, Widget))

    def set_digit_keys(self, available: bool) -> None:
        """Whether the stage may use digit keys; in a small window they turn pages."""

    def set_forward_pass(self, shown: bool) -> None:
        """Whether the forward pass, whose last layer is the stage's own answer, stands below it."""

    def commands(self) -> list[Command]:
        """What the stage adds to the command palette."""
        return []

    # --- the card's actions -------------------------------------------------------------------------------------------------------

    def listed_actions(self) -> list[ActionCard]:
        """The card's actions that can be clicked; a stage leaves out those that it does in its own way."""
        return list(self.card.actions)

    def handles(self, name: str) -> bool:
        """Whether the stage does this action of the card in its own way; if so, it has begun."""
        return False

    def after_action(self, action: ActionCard, panel: AnyPanel | None) -> None:
        """An action was done, and `panel` is its answer."""
        self.show_notice(f"{action.title}: done, and marked on the curves" if action.lasting else "")
        self.ask_question()

    @on(Flow.Pressed, ".chips")
    def _chip_pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        event.prevent_default()
        self.post_message(self.ActionChosen(event.target))

    # --- questions ----------------------------------------------------------------------------------------------------------------

    def on_show(self) -> None:
        self.ask_question()  # the answer may have become old while another page was shown

    def ask_question(self) -> None:
        """Ask with the options as they are now; if a question is in flight, right after it is answered."""
        if self.ask is None:
            self.draw_message()
            return
        self._stale = True
        if not self._asking:
            self._asking = True
            self.begin(self._keep_asking, "ask")

    async def _keep_asking(self) -> None:
        try:
            while self._stale and self.ask is not None:
                self._stale = False
                self._asked_at = time.monotonic()
                options = self.question_options()
                try:
                    panel = await self.ask(self.question.name, options)
                except (RunError, OSError) as error:
                    if not self._stale:
                        self.refused(str(error))
                    if isinstance(error, NotAnswered):
                        self.model_changed()  # asked again, until it answers
                    continue
                if options == self.question_options():
                    self.answered(panel)
                    await self._ask_behind()
                else:
                    self._stale = True
        finally:
            self._asking = False

    async def _ask_behind(self) -> None:
        """Ask for the picture that stands behind, where the options have changed, or a while ago the model. Why there is none the question
        tells."""
        if not self.stage.shows or self.ask is None:
            return
        options, now = self.options_behind(), time.monotonic()
        if options == self._behind:
            wait = self._behind_at + BEHIND_SECONDS - now if self._behind_is_old else 0.0
            if wait > 0 and self._next_behind is None:
                self._next_behind = asyncio.get_running_loop().call_later(wait, self._behind_is_due)
            if wait > 0 or not self._behind_is_old:
                return
        with contextlib.suppress(RunError, OSError):
            self._behind_is_old = False
            panel = await self.ask(self.stage.shows, options)
            self._behind, self._behind_at = options, now
            self.show_behind(panel)

    def _behind_is_due(self) -> None:
        self._next_behind = None
        if self.can_be_seen():
            self.ask_question()

    def options_behind(self) -> dict[str, Any]:
        """Those of the tab's options that the picture behind takes."""
        return question(self.card.panel(self.stage.shows).options, self.options)

    def show_behind(self, panel: AnyPanel) -> None:
        """Show the picture that stands behind what a person does."""

    def question_options(self) -> dict[str, Any]:
        """Those of the tab's options that the question takes."""
        return question(self.question.options, self.options)

    def answered(self, panel: AnyPanel) -> None:
        """Show the newest answer."""
        self.caption, self.remark = panel.caption, panel.remark
        self._refusal, self._answered_options = "", self.question_options()
        self.draw_message()

    def refused(self, why: str) -> None:
        """Say why there is no answer."""
        self._refusal = why
        self.draw_message()

    # --- the message line ---------------------------------------------------------------------------------------------------------

    def show_problem(self, problem: str) -> None:
        """Say why something that a person tried is not possible; empty removes the message."""
        if problem != self._problem or self._notice:
            self._problem, self._notice = problem, ""
            self.draw_message()

    def show_notice(self, notice: str) -> None:
        """Say that something was done, until the next thing that a person does."""
        self._problem, self._notice = "", notice
        self.draw_message()

    def idle_message(self) -> str:
        """The message while there is neither a problem nor a notice."""
        return self.caption

    def draw_message(self) -> None:
        """Show the problem, else the notice, else the idle message if there is room."""
        problem = self._problem or (self._refusal if self.ask is not None else "")
        unavailable = self.unavailable if self.ask is None else ""
        self.message.display = bool(problem or self._notice or unavailable or self.remark) or self.size.height >= self.ROWS_FOR_MESSAGE
        self.message.set_class(bool(problem), "problem")
        # once no model can answer, the last answer still holds for the options it was asked with
        stale = bool(self._refusal) if self.ask is not None else self._answered_options != self.question_options()
        self.set_class(self._answered_options is not None and stale, "-stale")
        text = f"✗ {problem}" if problem else f"✓ {self._notice}" if self._notice else unavailable or self.remark or self.idle_message()
        lines = max(self.MAX_MESSAGE_LINES if problem or self._notice else 1, 2 if self.size.height >= ROOMY_ROWS else 1)
        width = max(10, self.message.size.width or self.size.width)
        self.message.update(fit(text.replace("\n", " "), width if lines == 1 else lines * (width - 6)))

    # --- options ------------------------------------------------------------------------------------------------------------------

    @on(OptionsBar.Changed)
    def _option_changed(self, event: OptionsBar.Changed) -> None:
        event.stop()
        self.show_problem("")
        self.set_option(event.name, event.value)
        self.ask_question()

    @on(OptionsBar.Refused)
    def _option_refused(self, event: OptionsBar.Refused) -> None:
        event.stop()
        self.show_problem(event.why)

    def action_step(self, by: int) -> None:
        self.bar.step(self.bar.marked, by)

    def action_mark(self, by: int) -> None:
        self.bar.mark(by)

    def action_edit(self) -> None:
        self.bar.edit(self.bar.marked)

    def set_option(self, name: str, value: Any) -> None:
        """Set an option for the whole tab; the other panels are told a moment later, once for several changes."""
        if self.options.get(name) == value:
            return
        self.options[name] = value
        self._unposted[name] = value
        if self._next_post is None:
            self._next_post = asyncio.get_running_loop().call_later(POST_SECONDS, self._post_options)

    def _post_options(self) -> None:
        self._next_post = None
        values, self._unposted = self._unposted, {}
        self.post_message(self.OptionsChanged(values))


def _chip(action: ActionCard) -> Group:
    """An action as its key and its title."""
    key = (Piece(action.key + " ", "flow--quiet", action.name),) if action.key else ()
    return (*key, Piece(action.title, "flow--plain", action.name))
