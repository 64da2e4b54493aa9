"""A pad to draw a small picture on, with mouse or keys."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from dlplay.widgets.drawing.cells import level_rows, resample
from dlplay.widgets.drawing.palette import Palette, to_levels
from dlplay.widgets.drawing.rows import Row, overlay
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit

_SOFT_EDGE = 0.35
"""Share of the ink that the four neighbours of a drawn pixel get."""


class PixelPad(Surface):
    """Draw with the left mouse button; the right button, or shift, erases.

    With keys: arrows move, p lowers or lifts the pen, d draws a dot, x switches between pen and eraser, c clears, i brings back the image
    that is shown until something is drawn or cleared.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(0, -1)", "left", show=False),
        Binding("right", "move(0, 1)", "right", show=False),
        Binding("up", "move(-1, 0)", "up", show=False),
        Binding("down", "move(1, 0)", "down", show=False),
        Binding("p", "toggle_pen", "pen", key_display="p"),
        Binding("d", "dot", "dot", show=False),
        Binding("x", "toggle_eraser", "erase", key_display="x"),
        Binding("c", "clear", "clear", key_display="c"),
        Binding("i", "show_image", "image", key_display="i"),
    ]

    class Changed(Message):
        """The drawing changed."""

        def __init__(self, widget: PixelPad, pixels: NDArray[np.float64]) -> None:
            super().__init__()
            self.widget, self.pixels = widget, pixels

        @property
        def control(self) -> PixelPad:
            return self.widget

    class ToolChanged(Message):
        """Strokes draw now, or erase."""

    def __init__(
        self, rows: int, columns: int, levels: float = 16, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.levels = float(levels)
        self._ink = np.zeros((rows, columns))
        self.begun = False
        """Whether a person has drawn or cleared; until then the image behind is what the pad holds."""
        self.cursor = (rows // 2, columns // 2)
        self.pen_down = False
        self.erasing = False
        self._stroke: tuple[int, int] | None = None
        self._behind: NDArray[np.float64] | None = None
        self._area = (0, 0, 1, 1)  # left, top, pixel rows, pixel columns

    @property
    def pixels(self) -> NDArray[np.float64]:
        """A copy of the drawing (rows, columns), with values from 0 to `levels`."""
        return self._ink.copy()

    def set(self, pixels: ArrayLike) -> None:
        """Replace the drawing, without a message. Raises `ValueError` when the shape differs."""
        array = np.asarray(pixels, dtype=np.float64)
        if array.shape != self._ink.shape:
            raise ValueError(f"the pad holds {self._ink.shape[0]} x {self._ink.shape[1]} pixels, not {array.shape}")
        self._ink = np.clip(np.nan_to_num(array), 0, self.levels)
        self.begun = bool(self._ink.any())
        self.repaint()

    def show_behind(self, picture: NDArray[np.float64] | None) -> None:
        """An image (rows, columns) of values from 0 to 1 that is shown until something is drawn, and from which the eraser takes away."""
        self._behind = picture
        if not self.begun:
            self.repaint()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is an image to bring back only where one is behind."""
        return action != "show_image" or (self._behind is not None and self.begun)

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        rows, columns = self._ink.shape
        room = height - 1 if height > 2 else height
        scale = min(width / columns, 2 * room / rows)
        if scale >= 2:
            scale = int(scale)
        tall, wide = (int(rows * scale), int(columns * scale)) if scale >= 1 else (max(1, min(rows, 2 * room)), max(1, min(columns, width)))
        left, top = (width - wide) // 2, 0
        self._area = (left, top, tall, wide)
        if self._behind is not None and not self.begun:
            levels = to_levels(resample(self._behind, tall, wide), 0, 1)
        else:
            levels = np.asarray(resample(to_levels(self._ink, 0, self.levels), tall, wide)).astype(np.intp)
        body = [[Segment(" " * left, palette.blank), *row] for row in level_rows(levels, palette.levels, palette)]
        if palette.shaded:
            body = [[Segment(s.text.replace(" ", "·") if i else s.text, s.style) for i, s in enumerate(row)] for row in body]
        if self.has_focus:
            self._draw_cursor(body, palette)
        body = body[:room] + [[] for _ in range(room - len(body))]
        return [*body, self._status(width, palette)] if room < height else body

    def _draw_cursor(self, body: list[Row], palette: Palette) -> None:
        left, top, tall, wide = self._area
        rows, columns = self._ink.shape
        first, last = (-(-(self.cursor[0] + below) * tall // rows) for below in (0, 1))  # half rows of the pixel
        y = top + min((first + 1) // 2 + max(0, (last - first) // 2 - 1) // 2, len(body) - 1)
        x = left + self.cursor[1] * wide // columns
        size = max(1, wide // columns)
        level = int(to_levels(self._ink[self.cursor], 0, self.levels))
        style = palette.style("accent", bold=True) if palette.shaded else palette.levels.text(level, bold=True)
        if size < 2:
            body[y] = overlay(body[y], x, "●" if self.pen_down else "○", style)
        else:
            body[y] = overlay(body[y], x, "▶" if self.pen_down else "[", style)
            body[y] = overlay(body[y], x + size - 1, "◀" if self.pen_down else "]", style)

    def _status(self, width: int, palette: Palette) -> Row:
        if not self.has_focus:
            return [Segment(fit("draw with the mouse, or with arrows and p", width), palette.style("muted"))]
        pen = "eraser" if self.erasing else "pen"
        pen_key = f"p {'lifts' if self.pen_down else 'lowers'} the {pen}"
        return [Segment(fit(f"{pen_key} · x {'draws' if self.erasing else 'erases'} · c clears", width), palette.style("muted"))]

    # Ink

    def _draw_dot(self, row: int, column: int, erase: bool) -> None:
        """Add full ink at a pixel and some at its neighbours, or remove as much."""
        if erase and self._behind is not None and not self.begun:
            self._ink = np.asarray(resample(self._behind, *self._ink.shape), dtype=np.float64) * self.levels
        self.begun = True
        rows, columns = self._ink.shape
        for down, right, share in ((0, 0, 1.0), (0, 1, _SOFT_EDGE), (0, -1, _SOFT_EDGE), (1, 0, _SOFT_EDGE), (-1, 0, _SOFT_EDGE)):
            r, c = row + down, column + right
            if 0 <= r < rows and 0 <= c < columns:
                change = -self.levels * share if erase else self.levels * share
                if not erase and share < 1:  # ink at the edge of a stroke does not add up
                    self._ink[r, c] = max(self._ink[r, c], min(self.levels, self._ink[r, c] * 0.5 + change))
                else:
                    self._ink[r, c] = min(self.levels, max(0.0, self._ink[r, c] + change))

    def _draw_line(self, start: tuple[int, int], end: tuple[int, int], erase: bool) -> None:
        """Draw dots along a line, without its start."""
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for i in range(1, steps + 1):
            self._draw_dot(round(start[0] + (end[0] - start[0]) * i / steps), round(start[1] + (end[1] - start[1]) * i / steps), erase)

    def _changed(self) -> None:
        self.repaint()
        self.post_message(self.Changed(self, self.pixels))

    # Keys

    def action_move(self, down: int, right: int) -> None:
        rows, columns = self._ink.shape
        self.cursor = (min(max(self.cursor[0] + down, 0), rows - 1), min(max(self.cursor[1] + right, 0), columns - 1))
        if self.pen_down:
            self._draw_dot(*self.cursor, self.erasing)
            self._changed()
        else:
            self.repaint()

    def action_toggle_pen(self) -> None:
        self.pen_down = not self.pen_down
        if self.pen_down:
            self._draw_dot(*self.cursor, self.erasing)
            self._changed()
        else:
            self.repaint()

    def action_dot(self) -> None:
        self._draw_dot(*self.cursor, self.erasing)
        self._changed()

    def action_toggle_eraser(self) -> None:
        self.erasing = not self.erasing
        self.repaint()
        self.post_message(self.ToolChanged())

    def action_clear(self) -> None:
        """Leave the pad empty."""
        self._empty(begun=True)

    def action_show_image(self) -> None:
        """Bring back the image behind."""
        self._empty(begun=False)

    def _empty(self, *, begun: bool) -> None:
        self._ink[:] = 0
        self.begun, self.pen_down, self.erasing = begun, False, False
        self._changed()
        self.refresh_bindings()
        self.post_message(self.ToolChanged())

    # Mouse

    def _pixel_at(self, event: events.MouseEvent) -> tuple[int, int] | None:
        left, top, tall, wide = self._area
        offset = event.get_content_offset_capture(self)
        rows, columns = self._ink.shape
        x, y = offset.x - left, 2 * (offset.y - top)
        if not (0 <= x < wide and 0 <= y < tall):
            return None
        return y * rows // tall, x * columns // wide

    def on_mouse_down(self, event: events.MouseDown) -> None:
        at = self._pixel_at(event)
        if at is not None:
            self.capture_mouse()
            self._stroke = self.cursor = at
            self._draw_dot(*at, self._erases(event))
            self._changed()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Continue the stroke, without gaps however fast the pointer moves."""
        if self._stroke is None or not event.button:
            return
        at = self._pixel_at(event)
        if at is not None and at != self._stroke:
            self._draw_line(self._stroke, at, self._erases(event))
            self._stroke = self.cursor = at
            self._changed()

    def on_mouse_up(self) -> None:
        if self._stroke is not None:
            self._stroke = None
            self.release_mouse()

    def _erases(self, event: events.MouseEvent) -> bool:
        return self.erasing or event.button == 3 or event.shift
