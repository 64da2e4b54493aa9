"""A line of text with clickable pieces: a title at the left, pieces that wrap, a figure at the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget


class Piece(NamedTuple):
    """Some text in one style; with a `target` it can be clicked."""

    text: str
    style: str = "flow--plain"
    target: str = ""


Group = tuple[Piece, ...]
"""Pieces that stay on one line together."""


class _Placed(NamedTuple):
    x: int
    piece: Piece


MAX_SLACK = 12
"""Cells that may be left empty so that a shortened text ends with a whole word."""
GAP = 2
"""Cells between two groups."""


class Flow(Widget):
    """Groups of pieces, laid out in as many lines as they need; those that do not fit beside the title go below it."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "flow--title",
        "flow--figure",
        "flow--plain",
        "flow--quiet",
        "flow--strong",
        "flow--chosen",
        "flow--arrow",
        "flow--marked",
        "flow--hover",
    }

    class Pressed(Message):
        """A piece was clicked."""

        def __init__(self, flow: Flow, target: str) -> None:
            super().__init__()
            self.flow = flow
            self.target = target

        @property
        def control(self) -> Flow:
            return self.flow

    def __init__(self, title: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self._shorter: tuple[str, ...] = ()
        self.figure = ""
        self.focused_title = False
        self._groups: Sequence[Group] = ()
        self._hover = ""
        self._rows: list[list[_Placed]] = []
        self._laid_out_for: tuple[int, str, str] | None = None

    def show(self, groups: Sequence[Group]) -> None:
        if tuple(groups) != tuple(self._groups):
            self._groups = tuple(groups)
            self._changed()

    def show_title(self, title: str, *shorter: str) -> None:
        """Show another title at the left end, or where there is no room the first of the `shorter` ones that fits; the last is cut."""
        if (title, shorter) != (self.title, self._shorter):
            self.title, self._shorter = title, shorter
            self._changed()

    def show_figure(self, figure: str) -> None:
        """Show a figure at the right end."""
        if figure != self.figure:
            self.figure = figure
            self._changed()

    def mark_title(self, focused: bool) -> None:
        """Mark the title while the part that it names has the focus."""
        self.focused_title = focused
        self.refresh()

    def _changed(self) -> None:
        rows_before = len(self._rows)
        self._laid_out_for = None
        if not self.is_attached:
            return
        self._lay_out(self.size.width or 80)
        self.refresh(layout=len(self._rows) != rows_before)

    # --- layout -------------------------------------------------------------------------------------------------------------------

    def _lay_out(self, width: int) -> list[list[_Placed]]:
        key = (width, self.title, self.figure)
        if self._laid_out_for == key:
            return self._rows
        self._laid_out_for = key
        figure_at = width - cell_len(self.figure)
        rows: list[list[_Placed]] = [[]]
        x = 0
        if self.title:
            room = max(1, figure_at - (1 if self.figure else 0))
            titles = self.title, *self._shorter
            text = next((title for title in titles if cell_len(title) <= room), fit(titles[-1], room))
            rows[0].append(_Placed(0, Piece(text, "flow--title")))
            x = cell_len(text) + GAP
        edge = figure_at - GAP if self.figure else width
        for group in self._groups:
            length = sum(cell_len(piece.text) for piece in group)
            if x and x + length > edge:
                rows.append([])
                x, edge = 0, width
            for piece in group:
                rows[-1].append(_Placed(x, piece))
                x += cell_len(piece.text)
            x += GAP
        if self.figure:
            rows[0].append(_Placed(max(0, figure_at), Piece(self.figure, "flow--figure")))
        self._rows = rows
        return rows

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lay_out(width))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        rows = self._lay_out(width)
        if y >= len(rows):
            return Strip.blank(width, base)
        segments: list[Segment] = []
        end = 0
        for x, piece in rows[y]:
            if x > end:
                segments.append(Segment(" " * (x - end), base))
            style = self.get_component_rich_style(piece.style)
            if piece.style == "flow--title" and self.focused_title:
                style = self.get_component_rich_style("flow--chosen")
            if piece.target and piece.target == self._hover:
                style += self.get_component_rich_style("flow--hover", partial=True)
            segments.append(Segment(piece.text, style))
            end = max(end, x) + cell_len(piece.text)
        return Strip(segments, end).adjust_cell_length(width, base)

    # --- the mouse ----------------------------------------------------------------------------------------------------------------

    def place(self, target: str) -> tuple[int, int] | None:
        """Column and row of a piece, in cells from the top left corner; None when it is not there."""
        for y, row in enumerate(self._lay_out(self.size.width or 80)):
            for x, piece in row:
                if piece.target == target:
                    return x, y
        return None

    def _target_at(self, x: int, y: int) -> str:
        rows = self._lay_out(self.size.width)
        if not 0 <= y < len(rows):
            return ""
        return next((piece.target for left, piece in rows[y] if left <= x < left + cell_len(piece.text)), "")

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        target = self._target_at(*offset) if offset is not None else ""
        if target:
            event.stop()
            self.post_message(self.Pressed(self, target))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        offset = event.get_content_offset(self)
        self._set_hover(self._target_at(*offset) if offset is not None else "")

    def on_leave(self) -> None:
        self._set_hover("")

    def _set_hover(self, target: str) -> None:
        if target != self._hover:
            self._hover = target
            self.refresh()


def fit(text: str, width: int) -> str:
    """`text` in at most `width` cells, shortened with an ellipsis, after a whole word if one ends nearby."""
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"
    cut = set_cell_size(text, width - 1)
    whole = cut.rpartition(" ")[0].rstrip(" ,;:.")
    return (whole if len(cut) - len(whole) <= MAX_SLACK and whole else cut.rstrip()) + "…"
