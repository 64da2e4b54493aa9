"""A plane with a cursor that is moved with the arrow keys, a click, or by dragging."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from dlplay.widgets.drawing.cells import level_rows, resample
from dlplay.widgets.drawing.palette import Palette, in_bands, to_levels
from dlplay.widgets.drawing.rows import Row, overlay
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import figure, fit, plain

STEPS = 40
"""Steps of the cursor from one side to the other."""
ROOMY = 6
"""Rows from which there is one for the heading."""
FAR = 5
"""Steps of one key press with shift."""


class Plane(Surface):
    """Its axes, or a picture of what lies where, and the cursor. Posts `Moved` whenever the cursor has moved."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1, 0)", "left", show=False),
        Binding("right", "move(1, 0)", "right", show=False),
        Binding("up", "move(0, 1)", "up", show=False),
        Binding("down", "move(0, -1)", "down", show=False),
        Binding("shift+left", f"move(-{FAR}, 0)", "far left", show=False),
        Binding("shift+right", f"move({FAR}, 0)", "far right", show=False),
        Binding("shift+up", f"move(0, {FAR})", "far up", show=False),
        Binding("shift+down", f"move(0, -{FAR})", "far down", show=False),
        Binding("home", "centre", "to the middle", show=False),
    ]

    class Moved(Message):
        """The cursor has moved."""

        def __init__(self, widget: Plane, x: float, y: float) -> None:
            super().__init__()
            self.widget, self.x, self.y = widget, x, y

        @property
        def control(self) -> Plane:
            return self.widget

    def __init__(
        self,
        bounds: tuple[float, float, float, float] = (-1.0, 1.0, -1.0, 1.0),
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`bounds` are left, right, bottom, top."""
        super().__init__(name=name, id=id, classes=classes)
        self.bounds = bounds
        self.x, self.y = self.middle
        self._titles = ("x", "y")
        self._heading = ""
        self._top = 0
        """Rows above the plane."""
        self._dragging = False
        self._area = (1, 1)  # rows and columns
        self._picture: NDArray[np.float64] | None = None
        self._meaning = ""
        self._levels: NDArray[np.intp] = np.zeros((1, 1), np.intp)

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the bounds."""
        left, right, bottom, top = self.bounds
        return (left + right) / 2, (bottom + top) / 2

    def set(self, x: float, y: float) -> None:
        """Move the cursor there, within the bounds, without a message."""
        left, right, bottom, top = self.bounds
        self.x, self.y = min(max(x, left), right), min(max(y, bottom), top)
        self.repaint()

    def show_picture(self, values: NDArray[np.float64] | None, meaning: str = "") -> None:
        """Numbers (rows, columns), top row first, that are painted over the whole plane; None: its axes alone. `meaning`: what the colours
        stand for, which is said above the plane. Raises `ValueError`."""
        if values is not None and (values.ndim != 2 or not values.size):
            raise ValueError(f"a picture of the plane is (rows, columns), not {values.shape}")
        self._picture, self._meaning = values, plain(meaning)
        self.repaint()

    def set_titles(self, across: str, up: str) -> None:
        """Name the axes."""
        self._titles = (plain(across), plain(up))
        self.repaint()

    def set_heading(self, heading: str) -> None:
        """Say above the plane what it is, and from where to where it reaches."""
        self._heading = plain(heading)
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        self._top = int(bool(self._heading) and height >= ROOMY)
        painted = self._plane(width, height - self._top, palette)
        return [[Segment(fit(self._scale(width), width), palette.style("muted"))], *painted] if self._top else painted

    def _scale(self, width: int) -> str:
        """The heading, what the colours mean, and the bounds; where there is no room for all, what matters most of it."""
        left, right, bottom, top = (f"{end:g}" for end in self.bounds)
        scale = f"{left} to {right}" if (left, right) == (bottom, top) else f"{left} to {right}, {bottom} to {top}"
        said = [f"{self._heading} {scale}", scale]
        if self._meaning:
            said = [f"{self._heading}: {self._meaning}, {scale}", f"{self._meaning}, {scale}", self._meaning]
        return next((words for words in said if len(words) <= width), said[-1])

    def _plane(self, width: int, height: int, palette: Palette) -> list[Row]:
        rows = height - 1 if height > 2 else height
        self._area = (rows, width)
        row, column = self._cell(self.x, self.y)
        middle_row, middle_column = self._cell(*self.middle)
        if self._picture is not None:
            picture = self._painted(self._picture, rows, width, palette)
            level = int(self._levels[min(2 * row, len(self._levels) - 1), column])
            picture[row] = overlay(picture[row], column, "◉", palette.levels.text(level, bold=True))
            return [*picture, self._status(width, palette)] if rows < height else picture
        faint = palette.style("faint")
        painted: list[Row] = []
        for y in range(rows):
            cells = [" "] * width
            if y == middle_row:
                cells = ["╌"] * width
            cells[middle_column] = "┼" if y == middle_row else "╎"
            painted.append([Segment("".join(cells), faint)])
        painted[row] = overlay(painted[row], 0, "▸", palette.style("muted"))
        painted[row] = overlay(painted[row], width - 1, "◂", palette.style("muted"))
        painted[0] = overlay(painted[0], column, "▾", palette.style("muted"))
        painted[-1] = overlay(painted[-1], column, "▴", palette.style("muted"))
        painted[row] = overlay(painted[row], column, "◉", palette.style("accent", bold=True))
        return [*painted, self._status(width, palette)] if rows < height else painted

    def _painted(self, values: NDArray[np.float64], rows: int, width: int, palette: Palette) -> list[Row]:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        self._levels = in_bands(to_levels(resample(values, 2 * rows, width), low, high), palette.levels)
        return level_rows(self._levels, palette.levels, palette)

    def _status(self, width: int, palette: Palette) -> Row:
        parts = [f"{title} {figure_of(value)}" for title, value in zip(self._titles, (self.x, self.y), strict=True)]
        text = "  ".join(parts)
        if len(text) > width:
            text = f"→{figure_of(self.x)}  ↑{figure_of(self.y)}"
        return [Segment(fit(text, width), palette.style("text"))]

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        rows, columns = self._area
        left, right, bottom, top = self.bounds
        return round((top - y) / (top - bottom) * (rows - 1)), round((x - left) / (right - left) * (columns - 1))

    # Keys and mouse

    def _go(self, x: float, y: float) -> None:
        before = (self.x, self.y)
        self.set(x, y)
        if (self.x, self.y) != before:
            self.post_message(self.Moved(self, self.x, self.y))

    def action_move(self, right: int, up: int) -> None:
        """Move by some steps, each a fortieth of the way from side to side."""
        left, right_end, bottom, top = self.bounds
        self._go(_on_grid(self.x, left, right_end, right), _on_grid(self.y, bottom, top, up))

    def action_centre(self) -> None:
        self._go(*self.middle)

    def _place(self, event: events.MouseEvent) -> tuple[float, float]:
        offset = event.get_content_offset_capture(self)
        rows, columns = self._area
        left, right, bottom, top = self.bounds
        x = left + (right - left) * offset.x / max(1, columns - 1)
        y = top - (top - bottom) * (offset.y - self._top) / max(1, rows - 1)
        return float(f"{x:.4g}"), float(f"{y:.4g}")

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._dragging = True
        self._go(*self._place(event))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragging and event.button:
            self._go(*self._place(event))

    def on_mouse_up(self) -> None:
        if self._dragging:
            self._dragging = False
            self.release_mouse()


def _on_grid(value: float, low: float, high: float, by: int) -> float:
    """The value `by` steps further, rounded to a whole step."""
    step = (high - low) / STEPS
    return float(f"{low + (round((value - low) / step) + by) * step:.4g}") if by else value


def figure_of(value: float) -> str:
    """A coordinate in five cells, so that the readout does not move while the cursor does."""
    return f"{value + 0.0:5.2f}" if abs(value) < 100 else figure(value)
