"""A digit drawn on the pad, brought to the form of the training images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from playground.engine.settings import SettingsError

FULL_INK = 16
MAX_SIDE = 64


def parse_drawing(text: str) -> NDArray[np.float32]:
    """Ink (rows, columns) from 0 to 1, of rows of comma-separated numbers from 0 to 16 parted by `;`. Raises `SettingsError`."""
    rows = [row.split(",") for row in text.strip().strip(";").split(";")]
    form = "write rows of comma-separated numbers from 0 to 16, parted by semicolons, such as 0,16;16,0"
    if len({len(row) for row in rows}) != 1 or max(len(rows), len(rows[0])) > MAX_SIDE:
        raise SettingsError(
            f"--drawing has rows of {sorted({len(row) for row in rows})} cells in {len(rows)} rows; {form}, at most 64x64", "drawing"
        )
    try:
        ink = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float32)
    except ValueError:
        raise SettingsError(f"--drawing {text[:40]!r} holds something that is no number; {form}", "drawing") from None
    if not (np.isfinite(ink).all() and ink.min() >= 0 and ink.max() <= FULL_INK):
        raise SettingsError(f"--drawing holds numbers outside of 0 to 16; {form}", "drawing")
    return ink / np.float32(FULL_INK)


def has_ink(text: str) -> bool:
    """Whether anything is drawn."""
    return any(char in "123456789" for char in text)


def place(ink: NDArray[np.float32], shape: tuple[int, int, int], margin: float, full: int) -> Tensor:
    """A drawing as an input (1, C, H, W) with cells from 0 to `full`.

    The ink's bounding box is scaled to fill the height or width up to `margin` (a share of the side that stays free all around), keeping
    its proportions, and centred, as the digits of both NIST sets were.
    """
    channels, height, width = shape
    rows, columns = np.flatnonzero(ink.max(1) > 0), np.flatnonzero(ink.max(0) > 0)
    if len(rows) == 0:
        return torch.zeros(1, *shape)
    box = torch.from_numpy(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy())[None, None]  # (1, 1, h, w)
    scale = min(height * (1 - 2 * margin) / box.shape[2], width * (1 - 2 * margin) / box.shape[3])
    tall, wide = max(1, round(box.shape[2] * scale)), max(1, round(box.shape[3] * scale))
    if (tall, wide) != tuple(box.shape[2:]):
        box = F.interpolate(box, (tall, wide), mode="bilinear", align_corners=False, antialias=True)
    top, left = (height - tall) // 2, (width - wide) // 2
    placed = F.pad(box, (left, width - wide - left, top, height - tall - top))
    return placed.clamp(0, 1).mul(full).repeat(1, channels, 1, 1)
