"""A grid of characters, each in one style, on which braille dots, markers and text are drawn before they become rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from dlplay.widgets.charts.curves import braille
from dlplay.widgets.drawing.rows import Row

_SPACE = 0x20
_BRAILLE = 0x2800
_DOTS = np.array([bin(pattern).count("1") for pattern in range(256)], dtype=np.float64)
"""How many dots each braille pattern has."""


class Canvas:
    """`height` x `width` cells, blank at first. Later drawing covers earlier drawing, but braille dots are combined."""

    def __init__(self, height: int, width: int, blank: Style) -> None:
        self.height, self.width = height, width
        self._codes = np.full((height, width), _SPACE, dtype=np.uint32)
        self._style_of = np.zeros((height, width), dtype=np.int16)
        self._styles: list[Style] = [blank]
        self._background = np.zeros((height, width), dtype=bool)
        self._open = np.ones((height, width), dtype=bool)
        self._kept = np.zeros((height, width), dtype=bool)

    def _index(self, style: Style) -> int:
        for i, known in enumerate(self._styles):
            if known is style:
                return i
        self._styles.append(style)
        return len(self._styles) - 1

    def dots(self, grid: NDArray[np.bool_], style: Style, background: bool = False, open: bool = False) -> None:
        """Draw dots (4 x height, 2 x width). `background` dots are replaced by whatever is drawn over them, `open` ones by guides too."""
        pattern = braille(grid).astype(np.uint32)
        hit = (pattern > 0) & ~self._kept
        under = (self._codes >= _BRAILLE) & (self._codes < _BRAILLE + 256) & ~self._background
        old = np.where(under, self._codes - _BRAILLE, 0)
        self._codes = np.where(hit, _BRAILLE + (pattern | old), self._codes)
        self._style_of[hit] = self._index(style)
        self._background = np.where(hit, background, self._background)
        self._open = np.where(hit, open, self._open)

    def put(self, row: int, column: int, text: str, style: Style, only_blank: bool = False, keep: bool = False) -> None:
        """Write text (of single-cell characters), cut at the edges. `only_blank`: only in blank cells; `keep`: nothing is drawn over it."""
        if not 0 <= row < self.height:
            return
        index = self._index(style)
        for i, character in enumerate(text, start=column):
            if 0 <= i < self.width and not (only_blank and self._codes[row, i] != _SPACE):
                self._codes[row, i] = ord(character)
                self._style_of[row, i] = index
                self._kept[row, i] |= keep

    def paint(self, cells: NDArray[np.bool_], character: str, style: Style) -> None:
        """Write one character in many cells: a mask (height, width)."""
        cells = cells & ~self._kept
        self._codes[cells] = ord(character)
        self._style_of[cells] = self._index(style)

    def open(self, row: int) -> NDArray[np.bool_]:
        """Which cells of a row are blank or hold only open dots (width,)."""
        return np.asarray((self._codes[row] == _SPACE) | (self._background[row] & self._open[row]))

    def ink(self) -> NDArray[np.float64]:
        """How much would be hidden in each cell (height, width): its dots, half as much for background dots, eight for a character.

        Infinite where nothing may be drawn over.
        """
        braille_cells = (self._codes >= _BRAILLE) & (self._codes < _BRAILLE + 256)
        dots = np.where(braille_cells, _DOTS[(self._codes - _BRAILLE) & 0xFF], 8.0 * (self._codes != _SPACE))
        return np.where(self._kept, np.inf, np.where(self._background, 0.5, 1.0) * dots)

    def free(self, row: int, column: int, length: int) -> bool:
        """Whether these cells lie inside and are blank."""
        return self._inside(row, column, length) and bool((self._codes[row, column : column + length] == _SPACE).all())

    def _inside(self, row: int, column: int, length: int) -> bool:
        return 0 <= row < self.height and column >= 0 and column + length <= self.width

    def rows(self) -> list[Row]:
        """As rows of segments; neighbours of one style are joined."""
        result: list[Row] = []
        styles = self._styles
        for codes, owners in zip(self._codes, self._style_of, strict=True):
            text = codes.tobytes().decode("utf-32-le" if codes.dtype.byteorder != ">" else "utf-32-be")
            edges = [0, *(np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist(), len(text)]
            result.append([Segment(text[a:b], styles[owners[a]]) for a, b in pairwise(edges) if b > a])
        return result
