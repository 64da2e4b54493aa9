"""What the stages have in common: they put one question about what was typed or drawn, and show the newest answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from playground.engine.card import Card, PanelCard
from playground.engine.panels import AnyPanel
from playground.engine.settings import Field, fields
from playground.runs.client import RunError
from playground.screen.flow import fit
from playground.screen.options_bar import STEPPING, OptionsBar

Ask = Callable[[str, dict[str, Any]], Awaitable[AnyPanel]]

RENEW_SECONDS = 0.25
"""Between two questions that are put because the model went on learning."""
TELL_SECONDS = 0.15
"""Between two messages about what was typed or drawn, so that fast typing does not flood the other panels."""
NO_MODEL = "no model to ask yet: space trains one, o loads one"


class ActionStage(Container):
    """Base of the prompt and the pad.

    One question is in flight at a time; what changes meanwhile is asked next, and an answer to anything but the newest question is
    dropped. `options` is the tab's dictionary of options; what the stage changes in it is told by `OptionsChanged`.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(STEPPING)
    LOW: ClassVar[int] = 0
    """Rows from which there is room for a line of words that tells of no problem."""

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

    def __init__(self, card: Card, options: dict[str, Any], title: str, more: Sequence[Field] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        assert card.stage is not None
        self.card = card
        self.stage = card.stage
        self.options = options
        self.question: PanelCard = card.panel(self.stage.panel)
        self.option: Field = next(field for field in fields(self.question.options) if field.name == self.stage.option)
        own = [field for field in fields(self.question.options) if field.name != self.option.name]
        self.bar = OptionsBar([*own, *more], title)
        """The options of the question, `more` behind them."""
        self.bar.set_values(options)
        self.said = Static("", classes="said", markup=False)
        self.caption = ""
        """What the newest answer says of itself."""
        self._refusal = ""
        self._note = ""
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
        self.bar.mark_title(True)

    def on_descendant_blur(self) -> None:
        """The focus has left."""
        self.bar.mark_title(False)

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

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab."""
        self.options.update(values)
        self.bar.set_values(values)
        if set(values) & {field.name for field in fields(self.question.options)}:
            self.wonder()

    def can_be_seen(self) -> bool:
        """Whether neither the stage nor what it stands in is hidden."""
        return self.is_attached and all(node.display for node in self.ancestors_with_self if isinstance(node, Widget))

    def on_show(self) -> None:
        """The page came to the front, and what it shows may be old."""
        self.wonder()

    # --- questions ----------------------------------------------------------------------------------------------------------------

    def wonder(self) -> None:
        """Put the question as it stands now; while one is in flight, right after it."""
        if self.ask is None:
            self.nobody_answers()
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
        names = {field.name for field in fields(self.question.options)}
        return {name: value for name, value in self.options.items() if name in names}

    def answered(self, panel: AnyPanel) -> None:
        """The newest answer."""
        self.caption, self._refusal = panel.caption, ""
        self.draw_said()

    def refused(self, words: str) -> None:
        """There is no answer, and why."""
        self._refusal = words
        self.draw_said()

    def nobody_answers(self) -> None:
        """There is no process to ask."""
        self.refused(NO_MODEL)

    # --- the line of words --------------------------------------------------------------------------------------------------------

    def say(self, note: str) -> None:
        """Tell of something that a person did; empty takes it back."""
        if note != self._note:
            self._note = note
            self.draw_said()

    def quiet_words(self) -> str:
        """What the line says while nothing is wrong."""
        return self.caption

    def draw_said(self) -> None:
        """What went wrong, else a quiet word where there is room for one."""
        problem = self._note or self._refusal
        self.said.display = bool(problem) or self.size.height >= self.LOW
        self.said.set_class(bool(problem), "problem")
        text = f"✗ {problem}" if problem else self.quiet_words()
        self.said.update(fit(text.replace("\n", " "), max(10, self.said.size.width or self.size.width)))

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

    def action_step(self, position: int, by: int) -> None:
        """Change an option by one step."""
        self.bar.step(position, by)

    def action_edit(self) -> None:
        """Type the first option's value; tab goes on to the next."""
        self.bar.edit()

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
