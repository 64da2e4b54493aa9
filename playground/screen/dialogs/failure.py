"""Something went wrong: what, why and what to do, in words that can be copied."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from playground.screen.dialogs.dialog import Choice, Dialog


class FailureDialog(Dialog[None]):
    """The text can be marked with the mouse, or copied whole with c."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "copy", show=False),
        Binding("enter", "dismiss_none", "close", show=False),
    ]
    choices = (Choice("esc", "close", "dismiss_none"), Choice("c", "copy these words", "copy"))

    def __init__(self, title: str, words: str, remedy: str) -> None:
        super().__init__()
        self.heading = title
        self.words = words
        self.remedy = remedy[:1].upper() + remedy[1:]

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join(part for part in (self.heading, self.words, self.remedy) if part)

    def body(self) -> ComposeResult:
        if self.words:
            yield Static(Content(self.words), classes="dialog-words")
        if self.remedy:
            yield Static(Content.assemble("\n" if self.words else "", (self.remedy, "$text-success")), classes="dialog-words")

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.text)
        self.notify("copied", timeout=2)
