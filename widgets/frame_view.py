"""One picture, its aspect kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.segment import Segment

from widgets.cells import fit_size, resample, rgb_rows
from widgets.palette import Palette
from widgets.surface import Row, Surface


class FrameView(Surface):
    """A picture in half blocks, in the middle of its box."""

    pixels: NDArray[np.generic] = np.zeros((0, 0, 3), dtype=np.uint8)

    def show(self, pixels: ArrayLike) -> None:
        """Show pixels (height, width, 3) u1. Raises `ValueError` for another shape."""
        array = np.asarray(pixels)
        if array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"a frame is (height, width, 3), not {array.shape}")
        self.pixels = array
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """The picture, centred."""
        if not self.pixels.size:
            return []
        tall, wide = fit_size(self.pixels.shape[0], self.pixels.shape[1], height, width)
        rows = rgb_rows(resample(self.pixels, tall, wide), palette)
        left = Segment(" " * ((width - wide) // 2), palette.blank)
        return [[] for _ in range((height - len(rows)) // 2)] + [[left, *row] for row in rows]
