"""What the stages have in common: they put one question about what was typed or drawn, and show the newest answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from textual.containers import Container
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from playground.engine.card import Card, PanelCard
from playground.engine.panels import AnyPanel
from playground.engine.settings import Field, fields
from playground.runs.client import RunError

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

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(id=id)
        assert card.stage is not None
        self.card = card
        self.stage = card.stage
        self.options = options
        self.question: PanelCard = card.panel(self.stage.panel)
        self.option: Field = next(field for field in fields(self.question.options) if field.name == self.stage.option)
        self._ask: Ask | None = None
        self._asking = False
        self._stale = False
        self._asked_at = 0.0
        self._renewal: Timer | None = None
        self._untold: dict[str, Any] = {}
        self._telling: Timer | None = None

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
            wait = max(0.0, self._asked_at + RENEW_SECONDS - time.monotonic())
            self._renewal = self.set_timer(wait, self._renew_now)

    def _renew_now(self) -> None:
        self._renewal = None
        if self.can_be_seen():
            self.wonder()

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab."""
        self.options.update(values)
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
        raise NotImplementedError

    def refused(self, words: str) -> None:
        """There is no answer, and why."""
        raise NotImplementedError

    def nobody_answers(self) -> None:
        """There is no process to ask."""
        self.refused(NO_MODEL)

    # --- telling the others -------------------------------------------------------------------------------------------------------

    def tell(self, name: str, value: Any) -> None:
        """Set an option for the whole tab; the other panels hear of it a moment later, once for several changes."""
        if self.options.get(name) == value:
            return
        self.options[name] = value
        self._untold[name] = value
        if self._telling is None:
            self._telling = self.set_timer(TELL_SECONDS, self._tell_now)

    def _tell_now(self) -> None:
        self._telling = None
        values, self._untold = self._untold, {}
        self.post_message(self.OptionsChanged(self, values))
