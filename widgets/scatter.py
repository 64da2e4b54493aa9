"""Points in the plane: groups by colour and shape, labels, arrows, and what lies behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from widgets.cells import level_rows, resample
from widgets.palette import MARKERS, Palette, to_levels
from widgets.surface import Row, Surface
from widgets.text import figure, fit, narrow, plain

_ARROWS = "→↗↑↖←↙↓↘"


class Scatter(Surface):
    """Points (count, 2). Arrows move the cursor to the next point in that direction, enter or a click posts `Selected`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1, 0)", "Left", show=False),
        Binding("right", "move(1, 0)", "Right", show=False),
        Binding("up", "move(0, 1)", "Up", show=False),
        Binding("down", "move(0, -1)", "Down", show=False),
        Binding("enter", "select", "Select", show=False),
    ]

    class Selected(Message):
        """A point was chosen."""

        def __init__(self, widget: Scatter, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> Scatter:
            """The scatter plot."""
            return self.widget

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.points: NDArray[np.float64] = np.zeros((0, 2))
        self.cursor: int | None = None
        self._hover: int | None = None
        self._groups: list[int] = []
        self._names: list[str] = []
        self._labels: list[str] = []
        self._titles = ("", "")
        self._background: NDArray[np.float64] | None = None
        self._arrows: NDArray[np.float64] | None = None
        self._bounds = (0.0, 1.0, 0.0, 1.0)
        self._cells: NDArray[np.intp] = np.zeros((0, 2), dtype=np.intp)  # (count, 2): row and column of each point, -1 outside

    def show(
        self,
        points: ArrayLike,
        groups: Sequence[int] = (),
        names: Sequence[str] = (),
        labels: Sequence[str] = (),
        background: ArrayLike | None = None,
        bounds: tuple[float, float, float, float] | None = None,
        arrows: ArrayLike | None = None,
        x_title: str = "",
        y_title: str = "",
    ) -> None:
        """Show points; `background` (rows, columns), top row first, fills the `bounds`.

        `bounds` are left, right, bottom, top; by default they lie around the points. Raises `ValueError` for arrays of another shape.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.size == 0:
            array = np.zeros((0, 2))
        if array.ndim != 2 or array.shape[1] != 2:
            raise ValueError(f"a scatter plot shows points of shape (count, 2), not {array.shape}")
        self._background = None if background is None else np.asarray(background, dtype=np.float64)
        if self._background is not None and self._background.ndim != 2:
            raise ValueError(f"a background is a matrix (rows, columns), not an array of shape {self._background.shape}")
        self._arrows = None if arrows is None else np.asarray(arrows, dtype=np.float64).reshape(-1, 2)
        if len(array) != len(self.points):
            self.cursor = self._hover = None
        self.points = array
        self._groups, self._names, self._labels = [int(g) for g in groups], [plain(n) for n in names], [narrow(x) for x in labels]
        self._titles = (plain(x_title), plain(y_title))
        self._bounds = bounds if bounds is not None else _around(array)
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """The legend, the plane, and the line with the readout."""
        if not len(self.points) and self._background is None:
            return []
        legend = self._legend(width, palette) if self._names and height >= 4 else None
        plane = max(1, height - (legend is not None) - (height > 2))
        rows, levels = self._ground(plane, width, palette)
        self._place(plane, width)
        texts = self._drawn(plane, width, palette)
        rows = [_over(row, texts.get(y, {}), None if levels is None else levels[y], width, palette) for y, row in enumerate(rows)]
        if legend is not None:
            rows.insert(0, legend)
            self._cells = self._cells + np.array([1, 0])
        if height > 2:
            rows.append(self._status(width, palette))
        return rows

    def _ground(self, rows: int, columns: int, palette: Palette) -> tuple[list[Row], NDArray[np.intp] | None]:
        """Blank rows, or the background as half blocks, and the level of every cell."""
        if self._background is None or not self._background.size:
            return [[Segment(" " * columns, palette.blank)] for _ in range(rows)], None
        finite = self._background[np.isfinite(self._background)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        field = resample(self._background, 2 * rows, columns)
        levels = to_levels(field, low, high)
        return level_rows(levels, palette.levels, palette), levels[0::2]

    def _place(self, rows: int, columns: int) -> None:
        left, right, bottom, top = self._bounds
        with np.errstate(invalid="ignore", divide="ignore"):
            x = (self.points[:, 0] - left) / (right - left) * (columns - 1)
            y = (top - self.points[:, 1]) / (top - bottom) * (rows - 1)
        seen = np.isfinite(x) & np.isfinite(y) & (x >= -0.5) & (x <= columns - 0.5) & (y >= -0.5) & (y <= rows - 0.5)
        cells = np.rint(np.stack([np.where(seen, y, 0), np.where(seen, x, 0)], axis=1)).astype(np.intp)
        cells = np.clip(cells, 0, [rows - 1, columns - 1])
        self._cells = np.where(seen[:, None], cells, -10)

    def _drawn(self, rows: int, columns: int, palette: Palette) -> dict[int, dict[int, tuple[str, str, bool]]]:
        """For each row the characters that stand on it: column -> (character, colour name, bold)."""
        drawn: dict[int, dict[int, tuple[str, str, bool]]] = {}
        for i, (row, column) in enumerate(self._cells.tolist()):
            if row >= 0:
                drawn.setdefault(row, {}).setdefault(column, (self._marker(i), str(self._group(i)), False))
        at = self._at()
        if at is not None and at < len(self._cells) and self._cells[at, 0] >= 0:
            row, column = self._cells[at].tolist()
            drawn.setdefault(row, {})[column] = ("◉", "accent", True)
        order = range(len(self._labels)) if at is None else sorted(range(len(self._labels)), key=lambda i: i != at)
        for i in order:
            if i < len(self._cells) and self._labels[i] and self._cells[i, 0] >= 0:
                _label(drawn, int(self._cells[i, 0]), int(self._cells[i, 1]), self._labels[i], columns, "accent" if i == at else "muted")
        return drawn

    def _group(self, index: int) -> int:
        return self._groups[index] if index < len(self._groups) else 0

    def _marker(self, index: int) -> str:
        if self._arrows is not None and index < len(self._arrows):
            x, y = self._arrows[index].tolist()
            if x * x + y * y > 0:
                return _ARROWS[round(float(np.arctan2(y, x)) / (np.pi / 4)) % 8]
            return "·"
        return MARKERS[self._group(index) % len(MARKERS)]

    def _legend(self, width: int, palette: Palette) -> Row:
        row: Row = []
        used = 0
        for group, name in enumerate(self._names):
            marker = MARKERS[group % len(MARKERS)]
            if used + len(name) + 2 > width:
                break
            row += [Segment(marker + " ", palette.style(str(group))), Segment(name + "  ", palette.style("muted"))]
            used += len(name) + 4
        return row

    def _status(self, width: int, palette: Palette) -> Row:
        at = self._at()
        if at is None or at >= len(self.points):
            left, right, bottom, top = self._bounds
            ends = [figure(float(f"{end:.2g}"), short=True) for end in (left, right, bottom, top)]
            words = f"→ {self._titles[0] or 'x'} {ends[0]} to {ends[1]} · ↑ {self._titles[1] or 'y'} {ends[2]} to {ends[3]}"
            return [Segment(fit(words, width), palette.style("muted"))]
        group = self._group(at)
        parts = [
            self._labels[at] if at < len(self._labels) else "",
            self._names[group] if group < len(self._names) and self._groups else "",
        ]
        x, y = self.points[at].tolist()
        parts.append(f"{self._titles[0] or 'x'} {figure(x)}, {self._titles[1] or 'y'} {figure(y)}")
        return [Segment(fit(" · ".join(p for p in parts if p), width), palette.style("text"))]

    # Keys and mouse

    def _at(self) -> int | None:
        return self._hover if self._hover is not None else self.cursor if self.has_focus else None

    def action_move(self, right: int, up: int) -> None:
        """Move the cursor to the nearest point in a direction; the first move goes to the first point."""
        seen = np.flatnonzero(self._cells[:, 0] >= 0) if len(self._cells) else np.zeros(0, dtype=np.intp)
        if not len(seen):
            return
        self._hover = None
        if self.cursor is None or self.cursor >= len(self._cells):
            self.cursor = int(seen[0])
        else:
            step = (self._cells[seen] - self._cells[self.cursor]) * np.array([2, 1])
            along = step[:, 1] * right - step[:, 0] * up
            across = np.abs(step[:, 0] * right) + np.abs(step[:, 1] * up)
            ahead = along > 0
            if ahead.any():
                self.cursor = int(seen[ahead][np.argmin(along[ahead] + 2 * across[ahead])])
        self.repaint()

    def action_select(self) -> None:
        """Choose the point at the cursor."""
        if self.cursor is not None and self.cursor < len(self.points):
            self.post_message(self.Selected(self, self.cursor))

    def _point_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset_capture(self)
        if not len(self._cells):
            return None
        distance = np.abs(self._cells[:, 0] - offset.y) * 2 + np.abs(self._cells[:, 1] - offset.x)
        nearest = int(np.argmin(distance))
        return nearest if distance[nearest] <= 2 else None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Read out the point under the pointer."""
        hover = self._point_at(event)
        if hover != self._hover:
            self._hover = hover
            self.repaint()

    def on_leave(self) -> None:
        """The pointer reads out no more."""
        if self._hover is not None:
            self._hover = None
            self.repaint()

    def on_click(self, event: events.Click) -> None:
        """Choose the point that was clicked."""
        index = self._point_at(event)
        if index is not None:
            self.cursor = index
            self.repaint()
            self.post_message(self.Selected(self, index))


def _around(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Bounds with a little room around the finite points."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return 0.0, 1.0, 0.0, 1.0
    low, high = finite.min(axis=0), finite.max(axis=0)
    pad = np.where(high > low, (high - low) * 0.04, 0.5)
    (left, bottom), (right, top) = (low - pad).tolist(), (high + pad).tolist()
    return left, right, bottom, top


def _label(drawn: dict[int, dict[int, tuple[str, str, bool]]], row: int, column: int, label: str, columns: int, name: str) -> None:
    """Write a label to the right of its point, else to the left, else not at all, so that none covers another."""
    line = drawn.setdefault(row, {})
    for start in (column + 2, column - 1 - len(label)):
        cells = range(start, start + len(label))
        if start >= 0 and cells.stop <= columns and not any(c in line for c in range(start - 1, cells.stop + 1) if c != column):
            for cell, character in zip(cells, label, strict=True):
                line[cell] = (character, name, False)
            return


def _over(row: Row, texts: dict[int, tuple[str, str, bool]], levels: NDArray[np.intp] | None, width: int, palette: Palette) -> Row:
    """A row with single characters laid over it, on the colour that lies behind."""
    if not texts:
        return row
    strip = Strip(row).adjust_cell_length(width, palette.blank)
    result: Row = []
    at = 0
    for column in sorted(texts):
        if column >= width:
            break
        character, name, bold = texts[column]
        if column > at:
            result += list(strip.crop(at, column))
        style: Style = palette.style(name, bold=bold)
        if levels is not None and not palette.shaded:
            style = palette.levels.text(int(levels[column]), bold=True)
        result.append(Segment(character, style))
        at = column + 1
    return [*result, *strip.crop(at)]
