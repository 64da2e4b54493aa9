"""Something went wrong: what, why and what to do, in words that can be copied."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from dlplay.screen.dialogs.dialog import Choice, Dialog


class FailureDialog(Dialog[bool | None]):
    """The text can be marked with the mouse, or copied whole with c. `offer` is a way out in words; True is returned when it was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "copy", show=False), Binding("a", "accept", "accept", show=False)]

    def __init__(self, title: str, words: str, remedy: str, offer: str = "") -> None:
        super().__init__()
        self.heading = title
        self.words = words
        self.remedy = remedy[:1].upper() + remedy[1:]
        self.offer = offer
        offered = (Choice("a", offer, "accept"),) if offer else ()
        self.choices = (Choice("esc", "close", "dismiss_none"), *offered, Choice("c", "copy these words", "copy"))

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join(part for part in (self.heading, self.words, self.remedy) if part)

    def body(self) -> ComposeResult:
        """What happened, then what to do."""
        if self.words:
            yield Static(Content(self.words), classes="dialog-words")
        if self.remedy:
            yield Static(Content.assemble("\n" if self.words else "", (self.remedy, "$text-success")), classes="dialog-words")

    def action_accept(self) -> None:
        """Take the way out that was offered."""
        if self.offer:
            self.dismiss(True)

    def action_copy(self) -> None:
        """All words to the clipboard."""
        self.app.copy_to_clipboard(self.text)
        self.notify("copied", timeout=2)
