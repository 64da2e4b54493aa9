"""Something went wrong: what, why and what to do, in text that can be copied."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from dlplay.screen.dialogs.dialog import TYPING_SECONDS, Choice, Dialog


class FailureDialog(Dialog[str | None]):
    """The text can be selected with the mouse, or copied with c. `offers` are ways out, keys with what they do; the dialog returns the key
    of the one that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "copy", show=False),
        Binding("r", "take('r')", "start over", show=False),
        Binding("s", "take('s')", "resume", show=False),
    ]

    def __init__(self, title: str, why: str, remedy: str, offers: Mapping[str, str]) -> None:
        super().__init__()
        self.heading = title
        self.why = why
        self.remedy = remedy[:1].upper() + remedy[1:]
        self.offers = offers
        offered = (Choice(key, words, f"take('{key}', True)") for key, words in offers.items())
        self.choices = (Choice("esc", "close", "cancel"), *offered, Choice("c", "copy this text", "copy"))
        self._opened: float | None = None
        """When it opened, where somebody was typing then."""

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join(part for part in (self.heading, self.why, self.remedy) if part)

    def body(self) -> ComposeResult:
        if self.why:
            yield Static(Content(self.why), classes="dialog-text")
        if self.remedy:
            yield Static(Content.assemble("\n" if self.why else "", (self.remedy, "$text-success")), classes="dialog-text")

    def on_mount(self) -> None:
        below = self.app.screen_stack[-2].focused
        self._opened = time.monotonic() if isinstance(below, Input) else None

    def action_take(self, key: str, chosen: bool = False) -> None:
        """`chosen`: its row was pressed. A key may belong to what was being typed when the dialog came."""
        typed = self._opened is not None and time.monotonic() < self._opened + TYPING_SECONDS and not chosen
        if key in self.offers and not typed:
            self.dismiss(key)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.text)
        self.notify("copied", timeout=2)
