"""What all widgets here share: rows painted once, compared with those on the screen, and only the changed ones sent again."""

from __future__ import annotations

from itertools import takewhile
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from dlplay.widgets.palette import Palette
from dlplay.widgets.text import fit

Row = list[Segment]


class Surface(Widget, can_focus=True):
    """A widget drawn through the Line API. A subclass says what its rows are (`paint`) and calls `repaint` when they may have changed."""

    DEFAULT_CSS: ClassVar[str] = """
    Surface { height: 1fr; width: 1fr; min-height: 1; }
    """

    ALLOW_SELECT = False  # a drag means something else here than marking text

    empty: str = "nothing to show yet"
    """What an empty widget says: what will appear, and which key makes it appear."""

    def __init__(self, *, empty: str | None = None, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        if empty is not None:
            self.empty = empty
        self._strips: list[Strip] = []
        self._painted_for: tuple[int, int, int] | None = None

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """The rows, each a list of styled segments; short ones are padded, long ones cut. An empty list shows the `empty` text."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Paint again and send the rows that differ. Before the widget has a size, and while it is not shown, nothing is painted."""
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
                self._strips[y] = old  # keeps what it has cached
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
        """The row `y` as it was painted last."""
        if self._painted_for is None or self._painted_for[:2] != self.size:
            self._paint_all()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, Palette.of(self).blank)

    def render_lines(self, crop: Region) -> list[Strip]:
        """All rows of a region; paints first when size, theme or background have changed since."""
        if self._painted_for != self._key():
            self._paint_all()
            self._styles_cache.clear()
        return super().render_lines(crop)

    def watch_has_focus(self, has_focus: bool) -> None:
        """The cursor is seen only while the widget has the focus."""
        super().watch_has_focus(has_focus)
        self.repaint()

    # Textual refreshes the whole of a widget that gains or loses the focus; here what looks the same is not sent again.

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
    """First and one past the last cell in which two strips of one width differ; None when they are equal."""
    before, after = list(old), list(new)
    if before == after:
        return None
    start = _shared(before, after, False)
    return start, max(start + 1, new.cell_length - _shared(before, after, True))


def _shared(before: Row, after: Row, from_end: bool) -> int:
    """Cells that two different rows share at the start, or at the end."""
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


def message_rows(message: str, width: int, height: int, palette: Palette) -> list[Row]:
    """A quiet message in the middle, wrapped at words."""
    lines: list[str] = []
    line = ""
    for word in message.split():
        if line and cell_len(line) + 1 + cell_len(word) > max(1, width - 2):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines = [*lines, line][:height]
    style = palette.style("muted")
    top: list[Row] = [[] for _ in range((height - len(lines)) // 2)]
    return top + [[Segment(fit(" " * max(0, (width - len(line)) // 2) + line, width), style)] for line in lines]


def status_row(left: str, width: int, palette: Palette, right: str = "", strong: bool = False) -> Row:
    """The line under a widget: a readout at the left, what is out of sight at the right."""
    right = fit(f" {right}", min(width, cell_len(right) + 1)) if right else ""
    room = max(0, width - cell_len(right))
    return [Segment(fit(left, room), palette.style("text" if strong else "muted")), Segment(right, palette.style("muted"))]


def out_of_sight(above: int, below: int, what: str = "") -> str:
    """Words for what scrolling would show: `3 above ↑  12 more ↓`, or with `what` for one of them `3 lines above ↑`."""

    def counted(count: int) -> str:
        return f"{count} {what}{'s' * (count > 1)}" if what else str(count)

    return "  ".join(
        words for words in (f"{counted(above)} above ↑" if above > 0 else "", f"{counted(below)} more ↓" if below > 0 else "") if words
    )


def overlay(row: Row, start: int, text: str, style: Style) -> Row:
    """The row with text written over it from cell `start` on; as it was when the text does not fit."""
    strip = Strip(row)
    end = start + cell_len(text)
    if start < 0 or end > strip.cell_length:
        return row
    return [*(strip.crop(0, start) if start else ()), Segment(text, style), *(strip.crop(end) if end < strip.cell_length else ())]


def pieces(segments: list[tuple[int, str, str]], width: int, palette: Palette) -> Row:
    """A row from `(column, text, colour name)` that do not overlap, spaces between."""
    row: Row = []
    at = 0
    for column, text, name in sorted(segments):
        if column < at or column >= width:
            continue
        if column > at:
            row.append(Segment(" " * (column - at), palette.blank))
        row.append(Segment(text, palette.style(name)))
        at = column + len(text)
    return row
