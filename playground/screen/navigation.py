"""Where one is: the line of tabs at the top of the window, and the line of pages at the top of a tab in a small window."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

QUIET = "$text-muted"


class TabBar(Widget):
    """The architectures at the left, the device at the right.

    Titles that do not fit are dropped at the end that is further from the active one; `‹` and `›` mark the place.
    """

    DEFAULT_CSS = "TabBar { height: 1; background: $panel; text-wrap: nowrap; }"

    active = reactive("")
    device = reactive("")
    marks: reactive[dict[str, str]] = reactive(dict)
    """A sign in the space before a tab's title, such as ▶ where something is training; no title moves for it."""

    @dataclasses.dataclass
    class Chosen(Message):
        name: str

    def __init__(self, titles: dict[str, str], id: str | None = None) -> None:
        super().__init__(id=id)
        self.titles = titles
        self._spans: list[tuple[int, int, str]] = []

    def render(self) -> Content:
        width = self.size.width
        names, need = list(self.titles), {name: cell_len(title) + 2 for name, title in self.titles.items()}
        device = self.device if sum(need.values()) + len(self.device) + 3 <= width else self.device.split("  ")[0]
        if sum(need.values()) + len(device) + 3 > width:
            device = ""
        room = width - (len(device) + 2 if device else 0)
        first, last = 0, len(names)
        active = names.index(self.active) if self.active in names else 0
        while sum(need[name] for name in names[first:last]) + 4 * (first > 0 or last < len(names)) > room and last - first > 1:
            if active - first >= last - 1 - active:
                first += 1
            else:
                last -= 1
        parts: list[Content] = [Content.styled("‹ ", QUIET)] if first else []
        x, self._spans = 2 if first else 0, []
        for name in names[first:last]:
            style = "bold underline" if name == self.active else QUIET
            mark = self.marks.get(name)
            parts += [Content.styled(mark, style) if mark else Content(" "), Content.styled(self.titles[name], style), Content(" ")]
            self._spans.append((x, x + need[name], name))
            x += need[name]
        if last < len(names):
            parts.append(Content.styled(" ›", QUIET))
            x += 2
        parts += [Content(" " * max(width - x - len(device) - 1, 0)), Content.styled(device, QUIET)]
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        for start, stop, name in self._spans:
            if start <= event.x < stop:
                self.post_message(self.Chosen(name))


class PageBar(Widget):
    """The pages of a tab, each with its key."""

    DEFAULT_CSS = "PageBar { height: 1; padding: 0 1; text-wrap: nowrap; }"

    page = reactive("")

    @dataclasses.dataclass
    class Chosen(Message):
        number: str

    def __init__(self, pages: list[tuple[str, str]]) -> None:
        super().__init__()
        self._pages = pages

    def render(self) -> Content:
        parts: list[Content] = []
        for number, name in self._pages:
            style = "bold underline" if number == self.page else QUIET
            parts.append(Content.assemble((f" {number} ", "$text-accent"), (name, style), "  "))
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        for number, start, stop in self._spans():
            if start <= event.x < stop:
                self.post_message(self.Chosen(number))

    def place(self, number: str) -> Offset | None:
        """Where a page's key stands on the screen; None while the line is not shown."""
        if not self.region.area:
            return None
        return next((self.region.offset + Offset(start + 1, 0) for page, start, _ in self._spans() if page == number), None)

    def _spans(self) -> Iterator[tuple[str, int, int]]:
        """Each page with its first column and the one past its last."""
        x = 1  # the padding
        for number, name in self._pages:
            width = len(number) + 2 + len(name) + 1
            yield number, x, x + width
            x += width + 1
