"""One line above a panel: its title at the left, the figure that matters at the right."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class TitleLine(Widget):
    """The figure gives way to the title where there is no room for both."""

    DEFAULT_CSS = "TitleLine { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    title = reactive("")
    figure = reactive("")

    def __init__(self, title: str, figure: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(TitleLine.title, title)
        self.set_reactive(TitleLine.figure, figure)

    def render(self) -> Content:
        room = self.content_size.width - len(self.title) - len(self.figure)
        if room < 2:
            return Content.styled(self.title, "bold")
        return Content.assemble((self.title, "bold"), " " * room, (self.figure, "$foreground"))
