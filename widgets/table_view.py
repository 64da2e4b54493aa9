"""A table: rows of text in aligned columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from dlplay.widgets.drawing.palette import Palette, to_levels
from dlplay.widgets.drawing.rows import Row, out_of_sight, status_row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit, plain


class TableView(Surface):
    """Up and down move the cursor row, which posts `Moved`; enter or a click posts `Selected`.

    With `click_moves` a click on another row than the cursor's only moves it there. Where there is too little room, columns of text keep
    `narrowest` cells.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("left", "shift(-1)", "columns left", show=False),
        Binding("right", "shift(1)", "columns right", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    class Selected(Message):
        """A row was chosen."""

        def __init__(self, widget: TableView, row: int) -> None:
            super().__init__()
            self.widget, self.row = widget, row

        @property
        def control(self) -> TableView:
            return self.widget

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, widget: TableView) -> None:
            super().__init__()
            self.widget = widget

        @property
        def control(self) -> TableView:
            return self.widget

    class HeadClicked(Message):
        """The name of a column was clicked."""

        def __init__(self, widget: TableView, column: int) -> None:
            super().__init__()
            self.widget, self.column = widget, column

        @property
        def control(self) -> TableView:
            return self.widget

    def __init__(
        self,
        *,
        empty: str = "nothing to show yet",
        click_moves: bool = False,
        narrowest: int = 8,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.click_moves, self.narrowest = click_moves, narrowest
        self.columns: list[str] = []
        self.rows: list[list[str]] = []
        self.cursor = 0
        self.marked: set[int] = set()
        """Rows that bear a sign before them."""
        self._right: set[int] = set()
        self._natural: list[int] = []
        """Cells that the widest text of each column takes."""
        self._shades: NDArray[np.intp] | None = None
        self._first = 0
        self._left = 0
        self._seen = 0
        self._drawn_widths: list[int] = []

    def show(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        right: Sequence[int] = (),
        shades: ArrayLike | None = None,
        marked: Iterable[int] = (),
    ) -> None:
        """Show rows of text.

        The columns in `right` are aligned to the right, and the rows in `marked` have a mark. `shades` (rows, columns) in 0..1 colour the
        cells; NaN leaves one uncoloured. Raises `ValueError` when they are not a matrix.
        """
        self.columns, self.rows = [plain(c) for c in columns], [[plain(cell) for cell in row] for row in rows]
        self._right, self.marked = set(right), set(marked)
        count = max([len(self.columns), *(len(row) for row in self.rows)], default=0)
        self._natural = [max((cell_len(row[i]) for row in (self.columns, *self.rows) if i < len(row)), default=0) for i in range(count)]
        self._shades = None if shades is None else to_levels(shades, 0, 1)
        if self._shades is not None and self._shades.ndim != 2:
            raise ValueError(f"shades are a matrix (rows, columns), not an array of shape {self._shades.shape}")
        self.cursor = min(self.cursor, max(0, len(self.rows) - 1))
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.columns and not self.rows:
            return []
        widths = self._drawn_widths = self._widths(width - 1, palette)
        rows: list[Row] = []
        if height >= 2 and self.columns:
            rows.append([Segment(" ", palette.blank), *self._cells(self.columns, widths, palette, None)])
        room = height - len(rows)
        hidden_columns = sum(w == 0 for w in widths)
        self._seen = len(self.rows) if len(self.rows) + bool(hidden_columns) <= room else max(1, room - 1)
        self._first = max(0, min(self._first, len(self.rows) - self._seen))
        for index in range(self._first, min(len(self.rows), self._first + self._seen)):
            here = self.has_focus and index == self.cursor
            sign = "●" if index in self.marked else "▸" if here else " "
            rows.append([Segment(sign, palette.style("accent", bold=True)), *self._cells(self.rows[index], widths, palette, index)])
        status = out_of_sight(self._first, len(self.rows) - self._first - self._seen)
        if hidden_columns:
            status = f"{status}  {hidden_columns} column{'s' * (hidden_columns > 1)} ← →".strip()
        if status and len(rows) < height:
            rows += [[] for _ in range(height - 1 - len(rows))]
            rows.append(status_row("", width, palette, status))
        return rows

    def _widths(self, width: int, palette: Palette) -> list[int]:
        """Cells for each column: its widest text. If that does not fit, columns of text become narrower, then those at the right get 0.
        The first column says what a row is: it keeps half of the width, and stays in view when the others are shifted."""
        count = len(self._natural)
        extra = 1 if palette.shaded and self._shades is not None else 0
        widths = [natural + extra for natural in self._natural]
        self._left = max(0, min(self._left, count - 2))
        text = [i for i in range(count) if i not in self._right]
        least = [max(self.narrowest, min(widths[0], width // 2)) if i == 0 else self.narrowest for i in range(count)]
        over = sum(widths) + 2 * (count - 1) - width
        while over > 0 and (wide := [i for i in text if widths[i] > least[i]]):
            widest = max(wide, key=lambda i: widths[i])
            widths[widest] -= 1
            over -= 1
        if over <= 0:
            self._left = 0
            return widths
        used, first = 0, self._left + 1
        for i in range(count):
            fits = i == 0 or (i >= first and (used == widths[0] + 2 or used + widths[i] <= width))
            widths[i] = min(widths[i], max(0, width - used)) if fits else 0
            used += widths[i] + 2 if fits else 0
            if i >= first and not fits:
                used = width  # a later column must not take the place of this one
        return widths

    def _cells(self, cells: Sequence[str], widths: list[int], palette: Palette, index: int | None) -> Row:
        row: Row = []
        here = index is not None and self.has_focus and index == self.cursor
        style = palette.style("muted") if index is None else palette.style("accent" if here else "text", bold=here)
        for i, width in enumerate(widths):
            if not width:
                continue
            text = cells[i] if i < len(cells) else ""
            level = self._level(index, i, palette)
            cell_style = style
            if level is not None:
                if palette.shaded:
                    text = palette.levels.shades[level] + text
                else:
                    cell_style = palette.levels.text(level, bold=here)
            row.append(Segment(fit(text, width, right=i in self._right), cell_style))
            row.append(Segment("  ", palette.blank))
        return row[:-1]

    def _level(self, index: int | None, column: int, palette: Palette) -> int | None:
        shades = self._shades
        if shades is None or index is None or index >= shades.shape[0] or column >= shades.shape[1]:
            return None
        level = int(shades[index, column])
        return None if level == palette.levels.nothing else level

    def action_move(self, by: int) -> None:
        if self.rows:
            self.cursor = min(max(self.cursor + by, 0), len(self.rows) - 1)
            self._first = min(max(self._first, self.cursor - self._seen + 1), self.cursor)
            self.repaint()
            self.post_message(self.Moved(self))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self._seen - 1))

    def action_shift(self, by: int) -> None:
        """Scroll to other columns, if not all fit."""
        self._left += by
        self.repaint()

    def action_select(self) -> None:
        if self.rows:
            self.post_message(self.Selected(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        head = 1 if self.size.height >= 2 and self.columns else 0
        line = event.get_content_offset_capture(self).y - head
        if line < 0 and (column := self._column_at(event.get_content_offset_capture(self).x)) is not None:
            self.post_message(self.HeadClicked(self, column))
        if 0 <= line < self._seen and self._first + line < len(self.rows):
            there, self.cursor = self.cursor == self._first + line, self._first + line
            self.repaint()
            self.post_message(self.Selected(self, self.cursor) if there or not self.click_moves else self.Moved(self))

    def _column_at(self, x: int) -> int | None:
        """The column that is drawn at `x`."""
        start = 1
        for column, width in enumerate(self._drawn_widths):
            if width and start <= x < start + width + 2:
                return column
            start += width + 2 if width else 0
        return None

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(event, -1)

    def _scroll(self, event: events.MouseEvent, by: int) -> None:
        first = max(0, min(self._first + by, len(self.rows) - self._seen))
        if first != self._first:
            event.stop()
            self._first = first
            self.repaint()
