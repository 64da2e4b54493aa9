"""One picture, its aspect kept; or the rows of a text in its place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.segment import Segment

from dlplay.widgets import ansi
from dlplay.widgets.cells import resample, rgb_rows
from dlplay.widgets.palette import RGB, Palette
from dlplay.widgets.surface import Row, Surface
from dlplay.widgets.text import fit, plain

PAPER = 0.4
"""Share of a picture that is white, from which it is a drawing on paper."""


class FrameView(Surface):
    """A picture in half blocks, in the middle of its box: enlarged by whole steps, so that it stays crisp; made smaller by the mean
    over the area, so that nothing thin is lost. Under it the `facts` that go with it, as many as fit in a line."""

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.pixels: NDArray[np.generic] = np.zeros((0, 0, 3), dtype=np.uint8)
        self.text = ""
        self._facts: dict[str, str] = {}

    def show(self, pixels: ArrayLike, text: str = "", facts: Mapping[str, str] | None = None) -> None:
        """Show pixels (height, width, 3) u1, or `text` (SGR colours are understood). Raises `ValueError` for another shape."""
        array = np.asarray(pixels)
        if array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"a frame is (height, width, 3), not {array.shape}")
        self.pixels, self.text = array, text
        self._facts = {plain(name): plain(value) for name, value in (facts or {}).items()}
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """The picture, centred, and the line of facts."""
        if not self.pixels.size and not self.text:
            return []
        room = height - 1 if self._facts and height > 2 else height
        rows = ansi.rows(self.text, width, room, palette) if self.text else self._picture(width, room, palette)
        if room == height:
            return rows
        return [*rows, *([] for _ in range(room - len(rows))), self._line(width, palette)]

    def _picture(self, width: int, height: int, palette: Palette) -> list[Row]:
        tall, wide = crisp_size(self.pixels.shape[0], self.pixels.shape[1], height, width)
        pixels = resample(self.pixels, tall, wide)
        rows = rgb_rows(on_dark_paper(pixels, palette.background) if palette.dark else pixels, palette)
        left = Segment(" " * ((width - wide) // 2), palette.blank)
        return [[] for _ in range((height - len(rows)) // 2)] + [[left, *row] for row in rows]

    def _line(self, width: int, palette: Palette) -> Row:
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
    """Pixels (height, width) at which a picture is seen whole in `rows` x `columns` cells of two pixels each, its aspect kept: a whole
    multiple of its own size, or smaller than it."""
    if min(height, width, rows, columns) < 1:
        return 0, 0
    scale = min(2 * rows / height, columns / width)
    if scale >= 1:
        scale = int(scale)
    return max(1, min(2 * rows, round(height * scale))), max(1, min(columns, round(width * scale)))


def on_dark_paper(pixels: NDArray[np.generic], ground: RGB) -> NDArray[np.generic]:
    """A drawing on white paper (h, w, 3), which glares in the dark, with light and dark exchanged: hues are kept, and the paper takes the
    colour of the ground. Any other picture stays as it is."""
    values = np.asarray(pixels, dtype=np.float64)
    if not values.size or (values.min(axis=2) >= 235).mean() < PAPER:
        return pixels
    turned = 255 - values.max(axis=2, keepdims=True) - values.min(axis=2, keepdims=True) + values
    return np.asarray(np.asarray(ground) + turned * (1 - np.asarray(ground) / 255), dtype=np.float64)
