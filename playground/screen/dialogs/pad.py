"""A pad for a setting that is a drawing: rows of hex digits, parted by `/`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from dlplay import widgets
from dlplay.screen.dialogs.dialog import Choice, Dialog

LEVELS = 15
"""The value of full ink: one hex digit a pixel."""
AROUND = 12
"""Rows of the window that the pad leaves to its title, its choices and the ground."""


class PadDialog(Dialog[str | None]):
    """Answers with the drawing as text, or None when it was left as it was."""

    DEFAULT_CSS = """
    PadDialog PixelPad { height: 18; width: 1fr; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "take", "take it", show=False)]
    choices = (
        Choice("enter", "take this drawing", "take"),
        Choice("c", "clear the pad", "clear"),
        Choice("esc", "leave it as it was", "dismiss_none"),
    )

    def __init__(self, title: str, text: str, size: tuple[int, int]) -> None:
        super().__init__()
        self.heading = title
        self._rows = size[0]
        self._pad = widgets.PixelPad(*size, levels=LEVELS)
        pixels = read_pad(text, size)
        if pixels is not None:
            self._pad.set(pixels)

    def body(self) -> ComposeResult:
        """The pad."""
        yield self._pad

    def on_mount(self) -> None:
        """Ready to draw."""
        self._pad.focus()

    def action_take(self) -> None:
        """Answer with the drawing."""
        self.dismiss(write_pad(self._pad.pixels))

    def action_clear(self) -> None:
        """An empty pad."""
        self._pad.action_clear()
        self._pad.focus()

    def on_resize(self) -> None:
        """Pixels as large as fit, all of one size."""
        room = self.app.size.height - AROUND
        scale = max(1, 2 * (room - 1) // self._rows)
        self._pad.styles.height = -(-scale * self._rows // 2) + 1


def write_pad(pixels: NDArray[Any]) -> str:
    """Pixels (rows, columns), 0 to 15, as rows of hex digits parted by `/`."""
    return "/".join("".join(f"{min(max(round(float(value)), 0), LEVELS):x}" for value in row) for row in pixels)


def read_pad(text: str, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Inverse of `write_pad`; a smaller drawing stands in the middle. None when the text is no drawing, or a larger one."""
    rows = text.strip().split("/")
    high, wide = len(rows), len(rows[0])
    if not 1 <= high <= size[0] or not 1 <= wide <= size[1] or any(len(row) != wide for row in rows):
        return None
    try:
        drawn = np.array([[int(digit, 16) for digit in row] for row in rows], dtype=np.float64)
    except ValueError:
        return None
    pixels = np.zeros(size)
    top, left = (size[0] - high) // 2, (size[1] - wide) // 2
    pixels[top : top + high, left : left + wide] = drawn
    return pixels


def in_short(text: str, size: tuple[int, int]) -> str:
    """A drawing in a word or two, where there is no room for it."""
    pixels = read_pad(text, size)
    if pixels is None:
        return text or "–"
    inked = int(np.count_nonzero(pixels))
    return f"{inked} of {pixels.size} inked" if inked else "empty pad"
