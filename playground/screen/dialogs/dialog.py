"""A quiet panel over the playground: a title, words, and choices that each have a key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Choice:
    key: str
    words: str
    action: str
    """Action of the dialog."""


class ChoiceRow(Widget, can_focus=True):
    """One choice; pressed with its key, with enter, or with the mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "choose", show=False)]

    class Pressed(Message):
        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.choice = choice

    def render(self) -> Content:
        return Content.assemble(
            ("▸" if self.has_focus else " ", "$text-accent"), (f"{self.choice.key:<6} ", "bold $text-accent"), self.choice.words, " "
        )

    def action_press(self) -> None:
        self.post_message(self.Pressed(self.choice))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_press()


class Dialog(ModalScreen[R]):
    """Base of the dialogs. A subclass names `heading`, `choices` and composes its words in `body`.

    The ground is opaque: through a translucent one Textual would send the whole screen again whenever anything below it changes.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss_none", "close", show=False),
        Binding("up", "app.focus_previous", "up", show=False),
        Binding("down", "app.focus_next", "down", show=False),
    ]
    choices: tuple[Choice, ...] = ()
    heading = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content.styled(self.heading, "bold"), classes="dialog-title")
            yield from self.body()
            with Vertical(classes="dialog-choices"):
                for choice in self.choices:
                    yield ChoiceRow(choice)

    def body(self) -> ComposeResult:
        """What stands between the title and the choices."""
        yield from ()

    def action_dismiss_none(self) -> None:
        self.dismiss(None)

    async def on_choice_row_pressed(self, event: ChoiceRow.Pressed) -> None:
        event.stop()
        await self.run_action(event.choice.action)
