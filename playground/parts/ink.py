"""Drawings from the pad, scaled and centred like the training images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlplay.engine.settings import SettingsError

FULL_INK = 16
MAX_SIDE = 64
FRAMED = 2000
"""Training images that the frame is taken from, at most."""


def parse_drawing(text: str) -> NDArray[np.float32]:
    """Ink (rows, columns) from 0 to 1, from rows of comma-separated numbers from 0 to 16 parted by `;`, or from rows of hex digits parted
    by `/`, as the pad writes them. Raises `SettingsError`."""
    if "/" in text:
        text = _from_hex(text)
    rows = [row.split(",") for row in text.strip().strip(";").split(";")]
    form = "write rows of comma-separated numbers from 0 to 16, parted by semicolons, such as 0,16;16,0"
    if len({len(row) for row in rows}) != 1 or max(len(rows), len(rows[0])) > MAX_SIDE:
        raise SettingsError(
            f"--drawing has rows of {sorted({len(row) for row in rows})} pixels in {len(rows)} rows; {form}, at most 64x64", "drawing"
        )
    try:
        ink = np.array([[float(pixel) for pixel in row] for row in rows], dtype=np.float32)
    except ValueError:
        raise SettingsError(f"--drawing {text[:40]!r} holds something that is no number; {form}", "drawing") from None
    if not (np.isfinite(ink).all() and ink.min() >= 0 and ink.max() <= FULL_INK):
        raise SettingsError(f"--drawing holds numbers outside of 0 to 16; {form}", "drawing")
    return ink / np.float32(FULL_INK)


def _from_hex(text: str) -> str:
    """Rows of the hex digits 0 to f as rows of numbers; f is full ink."""
    try:
        return ";".join(",".join(f"{int(digit, 16) * FULL_INK / 15:g}" for digit in row) for row in text.strip().strip("/").split("/"))
    except ValueError:
        raise SettingsError(f"--drawing {text[:40]!r} holds something that is no hex digit; write rows such as 0f/f0", "drawing") from None


class Frame(NamedTuple):
    """The bounding box of the ink in a training image, in pixels: the median of each number."""

    height: float
    width: float
    row: float
    """Row of the centre."""
    column: float
    """Column of the centre."""


def ink_frame(images: NDArray[np.uint8]) -> Frame:
    """Where the ink of images (N, C, H, W) lies: that of the scanned digits fills 8 rows and 6 columns."""
    inked = images[:FRAMED].max(1) > 0  # (N, H, W)
    sides = []
    for across in (2, 1):
        used = inked.any(across)  # (N, H), then (N, W)
        first, last = used.argmax(1), used.shape[1] - 1 - used[:, ::-1].argmax(1)  # an empty image counts as a full one
        sides.append((float(np.median(last - first + 1)), float(np.median((first + last) / 2))))
    (height, row), (width, column) = sides
    return Frame(height, width, row, column)


def fit_to_frame(ink: NDArray[np.float32], shape: tuple[int, int, int], frame: Frame, full: int, spread: float = 0.0) -> Tensor:
    """A drawing as an input (1, C, H, W) with pixels from 0 to `full`.

    The ink fills the frame's height, as the ink of scanned digits does. Where it would be wider than the frame it is compressed to its
    width, by a factor of two at most against the height. It is centred on the frame, or stays in its place as far as `spread` pixels from
    there.
    """
    channels, height, width = shape
    rows, columns = np.flatnonzero(ink.max(1) > 0), np.flatnonzero(ink.max(0) > 0)
    if len(rows) == 0:
        return torch.zeros(1, *shape)
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    x_scale = min(frame.width / wide, frame.height / tall)
    y_scale = min(frame.height / tall, 2 * x_scale)
    y = _places(rows, ink.shape[0], height, frame.row, y_scale, spread)
    x = _places(columns, ink.shape[1], width, frame.column, x_scale, spread)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (H n, W m, 2)
    placed = F.grid_sample(torch.from_numpy(ink)[None, None], grid[None].float(), align_corners=False)
    placed = F.avg_pool2d(placed, (len(y) // height, len(x) // width))
    return placed.clamp(0, 1).mul(full).repeat(1, channels, 1, 1)


def _places(inked: NDArray[np.int64], side: int, canvas: int, centre: float, scale: float, spread: float) -> Tensor:
    """Where each row of the canvas lies in a drawing of `side` rows that is scaled by `scale`, as `grid_sample` counts: from -1 to 1.
    Rows of a drawing that shrinks are the means of several places, lest thin lines get lost."""
    middle = (inked[0] + inked[-1]) / 2
    own = (middle + 0.5) * canvas / side - 0.5  # its place on the canvas
    centre += min(max(own - centre, -spread), spread)
    parts = max(1, int(1 / scale))  # bilinear interpolation reaches over two pixels by itself
    rows = (torch.arange(canvas * parts) + 0.5) / parts - 0.5
    places: Tensor = (2 * ((rows - centre) / scale + middle) + 1) / side - 1
    return places
