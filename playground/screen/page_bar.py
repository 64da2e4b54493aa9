"""The pages of a tab in a small window, each with its key."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class PageBar(Widget):
    """One line; a click turns to the page."""

    DEFAULT_CSS = "PageBar { height: 1; padding: 0 1; text-wrap: nowrap; }"

    page = reactive("")

    class Chosen(Message):
        def __init__(self, number: str) -> None:
            super().__init__()
            self.number = number

    def __init__(self, pages: list[tuple[str, str]]) -> None:
        super().__init__()
        self._pages = pages

    def render(self) -> Content:
        parts: list[Content] = []
        for number, name in self._pages:
            here = number == self.page
            parts.append(
                Content.assemble((f" {number} ", "$text-accent"), (f"{name}", "bold underline" if here else "$foreground 60%"), "  ")
            )
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        at = 1  # the padding
        for number, name in self._pages:
            width = len(number) + 2 + len(name) + 1
            if at <= event.x < at + width:
                self.post_message(self.Chosen(number))
            at += width + 1
