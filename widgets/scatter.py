"""A scatter plot: points in groups of one colour and shape, with labels, arrows and a background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from dlplay.widgets.drawing.cells import level_rows, resample
from dlplay.widgets.drawing.palette import BAND, MARKERS, Palette, in_bands, to_levels
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import figure, fit, narrow, plain
from dlplay.widgets.scatter_cells import BOTH, Bounds, Glyph, arrow_character, best_per_cell, bounds_of, cells_of, draw_glyphs, place_label

Pick = Literal["point", "place"]

MARK = "◉"
"""Drawn at the point that stands out."""
LEGEND_SHARE = 3
"""The legend takes at most one row in so many."""


class Scatter(Surface):
    """Points (count, 2). A person picks points, or places in the plane.

    With `pick="point"`, arrow keys move the cursor to the next point in that direction, and enter or a click posts `Selected`; with
    `pick="place"`, they move it over the plane (with shift by five cells), and enter or a click posts `Placed`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1, 0)", "left", show=False),
        Binding("right", "move(1, 0)", "right", show=False),
        Binding("up", "move(0, 1)", "up", show=False),
        Binding("down", "move(0, -1)", "down", show=False),
        Binding("shift+left", "move(-5, 0)", "far left", show=False),
        Binding("shift+right", "move(5, 0)", "far right", show=False),
        Binding("shift+up", "move(0, 5)", "far up", show=False),
        Binding("shift+down", "move(0, -5)", "far down", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    class Selected(Message):
        """A point was chosen."""

        def __init__(self, widget: Scatter, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> Scatter:
            return self.widget

    class Placed(Message):
        """A place in the plane was chosen."""

        def __init__(self, widget: Scatter, x: float, y: float) -> None:
            super().__init__()
            self.widget, self.x, self.y = widget, x, y

        @property
        def control(self) -> Scatter:
            return self.widget

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.points: NDArray[np.float64] = np.zeros((0, 2))
        self.pick: Pick = "point"
        self.cursor: int | None = None
        self.place: tuple[float, float] | None = None
        """The place that was picked, or that of the cursor, in the plane's own units."""
        self._hover: int | None = None
        self._hover_cell: tuple[int, int] | None = None
        self._groups: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._names: list[str] = []
        self._labels: list[str] = []
        self._titles = ("", "")
        self._marked: int | None = None
        self._background: NDArray[np.float64] | None = None
        self._arrows: NDArray[np.float64] = np.zeros((0, 2))
        self._bounds: Bounds = (0.0, 1.0, 0.0, 1.0)
        self._square = False
        """Bounds as wide as high were given, so that both axes have one scale."""
        self._cells: NDArray[np.intp] = np.zeros(
            (0, 2), dtype=np.intp
        )  # (count, 2): row and column of each point, `OUTSIDE` if out of bounds
        self._plane = (0, 1, 1)  # its first row, its rows and its columns

    def show(
        self,
        points: ArrayLike,
        groups: Sequence[int] = (),
        names: Sequence[str] = (),
        labels: Sequence[str] = (),
        background: ArrayLike | None = None,
        bounds: Bounds | None = None,
        arrows: ArrayLike | None = None,
        x_title: str = "",
        y_title: str = "",
        pick: Pick = "point",
        marked: int | None = None,
    ) -> None:
        """Show points (count, 2); `marked` is the position of one that stands out.

        `bounds` are left, right, bottom and top; by default, those of the points. `background` (rows, columns), top row first, fills
        them. `arrows` (count, 2) start at the points; one of length 0 is not drawn. Raises `ValueError` for arrays of another shape.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.size == 0:
            array = np.zeros((0, 2))
        if array.ndim != 2 or array.shape[1] != 2:
            raise ValueError(f"a scatter plot shows points of shape (count, 2), not {array.shape}")
        self._background = None if background is None else np.asarray(background, dtype=np.float64)
        if self._background is not None and self._background.ndim != 2:
            raise ValueError(f"a background is a matrix (rows, columns), not an array of shape {self._background.shape}")
        arrows = np.zeros((0, 2)) if arrows is None else np.asarray(arrows, dtype=np.float64).reshape(-1, 2)
        self._arrows = np.where(np.isfinite(arrows), arrows, 0.0)
        if len(array) != len(self.points):
            self.cursor = self._hover = None
        self.points, self.pick = array, pick
        given = np.asarray(groups, dtype=np.intp)[: len(array)]
        self._groups = np.concatenate([given, np.zeros(len(array) - len(given), dtype=np.intp)])
        self._names, self._labels = [plain(n) for n in names], [narrow(x) for x in labels]
        self._titles = (plain(x_title), plain(y_title))
        self._marked = marked if marked is not None and 0 <= marked < len(array) else None
        self._bounds = bounds if bounds is not None else bounds_of(array)
        left, right, bottom, top = self._bounds
        self._square = bounds is not None and math.isclose(right - left, top - bottom)
        self.repaint()

    @property
    def _two_kinds(self) -> bool:
        """Whether there are two named groups, besides one point that stands out: then a cell may hold both."""
        return len(self._names) - (self._marked is not None) == 2

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not len(self.points) and self._background is None:
            return []
        with_legend = bool(self._names) and height >= 4
        most = max(1, height // LEGEND_SHARE)
        top = len(self._legend(width, most, self._two_kinds, palette)) if with_legend else 0
        rows, columns = max(1, height - top - (height > 2)), width
        free = 0
        if self._square:  # a cell is twice as high as wide
            columns = min(width, 2 * rows)
            free = rows - max(1, columns // 2)
            rows -= free
        self._plane = (top, rows, columns)
        self._cells = cells_of(self.points, self._bounds, rows, columns)
        glyphs, both = self._glyphs(rows, columns)
        background, levels = self._background_rows(rows, columns, palette)
        painted = [draw_glyphs(row, glyphs.get(y, {}), None if levels is None else levels[y], palette) for y, row in enumerate(background)]
        if with_legend:
            legend = self._legend(width, most, both, palette)
            painted[:0] = [*legend, *([] for _ in range(top - len(legend)))]
            self._cells = self._cells + np.array([top, 0])
        painted += [[] for _ in range(free)]
        if height > 2:
            painted.append(self._status(width, palette))
        return painted

    def _background_rows(self, rows: int, columns: int, palette: Palette) -> tuple[list[Row], NDArray[np.intp] | None]:
        """Blank rows, or the background as half blocks and the level of every cell."""
        if self._background is None or not self._background.size:
            return [[Segment(" " * columns, palette.blank)] for _ in range(rows)], None
        levels = in_bands(to_levels(resample(self._background, 2 * rows, columns), *self._range()), palette.backdrop)
        return level_rows(levels, palette.backdrop, palette), levels[0::2]

    def _range(self) -> tuple[float, float]:
        assert self._background is not None
        finite = self._background[np.isfinite(self._background)]
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)

    def _glyphs(self, rows: int, columns: int) -> tuple[dict[int, dict[int, Glyph]], bool]:
        """The glyphs by row and column, and whether points of both groups share a cell somewhere."""
        drawn: dict[int, dict[int, Glyph]] = {}
        both = False
        lengths = np.hypot(self._arrows[:, 0], self._arrows[:, 1])
        longest = float(lengths.max()) if lengths.size else 0.0
        for row, column, index, mixed in best_per_cell(self._cells, self._groups, lengths, columns):
            group = int(self._groups[index])
            shared = mixed and self._two_kinds
            if index < len(lengths) and lengths[index] > 0 and not (shared and (row + column) % 2):  # arrows hide not every shared cell
                right, up = self._arrows[index].tolist()
                glyph = Glyph(arrow_character(right, up, longest), str(group), bold=True)
            elif shared:
                both = True
                glyph = Glyph(BOTH, "text", bold=True)
            else:
                glyph = Glyph(MARKERS[group % len(MARKERS)], str(group))
            drawn.setdefault(row, {})[column] = glyph
        self._add_cursor_and_labels(drawn, rows, columns)
        return drawn, both

    def _add_cursor_and_labels(self, drawn: dict[int, dict[int, Glyph]], rows: int, columns: int) -> None:
        at = self._at()
        if self._marked is not None and self._cells[self._marked, 0] >= 0:
            row, column = self._cells[self._marked].tolist()
            drawn.setdefault(row, {})[column] = Glyph(MARK, "text", bold=True)
        if self.pick == "place":
            if self.place is not None:
                row, column = cells_of(np.array([self.place]), self._bounds, rows, columns)[0].tolist()
                if row >= 0:
                    drawn.setdefault(row, {})[column] = Glyph("⊕" if self.has_focus else "+", "accent", bold=True)
        elif at is not None and at < len(self._cells) and self._cells[at, 0] >= 0:
            row, column = self._cells[at].tolist()
            drawn.setdefault(row, {})[column] = Glyph("◉", "accent", bold=True)
        count = min(len(self._labels), len(self._cells))
        for i in range(count) if at is None else sorted(range(count), key=lambda i: i != at):
            if self._labels[i] and self._cells[i, 0] >= 0:
                row, column = self._cells[i].tolist()
                place_label(drawn, row, column, self._labels[i], columns, "accent" if i == at else "muted")

    def _legend(self, width: int, most: int, both: bool, palette: Palette) -> list[Row]:
        """Marker and name of every group, in as few lines as they need, at most so many; where that is not enough, names are shortened."""
        entries = [(MARKERS[group % len(MARKERS)], name, str(group)) for group, name in enumerate(self._names)]
        if self._marked is not None and (group := int(self._groups[self._marked])) < len(entries):
            entries[group] = (MARK, entries[group][1], "text")
        entries += [(BOTH, "both", "text")] if both else []
        longest = max(cell_len(name) for _, name, _ in entries)
        for room in range(longest, 0, -1):
            short = [(marker, name if cell_len(name) <= room else fit(name, room), colour) for marker, name, colour in entries]
            lengths = [2 + cell_len(name) for _, name, _ in short]
            lines, gap = min(((_wrapped(lengths, gap, width), gap) for gap in (2, 1)), key=lambda found: len(found[0]))
            if len(lines) <= most:
                break
        return [_legend_row(short[line.start : line.stop], gap, palette) for line in lines[:most]]

    # The line below

    def _status(self, width: int, palette: Palette) -> Row:
        text, strong = self._status_text()
        bar = self._colour_bar(width - cell_len(text) - 1, palette)
        room = width - sum(segment.cell_length for segment in bar)
        return [Segment(fit(text, room), palette.style("text" if strong else "muted")), *bar]

    def _status_text(self) -> tuple[str, bool]:
        """The status text and whether it is a readout: the point or place at the pointer or cursor, else the axes."""
        if self.pick == "place":
            place = self._place_of(*self._hover_cell) if self._hover_cell is not None else self.place if self.has_focus else None
            if place is not None:
                return self._coordinates(*place), True
        elif (at := self._at()) is not None and at < len(self.points):
            group = int(self._groups[at])
            parts = [
                self._labels[at] if at < len(self._labels) else "",
                self._names[group] if group < len(self._names) else "",
                self._coordinates(*self.points[at].tolist()),
            ]
            return " · ".join(part for part in parts if part), True
        left, right, bottom, top = (figure(float(f"{end:.2g}"), short=True) for end in self._bounds)
        across, up = (title or letter for title, letter in zip(self._titles, "xy", strict=True))
        if (left, right) == (bottom, top):
            return f"→ {across} · ↑ {up}: {left} to {right}", False
        shared = across.rpartition(" ")[0]
        up = up.removeprefix(f"{shared} ") if shared else up
        return f"→ {across} {left} to {right} · ↑ {up} {bottom} to {top}", False

    def _coordinates(self, x: float, y: float) -> str:
        return f"{self._titles[0] or 'x'} {figure(x)}, {self._titles[1] or 'y'} {figure(y)}"

    def _colour_bar(self, room: int, palette: Palette) -> Row:
        """The colours of the background with its lowest and highest value, if there is room."""
        if self._background is None or not self._background.size:
            return []
        low, high = (figure(end, short=True) for end in self._range())
        count = min(12, room - len(low) - len(high) - 3)
        if count < 3:
            return []
        ramp = np.rint(np.linspace(0, len(palette.backdrop.colours) - 2, count)).astype(np.intp)[None, :].repeat(2, axis=0) // BAND * BAND
        muted = palette.style("muted")
        return [Segment(f" {low} ", muted), *level_rows(ramp, palette.backdrop, palette)[0], Segment(f" {high}", muted)]

    # Keys and mouse

    def _at(self) -> int | None:
        return self._hover if self._hover is not None else self.cursor if self.has_focus else None

    def action_move(self, right: int, up: int) -> None:
        """Move the cursor to the nearest point in a direction (the first move goes to the first point), or over the plane."""
        if self.pick == "place":
            self._move_place(right, up)
            return
        seen = np.flatnonzero(self._cells[:, 0] >= 0) if len(self._cells) else np.zeros(0, dtype=np.intp)
        if not len(seen):
            return
        self._hover = None
        if self.cursor is None or self.cursor >= len(self._cells):
            self.cursor = int(seen[0])
        else:
            right, up = int(np.sign(right)), int(np.sign(up))
            step = (self._cells[seen] - self._cells[self.cursor]) * np.array([2, 1])
            along = step[:, 1] * right - step[:, 0] * up
            across = np.abs(step[:, 0] * right) + np.abs(step[:, 1] * up)
            ahead = along > 0
            if ahead.any():
                self.cursor = int(seen[ahead][np.argmin(along[ahead] + 2 * across[ahead])])
        self.repaint()

    def _move_place(self, right: int, up: int) -> None:
        _, rows, columns = self._plane
        if self.place is None:
            row, column = rows // 2, columns // 2
        else:
            row, column = cells_of(np.array([self.place]), self._bounds, rows, columns)[0].tolist()
            row, column = row - up, column + right
        self._hover_cell = None
        self.place = self._place_of(min(max(row, 0), rows - 1), min(max(column, 0), columns - 1))
        self.repaint()

    def _place_of(self, row: int, column: int) -> tuple[float, float]:
        """The middle of a cell of the plane, in its own units."""
        _, rows, columns = self._plane
        left, right, bottom, top = self._bounds
        return left + (right - left) * column / max(1, columns - 1), top - (top - bottom) * row / max(1, rows - 1)

    def action_select(self) -> None:
        if self.pick == "place":
            if self.place is not None:
                self.post_message(self.Placed(self, *self.place))
        elif self.cursor is not None and self.cursor < len(self.points):
            self.post_message(self.Selected(self, self.cursor))

    def _point_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset_capture(self)
        if not len(self._cells):
            return None
        distance = np.abs(self._cells[:, 0] - offset.y) * 2 + np.abs(self._cells[:, 1] - offset.x)
        nearest = int(np.argmin(distance))
        return nearest if distance[nearest] <= 2 else None

    def _cell_at(self, event: events.MouseEvent) -> tuple[int, int] | None:
        offset = event.get_content_offset_capture(self)
        top, rows, columns = self._plane
        row, column = offset.y - top, offset.x
        return (row, column) if 0 <= row < rows and 0 <= column < columns and self._plane[1] else None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        before = (self._hover, self._hover_cell)
        if self.pick == "place":
            self._hover_cell = self._cell_at(event)
        else:
            self._hover = self._point_at(event)
        if (self._hover, self._hover_cell) != before:
            self.repaint()

    def on_leave(self) -> None:
        if self._hover is not None or self._hover_cell is not None:
            self._hover = self._hover_cell = None
            self.repaint()

    def on_click(self, event: events.Click) -> None:
        if self.pick == "place":
            cell = self._cell_at(event)
            if cell is not None:
                self.place = self._place_of(*cell)
                self.repaint()
                self.post_message(self.Placed(self, *self.place))
            return
        index = self._point_at(event)
        if index is not None:
            self.cursor = index
            self.repaint()
            self.post_message(self.Selected(self, index))


def _wrapped(lengths: Sequence[int], gap: int, width: int) -> list[range]:
    """Which entries stand in each line."""
    lines: list[range] = []
    start, used = 0, -gap
    for position, length in enumerate(lengths):
        if position > start and used + gap + length > width:
            lines.append(range(start, position))
            start, used = position, -gap
        used += gap + length
    return [*lines, range(start, len(lengths))]


def _legend_row(entries: Sequence[tuple[str, str, str]], gap: int, palette: Palette) -> Row:
    muted = palette.style("muted")
    return [
        segment
        for marker, name, colour in entries
        for segment in (Segment(f"{marker} ", palette.style(colour)), Segment(name + " " * gap, muted))
    ]
