"""The line above a prompt that tells what was read before it."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from dlplay.widgets.text import plain


class MemoryLine(Widget):
    """The end of the text that a model with a memory has read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        """What was read before."""

    def show_text(self, text: str) -> None:
        """Another text was read."""
        self.text = text
        self.refresh()

    def render(self) -> Content:
        """Its end, where the prompt follows."""
        if not self.text:
            return Content("nothing was read before: type a part, read it into the memory, type the next")
        text = plain(self.text)
        head = f"read before ({len(self.text):,} characters)  "
        room = max(8, self.content_size.width - len(head))
        return Content(head + (text if len(text) <= room else "…" + text[1 - room :]))
