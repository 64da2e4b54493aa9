"""Something went wrong: what, why and what to do, in text that can be copied."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from dlplay.screen.dialogs.dialog import Choice, Dialog


class FailureDialog(Dialog[bool | None]):
    """The text can be selected with the mouse, or copied with c. `offer` names a way out; the dialog returns True when it was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "copy", show=False), Binding("a", "accept", "accept", show=False)]

    def __init__(self, title: str, why: str, remedy: str, offer: str = "") -> None:
        super().__init__()
        self.heading = title
        self.why = why
        self.remedy = remedy[:1].upper() + remedy[1:]
        self.offer = offer
        offered = (Choice("a", offer, "accept"),) if offer else ()
        self.choices = (Choice("esc", "close", "cancel"), *offered, Choice("c", "copy this text", "copy"))

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join(part for part in (self.heading, self.why, self.remedy) if part)

    def body(self) -> ComposeResult:
        if self.why:
            yield Static(Content(self.why), classes="dialog-text")
        if self.remedy:
            yield Static(Content.assemble("\n" if self.why else "", (self.remedy, "$text-success")), classes="dialog-text")

    def action_accept(self) -> None:
        if self.offer:
            self.dismiss(True)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.text)
        self.notify("copied", timeout=2)
