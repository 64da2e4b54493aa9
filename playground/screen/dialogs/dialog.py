"""The base of the dialogs: a title, some text, and choices that each have a key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from dlplay.screen.leaving import EndsItsWork

R = TypeVar("R")
if TYPE_CHECKING:
    _AnyScreen = Screen[Any]
else:
    _AnyScreen = object


@dataclasses.dataclass(frozen=True)
class Choice:
    key: str
    label: str
    action: str
    """The dialog's action that it runs."""


class ChoiceRow(Widget, can_focus=True):
    """One choice, pressed with enter or the mouse; its key is a binding of the dialog."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "choose", show=False)]

    @dataclasses.dataclass
    class Pressed(Message):
        choice: Choice

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.choice = choice

    def render(self) -> Content:
        return Content.assemble(
            ("▸" if self.has_focus else " ", "$text-accent"), (f"{self.choice.key:<6} ", "bold $text-accent"), self.choice.label, " "
        )

    def action_press(self) -> None:
        self.post_message(self.Pressed(self.choice))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_press()


class Steady(EndsItsWork, _AnyScreen):
    """A mixin for screens that bears what comes a moment too late, for which Textual's raise."""

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Dismiss it, once: a second key may come before it is gone, and would close the screen below."""
        return super().dismiss(result) if self.is_current else AwaitComplete()

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """Where a selection of text begins: not in a part that was removed but is still drawn."""
        widget, offset = super().get_widget_and_offset_at(x, y)
        return (widget, offset) if widget is None or widget.is_attached else (None, None)


class MainScreen(Steady, Screen[None]):
    """The one under all dialogs."""


QUIT = Binding("ctrl+q,f10", "app.quit", "quit", show=False, priority=True)
"""The keys that quit from everywhere: the app's own bindings end at a modal screen."""


HEIGHT = 0.92
"""Of the window, that a dialog may take."""
AROUND, LEAST = 5, 3
"""Rows of a dialog beside its choices and what is scrolled, and those that the latter keeps."""
TYPING_SECONDS = 1.0
"""For which a dialog that nobody expects just then takes no key for a choice: it may belong to what was being typed."""


class Modal(Steady, ModalScreen[R]):
    """A screen that covers the tab until it is dismissed."""

    BINDINGS: ClassVar[list[BindingType]] = [QUIT]


class Dialog(Modal[R]):
    """A subclass sets `heading` and `choices`, and composes its text in `body`.

    The background is opaque: under a translucent one, any change below would make Textual send the whole screen again.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "close", show=False),
        Binding("up", "app.focus_previous", "up", show=False),
        Binding("down", "app.focus_next", "down", show=False),
    ]
    choices: tuple[Choice, ...] = ()
    heading = ""
    scrolled: ClassVar[str] = ""
    """Selector of the part that may be longer than the window: it is scrolled, so that the choices stay in sight."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content.styled(self.heading, "bold"), classes="dialog-title")
            yield from self.body()
            with Vertical(classes="dialog-choices"):
                for choice in self.choices:
                    yield ChoiceRow(choice)

    def body(self) -> ComposeResult:
        """The widgets between the title and the choices."""
        yield from ()

    def on_resize(self) -> None:
        if self.scrolled:
            room = int(HEIGHT * self.app.size.height) - AROUND - len(self.choices)
            for part in self.query(self.scrolled):
                part.styles.max_height = max(LEAST, room)

    def action_cancel(self) -> None:
        self.dismiss(None)

    async def on_choice_row_pressed(self, event: ChoiceRow.Pressed) -> None:
        event.stop()
        await self.run_action(event.choice.action)
