"""One picture with its aspect ratio, or a coloured text in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.segment import Segment

from dlplay.widgets.drawing import ansi
from dlplay.widgets.drawing.cells import resample, rgb_rows
from dlplay.widgets.drawing.contrast import RGB
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row, overlay
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit, plain

GOES_ON = ("‹", "›")
"""Where the scene goes on, at the left and at the right."""
WHITE_SHARE = 0.4
"""Share of white pixels from which a picture counts as a drawing on white."""


class FrameView(Surface):
    """A picture in half blocks, centred, with a line of facts below.

    It is enlarged by whole factors, so that it stays sharp, and reduced by averaging over areas, so that thin lines are not lost.
    """

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.pixels: NDArray[np.generic] = np.zeros((0, 0, 3), dtype=np.uint8)
        self.text = ""
        self._facts: dict[str, str] = {}
        self._ends: tuple[bool, ...] = ()

    def show(self, pixels: ArrayLike, text: str = "", facts: Mapping[str, str] | None = None, ends: Sequence[bool] = ()) -> None:
        """Show pixels (height, width, 3) u1, or `text`, which may hold SGR colours. Raises `ValueError` for another shape.

        `ends` says whether the scene ends at the left and at the right edge: a line is drawn there, and an arrow where it goes on.
        """
        array = np.asarray(pixels)
        if array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"a frame is (height, width, 3), not {array.shape}")
        self.pixels, self.text, self._ends = array, text, tuple(ends)
        self._facts = {plain(name): plain(value) for name, value in (facts or {}).items()}
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.pixels.size and not self.text:
            return []
        room = height - 1 if self._facts and height > 2 else height
        rows = ansi.rows(self.text, width, room, palette) if self.text else self._picture(width, room, palette)
        if room == height:
            return rows
        return [*rows, *([] for _ in range(room - len(rows))), self._facts_line(width, palette)]

    def _picture(self, width: int, height: int, palette: Palette) -> list[Row]:
        tall, wide = crisp_size(self.pixels.shape[0], self.pixels.shape[1], height, width)
        pixels = resample(self.pixels, tall, wide)
        rows = rgb_rows(invert_white(pixels, palette.background) if palette.dark else pixels, palette)
        pad = (width - wide) // 2
        shown = [[Segment(" " * pad, palette.blank), *row, Segment(" " * (width - wide - pad), palette.blank)] for row in rows]
        edges = zip(self._ends, (max(0, pad - 1), min(width - 1, pad + wide)), GOES_ON, strict=False)
        for ends, column, arrow in edges:
            for y in range(len(shown)) if ends else [len(shown) // 2]:
                shown[y] = overlay(shown[y], column, "│" if ends else arrow, palette.style("muted"))
        return [[] for _ in range((height - len(rows)) // 2)] + shown

    def _facts_line(self, width: int, palette: Palette) -> Row:
        """As many facts as fit."""
        row: Row = []
        used = 0
        for name, value in self._facts.items():
            need = cell_len(name) + cell_len(value) + 3
            if row and used + need > width:
                break
            row += [Segment(fit(name, cell_len(name)) + " ", palette.style("muted")), Segment(value + "  ", palette.style("text"))]
            used += need
        return row


def crisp_size(height: int, width: int, rows: int, columns: int) -> tuple[int, int]:
    """The size (height, width) in pixels at which a picture fits into `rows` x `columns` cells of two pixels each.

    Its aspect ratio is kept; the size is a whole multiple of the picture's own, or smaller than that.
    """
    if min(height, width, rows, columns) < 1:
        return 0, 0
    scale = min(2 * rows / height, columns / width)
    if scale >= 1:
        scale = int(scale)
    return max(1, min(2 * rows, round(height * scale))), max(1, min(columns, round(width * scale)))


def invert_white(pixels: NDArray[np.generic], background: RGB) -> NDArray[np.generic]:
    """A drawing on white (height, width, 3), which would glare on a dark screen, with its lightness inverted.

    Hues are kept, and white becomes the `background`. Any other picture is returned as it is.
    """
    values = np.asarray(pixels, dtype=np.float64)
    if not values.size or (values.min(axis=2) >= 235).mean() < WHITE_SHARE:
        return pixels
    inverted = 255 - values.max(axis=2, keepdims=True) - values.min(axis=2, keepdims=True) + values
    return np.asarray(np.asarray(background) + inverted * (1 - np.asarray(background) / 255), dtype=np.float64)
