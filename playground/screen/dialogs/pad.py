"""A pad for a setting or option that is a drawing: rows of hex digits, separated by `/`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from dlplay import widgets
from dlplay.screen.dialogs.dialog import Choice, Dialog

LEVELS = 15
"""The value of a fully drawn pixel: one hex digit."""
AROUND = 12
"""Rows of the window that the pad leaves to the rest of the dialog."""


class PadDialog(Dialog[str | None]):
    """Returns the drawing as text, or None when it was cancelled."""

    DEFAULT_CSS = """
    PadDialog PixelPad { height: 18; width: 1fr; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "accept", "accept", show=False)]
    choices = (
        Choice("enter", "use this drawing", "accept"),
        Choice("c", "clear the pad", "clear"),
        Choice("esc", "cancel", "cancel"),
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
        yield self._pad

    def on_mount(self) -> None:
        self._pad.focus()

    def action_accept(self) -> None:
        self.dismiss(write_pad(self._pad.pixels))

    def action_clear(self) -> None:
        self._pad.action_clear()
        self._pad.focus()

    def on_resize(self) -> None:
        room = self.app.size.height - AROUND
        scale = max(1, 2 * (room - 1) // self._rows)
        self._pad.styles.height = -(-scale * self._rows // 2) + 1


def write_pad(pixels: NDArray[Any]) -> str:
    """Pixels (rows, columns), 0 to 15, as rows of hex digits separated by `/`."""
    return "/".join("".join(f"{min(max(round(float(value)), 0), LEVELS):x}" for value in row) for row in pixels)


def read_pad(text: str, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Inverse of `write_pad`; a smaller drawing is centred. None when the text is not a drawing, or a larger one."""
    rows = text.strip().split("/")
    high, wide = len(rows), len(rows[0])
    if not 1 <= high <= size[0] or not 1 <= wide <= size[1] or any(len(row) != wide for row in rows):
        return None
    try:
        drawing = np.array([[int(digit, 16) for digit in row] for row in rows], dtype=np.float64)
    except ValueError:
        return None
    pixels = np.zeros(size)
    top, left = (size[0] - high) // 2, (size[1] - wide) // 2
    pixels[top : top + high, left : left + wide] = drawing
    return pixels


def drawing_summary(text: str, size: tuple[int, int]) -> str:
    """A drawing in a few words, where there is no room to show it."""
    pixels = read_pad(text, size)
    if pixels is None:
        return text or "–"
    drawn = int(np.count_nonzero(pixels))
    return f"{drawn} of {pixels.size} pixels" if drawn else "empty pad"
