"""A matrix as coloured cells, with labels, a cursor that reads out values, and a colour bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from dlplay.widgets.drawing.cells import colour_key, level_rows, resample
from dlplay.widgets.drawing.palette import Palette, Scale, to_levels
from dlplay.widgets.drawing.rows import Row, overlay
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import figure, fit, plain, width_of
from dlplay.widgets.heat_map_layout import MAX_LABEL, Grid, column_labels, layout, margins


class HeatMap(Surface):
    """A matrix (rows, columns). Arrows move the cursor, enter or a click posts `Selected`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(0, -1)", "left", show=False),
        Binding("right", "move(0, 1)", "right", show=False),
        Binding("up", "move(-1, 0)", "up", show=False),
        Binding("down", "move(1, 0)", "down", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    class Selected(Message):
        """A cell was chosen."""

        def __init__(self, widget: HeatMap, row: int, column: int) -> None:
            super().__init__()
            self.widget, self.row, self.column = widget, row, column

        @property
        def control(self) -> HeatMap:
            return self.widget

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.values: NDArray[np.float64] = np.zeros((0, 0))
        self.cursor: tuple[int, int] | None = None
        self._hover: tuple[int, int] | None = None
        self._grid: Grid | None = None
        self._rows: list[str] = []
        self._columns: list[str] = []
        self._titles = ("", "")
        self._signed = self._counts = self._percent = False
        self._hatched: NDArray[np.bool_] | None = None
        self._range = (0.0, 1.0)

    def show(
        self,
        values: ArrayLike,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        row_title: str = "",
        column_title: str = "",
        signed: bool = False,
        low: float | None = None,
        high: float | None = None,
        counts: bool = False,
        percent: bool = False,
        hatched: ArrayLike | None = None,
    ) -> None:
        """Show a matrix (rows, columns).

        Colours run from `low` to `high`, by default the smallest and the largest value; `signed` makes that range symmetric about zero.
        `counts` prints the values in the cells if they fit, `percent` shows them as percentages; cells that are true in `hatched` (rows,
        columns) are hatched. Raises `ValueError` when `values` is not a matrix, or `hatched` of another shape.
        """
        matrix = np.asarray(values, dtype=np.float64)
        if matrix.ndim != 2:
            raise ValueError(f"a heat map shows a matrix, not an array of shape {matrix.shape}; reshape it to (rows, columns)")
        mask = None if hatched is None else np.asarray(hatched, dtype=np.bool_)
        if mask is not None and mask.shape != matrix.shape:
            raise ValueError(f"hatched has the shape {mask.shape}, and the matrix {matrix.shape}")
        self._hatched = mask
        if matrix.shape != self.values.shape:
            self.cursor = self._hover = None
        self.values = matrix
        self._rows, self._columns = [plain(r) for r in rows], [plain(c) for c in columns]
        self._titles, self._signed, self._counts, self._percent = (row_title, column_title), signed, counts, percent
        finite = matrix[np.isfinite(matrix)]
        least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        self._range = (least if low is None else low, most if high is None else high)
        if signed:
            end = max(abs(self._range[0]), abs(self._range[1]))
            self._range = (-end, end)
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.values.size:
            self._grid = None
            return []
        labels, head = margins(self.values.shape, self._rows, self._columns, width, height)
        text = width_of(self._columns, MAX_LABEL) if head else 0
        if self._counts and self.values.size <= 4096:
            text = max(text, *(len(self._figure(float(v))) for v in self.values.flat))
        self._grid = grid = layout(self.values.shape, width, height, labels, head, text)
        scale = palette.signed if self._signed else palette.levels
        matrix = self.values
        if grid.shrunk:
            matrix = np.asarray(
                resample(matrix, min(matrix.shape[0], grid.pixel_rows), min(matrix.shape[1], grid.pixel_columns)), dtype=np.float64
            )
        levels = to_levels(matrix, *self._range, signed=self._signed)
        pixels = np.asarray(resample(levels, grid.pixel_rows, grid.pixel_columns), dtype=np.intp)
        if self._hatched is not None:  # every second character is left empty; a mean of several values only if all of them are hatched
            mask = resample(self._hatched.astype(np.float64), *levels.shape) == 1
            y, x = np.indices(pixels.shape)
            pixels = np.where(np.asarray(resample(mask, *pixels.shape)) & ((y // 2 + x) % 2 == 0), scale.nothing, pixels)
        body = level_rows(pixels, scale, palette)
        if self._counts and not grid.shrunk:
            self._print_counts(body, levels, grid, scale, palette)
        self._draw_cursor(body, levels, grid, scale, palette)
        rows = [self._column_labels(grid, width, palette)] if head else []
        rows += [[*self._row_labels(y, grid, palette), *row] for y, row in enumerate(body)]
        rows = rows[: height - 1] if height > 1 else rows
        rows += [[] for _ in range(height - 1 - len(rows))]
        return [*rows, self._status(width, palette)] if height > 1 else rows

    # Labels

    def _row_labels(self, y: int, grid: Grid, palette: Palette) -> Row:
        """The label of the row at line `y`; where a line shows two rows, both labels with a bar between them, the upper one first."""
        rows, at = self.values.shape[0], self._at()
        first = 2 * y * rows // grid.pixel_rows
        middle = grid.tall <= 2 or (2 * y) % grid.tall == (grid.tall - 1) // 2 // 2 * 2
        result: Row = []
        labels = [
            self._rows[i] if middle and i < len(self._rows) and (i == first or grid.pixel_rows == rows) else ""
            for i in range(first, first + len(grid.labels))
        ]
        for index, (label, width) in enumerate(zip(labels, grid.labels, strict=True), first):
            ends = "│" if index == first and any(labels[1:]) else " "
            style = palette.style("accent", bold=True) if at is not None and index == at[0] else palette.style("muted")
            result += [Segment(fit(label, width - 1, right=index == first), style), Segment(ends, palette.style("muted"))]
        return result

    def _column_labels(self, grid: Grid, width: int, palette: Palette) -> Row:
        row: Row = [Segment(" " * grid.left, palette.blank)]
        at, free = self._at(), grid.left
        columns = self.values.shape[1]
        largest = np.abs(np.nan_to_num(self.values, posinf=0.0, neginf=0.0)).max(axis=0, initial=0.0).tolist()
        for column, label in column_labels(self._columns[:columns], grid.pixel_columns / columns, largest):
            start = grid.left + column * grid.pixel_columns // columns + max(0, grid.wide - cell_len(label)) // 2
            if start < free or start + cell_len(label) > width:
                continue
            style = palette.style("accent", bold=True) if at and at[1] == column else palette.style("muted")
            row += [Segment(" " * (start - free), palette.blank), Segment(label, style)]
            free = start + cell_len(label)
        return row

    # Drawn over the cells

    def _print_counts(self, body: list[Row], levels: NDArray[np.intp], grid: Grid, scale: Scale, palette: Palette) -> None:
        rows, columns = self.values.shape
        if grid.tall < 2:
            return
        printed = self._printed(grid.wide - 1)
        for r in range(rows):
            y = (r * grid.tall + (grid.tall - 1) // 2) // 2
            for c in range(columns):
                value = self.values[r, c]
                text = printed(float(value)) if np.isfinite(value) and (value or self._percent) else ""
                if not text or len(text) > grid.wide - (palette.shaded or self._percent):
                    continue
                style = palette.style("text") if palette.shaded else scale.text(int(levels[r, c]))
                start = c * grid.wide + (grid.wide - len(text)) // 2
                body[y] = overlay(body[y], start, text, style)

    def _printed(self, room: int) -> Callable[[float], str]:
        """How values are printed in cells: percentages without decimals, then without their sign, where they would touch otherwise."""
        if not self._percent:
            return self._figure
        ways = (self._figure, lambda value: f"{100 * value:.0f} %", lambda value: f"{100 * value:.0f}")
        values = [float(value) for value in self.values.flat if np.isfinite(value)]
        return next((way for way in ways if max(map(len, map(way, values)), default=0) <= room), ways[-1])

    def _draw_cursor(self, body: list[Row], levels: NDArray[np.intp], grid: Grid, scale: Scale, palette: Palette) -> None:
        at = self._at()
        if at is None or (self._hover is None and not self.has_focus):
            return
        rows, columns = self.values.shape
        y = (at[0] * grid.pixel_rows // rows + max(0, grid.tall - 1) // 2) // 2
        start = at[1] * grid.pixel_columns // columns
        level = int(
            levels[min(at[0] * levels.shape[0] // rows, levels.shape[0] - 1), min(at[1] * levels.shape[1] // columns, levels.shape[1] - 1)]
        )
        style = palette.style("accent", bold=True) if palette.shaded else scale.text(level, bold=True)
        if grid.wide < 3:
            body[y] = overlay(body[y], start, "◆", style)
        else:
            body[y] = overlay(body[y], start, "[", style)
            body[y] = overlay(body[y], start + grid.wide - 1, "]", style)

    def _at(self) -> tuple[int, int] | None:
        return self._hover or self.cursor

    def _figure(self, value: float) -> str:
        return figure(value, self._percent, short=True)

    def _status(self, width: int, palette: Palette) -> Row:
        """The text, and behind it the colours where there is room for them."""
        text, strong = self._status_text(width)
        low, high = map(self._figure, self._range)
        bar = colour_key(low, high, width - cell_len(text), palette.signed if self._signed else palette.levels, palette)
        room = width - sum(len(s.text) for s in bar)
        return [Segment(fit(text, room), palette.style("text" if strong else "muted")), *bar]

    def _status_text(self, width: int) -> tuple[str, bool]:
        """The status text and whether it is a readout: the value at the cursor, else the titles of rows and columns."""
        at = self._at()
        if at is not None:
            row, column = (names[i] if i < len(names) else str(i) for names, i in ((self._rows, at[0]), (self._columns, at[1])))
            return f"{row} → {column}: {self._figure(float(self.values[at]))}", True
        titles = [
            f"{arrow} {plain(title)}" for arrow, title in zip(("↑" if _falls(self._rows) else "↓", "→"), self._titles, strict=True) if title
        ]
        named = " · ".join(titles)
        if self._grid is None or not self._grid.shrunk:
            return named, False
        found = [
            f"{named} · {how}" if named else how
            for how in (f"{self.values.shape[0]} x {self.values.shape[1]}, averages of neighbours", "averaged")
        ]
        return next((text for text in found if cell_len(text) <= width), named), False

    # Keys and mouse

    def action_move(self, down: int, right: int) -> None:
        """Move the cursor by one cell; the first move shows it."""
        if not self.values.size:
            return
        rows, columns = self.values.shape
        row, column = (self.cursor[0] + down, self.cursor[1] + right) if self.cursor else (0, 0)
        self.cursor = (min(max(row, 0), rows - 1), min(max(column, 0), columns - 1))
        self._hover = None
        self.repaint()

    def action_select(self) -> None:
        if self.cursor:
            self.post_message(self.Selected(self, *self.cursor))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        offset = event.get_content_offset_capture(self)
        hover = self._grid.at(offset.x, offset.y, *self.values.shape) if self._grid else None
        if hover != self._hover:
            self._hover = hover
            self.repaint()

    def on_leave(self) -> None:
        if self._hover is not None:
            self._hover = None
            self.repaint()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset_capture(self)
        at = self._grid.at(offset.x, offset.y, *self.values.shape) if self._grid else None
        if at is not None:
            self.cursor = at
            self.repaint()
            self.post_message(self.Selected(self, *at))


def _falls(labels: Sequence[str]) -> bool:
    """Whether the labels from top to bottom are numbers that become smaller: then their axis points upwards."""
    try:
        numbers = [float(label.replace(",", "")) for label in labels]
    except ValueError:
        return False
    return len(numbers) > 1 and numbers[0] > numbers[-1]
