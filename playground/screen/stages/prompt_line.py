"""The line in which a text is typed, for the prompt and the token line. A pasted text becomes one line, of at most `MAX_LENGTH`."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets.input import Selection

from dlplay.screen.line_input import LineInput
from dlplay.widgets.drawing.text import plain

MAX_LENGTH = 8_000
"""Characters that a text may hold; models of this size look back at a few hundred at most."""


class PromptLine(LineInput):
    """Takes every key that types; `escape` or `down` leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave the line", key_display="esc"),
        Binding("down", "leave", "leave the line", show=False),
    ]

    class Left(Message):
        """The person wants to leave the line."""

    @dataclasses.dataclass
    class Shortened(Message):
        """More was pasted than the line may hold."""

        kept: int
        pasted: int

    def __init__(self, text: str, placeholder: str = "type the start of a text") -> None:
        super().__init__(text, placeholder=placeholder, compact=True, max_length=MAX_LENGTH, select_on_focus=False)

    # A model may generate a line break or a tab. Such a character is shown by a sign, as in the panels, and stays in the value as it is.
    # Textual draws `_value`, and asks the other two methods where a character stands.

    @property
    def _value(self) -> Text:
        return Text(plain(self.value), no_wrap=True, overflow="ignore", end="")

    def _position_to_cell(self, position: int) -> int:
        return cell_len(plain(self.value[:position]))

    def _cell_offset_to_index(self, offset: int) -> int:
        offset += self.scroll_offset.x
        for index, character in enumerate(plain(self.value)):
            offset -= cell_len(character)
            if offset < 0:
                return index
        return len(self.value)

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        start, end = sorted(self.selection)
        room = MAX_LENGTH - len(self.value) + end - start
        text = clean(event.text)[:room]
        self.replace(text, start, end)
        if len(text) < len(event.text):
            self.post_message(self.Shortened(len(text), len(event.text)))

    def select_text(self) -> None:
        """Select what stands in the line, so that typing replaces it; an arrow key keeps it."""
        self.selection = Selection(0, len(self.value))

    def action_leave(self) -> None:
        self.post_message(self.Left())


def clean(text: str) -> str:
    """A pasted or loaded text as one line without control characters, at most `MAX_LENGTH` characters of it."""
    start = text[: 4 * MAX_LENGTH]
    line = "".join(character if character.isprintable() else " " for character in start)
    return line[:MAX_LENGTH]
