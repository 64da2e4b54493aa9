"""Matrices and pictures as rows of half blocks, two pixels in a cell; with few colours, as shade characters."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from dlplay.widgets.drawing.palette import Palette, Scale
from dlplay.widgets.drawing.rows import Row


def resample(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    """An image (h, w, ...) at another size: pixels are repeated to enlarge it, and averaged over areas to reduce it.

    A u1 image is averaged over the exact areas; other numbers, which need not be finite, over whole pixels.
    """
    exact = image.dtype == np.uint8
    for axis, size in ((0, height), (1, width)):
        have = image.shape[axis]
        if size > have:
            image = np.take(image, np.arange(size) * have // size, axis=axis)
        elif size < have:
            image = _exact_mean(image, axis, size) if exact else _mean(image, axis, size)
    return image


def _mean(image: NDArray[np.generic], axis: int, size: int) -> NDArray[np.float64]:
    have = image.shape[axis]
    edges = np.arange(size) * have // size
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(image.astype(np.float64), edges, axis=axis)
    counts = np.diff(np.append(edges, have)).reshape([-1 if dim == axis else 1 for dim in range(image.ndim)])
    return np.asarray(sums / counts, dtype=np.float64)


def _exact_mean(image: NDArray[np.generic], axis: int, size: int) -> NDArray[np.float64]:
    """The mean in which each old pixel counts by the share of it that the new one covers."""
    have = image.shape[axis]
    values = np.moveaxis(image, axis, 0).astype(np.float64)
    values = np.concatenate([values, np.zeros_like(values[:1])])  # so that there is a pixel behind the last edge
    edges = np.arange(size + 1) * (have / size)
    first = np.minimum(edges.astype(np.intp), have)
    share = (edges - first).reshape(-1, *([1] * (values.ndim - 1)))
    before = values[first] * share
    sums = np.add.reduceat(values, first[:-1], axis=0) - before[:-1] + before[1:]
    return np.moveaxis(np.asarray(sums * (size / have), dtype=np.float64), 0, axis)


def colour_key(low: str, high: str, room: int, scale: Scale, palette: Palette) -> Row:
    """The colours of a scale between the values that its ends stand for, in `room` cells at most; nothing where that is too little."""
    count = min(16, room - cell_len(low) - cell_len(high) - 4)
    if count < 4:
        return []
    ramp = np.rint(np.linspace(0, len(scale.colours) - 2, count)).astype(np.intp)[None, :].repeat(2, axis=0)
    muted = palette.style("muted")
    return [Segment(f" {low} ", muted), *level_rows(ramp, scale, palette)[0], Segment(f" {high}", muted)]


def level_rows(levels: NDArray[np.intp], scale: Scale, palette: Palette) -> list[Row]:
    """Rows of cells for levels (height, width), two pixels in a cell; equal neighbours share a segment."""
    if levels.shape[0] % 2:
        levels = np.vstack([levels, np.full((1, levels.shape[1]), scale.nothing)])
    top, bottom = levels[0::2], levels[1::2]
    if palette.shaded:
        return _shade_rows(_mean_levels(top, bottom, scale), scale, palette)
    if not palette.halves:
        top = bottom = _mean_levels(top, bottom, scale)
    rows: list[Row] = []
    width = levels.shape[1]
    codes = top * 64 + bottom
    starts = codes[:, 1:] != codes[:, :-1]
    for y in range(len(top)):
        edges = [0, *(np.flatnonzero(starts[y]) + 1).tolist(), width] if width else []
        line = codes[y].tolist()
        row: Row = []
        for start, end in pairwise(edges):
            a, b = divmod(line[start], 64)
            row.append(Segment((" " if a == b else "▀") * (end - start), scale.pair(a, b)))
        rows.append(row)
    return rows


def _mean_levels(top: NDArray[np.intp], bottom: NDArray[np.intp], scale: Scale) -> NDArray[np.intp]:
    """The mean of the two pixels of each cell; an empty half does not count."""
    return np.where(bottom == scale.nothing, top, np.where(top == scale.nothing, bottom, (top + bottom) // 2))


def _shade_rows(levels: NDArray[np.intp], scale: Scale, palette: Palette) -> list[Row]:
    """One shade character per cell."""
    style = palette.style("text")
    shades = scale.shades
    return [[Segment("".join(shades[i] for i in line), style)] for line in levels.tolist()]


@lru_cache(maxsize=16384)
def _rgb_style(top: int, bottom: int) -> Style:
    return Style(
        color=Color.from_rgb(top >> 16, top >> 8 & 255, top & 255),
        bgcolor=Color.from_rgb(bottom >> 16, bottom >> 8 & 255, bottom & 255),
    )


def rgb_rows(pixels: NDArray[np.generic], palette: Palette) -> list[Row]:
    """Rows of cells for colours (height, width, 3) u1, rounded to 32 levels per channel so that styles can be cached.

    Without colours, the brightness as shade characters.
    """
    image = np.clip(np.rint(pixels.astype(np.float64)), 0, 255).astype(np.int64)
    if image.shape[0] % 2:
        edge = np.broadcast_to(np.array(palette.background, dtype=np.int64), (1, image.shape[1], 3))
        image = np.concatenate([image, edge])
    if palette.mode == "mono":
        grey = image @ np.array([0.2126, 0.7152, 0.0722])
        mean = np.rint((grey[0::2] + grey[1::2]) / 2 / 255 * (len(palette.levels.colours) - 2)).astype(np.intp)
        style = palette.style("text")
        return [[Segment("".join(palette.levels.shades[i] for i in line), style)] for line in mean.tolist()]
    if not palette.halves:
        image[0::2] = image[1::2] = (image[0::2] + image[1::2]) // 2
    background = (image == np.array(palette.background)).all(axis=2)  # not rounded, or the picture would have a visible edge
    image = np.where(background[..., None], image, image & 0xF8 | image >> 5)
    packed = image[..., 0] << 16 | image[..., 1] << 8 | image[..., 2]
    top, bottom = packed[0::2], packed[1::2]
    starts = (top[:, 1:] != top[:, :-1]) | (bottom[:, 1:] != bottom[:, :-1])
    width = image.shape[1]
    rows: list[Row] = []
    for y in range(len(top)):
        edges = [0, *(np.flatnonzero(starts[y]) + 1).tolist(), width]
        upper, lower = top[y].tolist(), bottom[y].tolist()
        row: Row = []
        for start, end in pairwise(edges):
            a, b = upper[start], lower[start]
            row.append(Segment((" " if a == b else "▀") * (end - start), _rgb_style(a, b)))
        rows.append(row)
    return rows
