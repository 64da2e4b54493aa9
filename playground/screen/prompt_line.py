"""The line in which a prompt is typed. A pasted text becomes one line, and no longer than a passage may be."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from dlplay.screen.line_input import LineInput
from dlplay.screen.passage import LONGEST, clean
from dlplay.widgets.text import plain


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

    # A model may write a line break or a tab: it is shown by a sign, as in the panels, and stays in the value as it is. Textual draws
    # `_value`, and asks the other two where a character stands.

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
        room = LONGEST - len(self.value) + end - start
        text = clean(event.text)[:room]
        self.replace(text, start, end)
        if len(text) < len(event.text):
            self.post_message(self.Shortened(len(text), len(event.text)))

    def action_leave(self) -> None:
        """Give the keys back."""
        self.post_message(self.Left())
