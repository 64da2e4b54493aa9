"""The base class of the widgets: rows are painted once and compared with those on the screen, and only what changed is sent."""

from __future__ import annotations

from itertools import takewhile
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row, message_rows


class Surface(Widget, can_focus=True):
    """A widget drawn through the Line API. A subclass implements `paint` and calls `repaint` when its rows may have changed."""

    DEFAULT_CSS: ClassVar[str] = """
    Surface { height: 1fr; width: 1fr; min-height: 1; }
    """

    ALLOW_SELECT = False  # dragging does not select text in these widgets

    empty: str = "nothing to show yet"
    """The text of an empty widget: what will appear, and which key makes it appear."""

    def __init__(self, *, empty: str | None = None, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        if empty is not None:
            self.empty = empty
        self._strips: list[Strip] = []
        self._painted_for: tuple[int, int, int] | None = None

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """The widget's rows; short ones are padded, long ones cut. An empty list shows the `empty` text."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Paint again and send the cells that differ. Does nothing before the widget has a size and while it is not displayed."""
        width, height = self.size
        if not self.is_attached or not width or not height or not self.display:
            self._painted_for = None
            return
        before, key = self._strips, self._painted_for
        self._paint_all()
        if key != self._painted_for or len(before) != len(self._strips):
            self.refresh()
            return
        left, top = self.gutter.left, self.gutter.top
        regions = []
        for y, (old, new) in enumerate(zip(before, self._strips, strict=True)):
            span = changed_cells(old, new)
            if span is None:
                self._strips[y] = old  # keeps its cache
            else:
                regions.append(Region(left + span[0], top + y, span[1] - span[0], 1))
        if regions:
            self.refresh(*regions)

    def _key(self) -> tuple[int, int, int]:
        return (*self.size, id(Palette.of(self)))

    def _paint_all(self) -> None:
        width, height = self.size
        palette = Palette.of(self)
        self._painted_for = self._key()
        rows = self.paint(width, height, palette)[:height] or message_rows(self.empty, width, height, palette)
        blank = palette.blank
        strips = [Strip(row).adjust_cell_length(width, blank) for row in rows]
        self._strips = strips + [Strip.blank(width, blank)] * (height - len(strips))

    def render_line(self, y: int) -> Strip:
        if self._painted_for is None or self._painted_for[:2] != self.size:
            self._paint_all()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, Palette.of(self).blank)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Paints first if the size, the theme or the background has changed."""
        if self._painted_for != self._key():
            self._paint_all()
            self._styles_cache.clear()
        return super().render_lines(crop)

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.repaint()  # the cursor is shown only while the widget has the focus

    # Textual refreshes the whole of a widget that gains or loses the focus; here, only the cells that differ are sent.

    def _on_focus(self, event: events.Focus) -> None:
        event.prevent_default()
        self.has_focus = True
        if self.parent is not None:
            self.parent.post_message(events.DescendantFocus(self))

    def _on_blur(self, event: events.Blur) -> None:
        event.prevent_default()
        self.has_focus = False
        if self.parent is not None:
            self.parent.post_message(events.DescendantBlur(self))


def changed_cells(old: Strip, new: Strip) -> tuple[int, int] | None:
    """First and one past the last cell in which two strips of the same width differ; None when they are equal."""
    before, after = list(old), list(new)
    if before == after:
        return None
    start = _equal_cells(before, after, False)
    return start, max(start + 1, new.cell_length - _equal_cells(before, after, True))


def _equal_cells(before: Row, after: Row, from_end: bool) -> int:
    """How many cells of two different rows are equal at the start, or at the end."""
    cells = 0
    for a, b in zip(*((reversed(before), reversed(after)) if from_end else (before, after)), strict=False):
        if a == b:
            cells += a.cell_length
            continue
        if a.style == b.style:
            texts = (reversed(a.text), reversed(b.text)) if from_end else (a.text, b.text)
            cells += cell_len("".join(c for c, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))))
        break
    return cells
