"""The line in which a prompt is typed. A pasted text becomes one line, and no longer than a passage may be."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from playground.screen.line_input import LineInput
from playground.screen.passage import LONGEST, clean


class PromptLine(LineInput):
    """Keeps every key that types; `escape` or `down` gives them back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave the line", key_display="esc"),
        Binding("down", "leave", "leave the line", show=False),
    ]

    class Left(Message):
        """The person wants the keys to mean something else again."""

    class Shortened(Message):
        """More was pasted than a passage may hold."""

        def __init__(self, kept: int, pasted: int) -> None:
            super().__init__()
            self.kept = kept
            self.pasted = pasted

    def __init__(self, text: str, placeholder: str = "type the beginning of a text") -> None:
        super().__init__(text, placeholder=placeholder, compact=True, max_length=LONGEST, select_on_focus=False)

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        start, end = sorted(self.selection)
        room = LONGEST - len(self.value) + end - start
        text = clean(event.text)[:room]
        self.replace(text, start, end)
        if len(text) < len(event.text):
            self.post_message(self.Shortened(len(text), len(event.text)))

    def action_leave(self) -> None:
        """Give the keys back."""
        self.post_message(self.Left())
