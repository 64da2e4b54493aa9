"""The top line: the architectures at the left, the device at the right."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class TabBar(Widget):
    """Names that do not fit move out at the side that is further from the active one; `‹` and `›` say so."""

    DEFAULT_CSS = "TabBar { height: 1; background: $panel; text-wrap: nowrap; }"

    active = reactive("")
    device = reactive("")
    marks: reactive[dict[str, str]] = reactive(dict)
    """A sign before a tab's title, such as ▶ where something is training."""

    class Chosen(Message):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, titles: dict[str, str], id: str | None = None) -> None:
        super().__init__(id=id)
        self.titles = titles
        self._spans: list[tuple[int, int, str]] = []

    def render(self) -> Content:
        width = self.size.width
        labels = {name: (self.marks.get(name, "") + " " if self.marks.get(name) else "") + title for name, title in self.titles.items()}
        names, need = list(labels), {name: cell_len(label) + 2 for name, label in labels.items()}
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
        parts: list[Content] = [Content.styled("‹ ", "$foreground 60%")] if first else []
        at, self._spans = 2 if first else 0, []
        for name in names[first:last]:
            style = "bold underline" if name == self.active else "$foreground 60%"
            parts += [Content(" "), Content.styled(labels[name], style), Content(" ")]
            self._spans.append((at, at + need[name], name))
            at += need[name]
        if last < len(names):
            parts.append(Content.styled(" ›", "$foreground 60%"))
            at += 2
        parts += [Content(" " * max(width - at - len(device) - 1, 0)), Content.styled(device, "$foreground 60%")]
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        for start, stop, name in self._spans:
            if start <= event.x < stop:
                self.post_message(self.Chosen(name))
