"""From points to braille dots: smoothing, and an interval for each column of dots, so that no extreme is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 64
_HUGE = 1e300
"""Beyond this, differences would overflow."""
_DOT_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.int64)

Floats = NDArray[np.float64]


def smooth(values: Floats, weight: float) -> Floats:
    """Exponential moving average with bias correction (as in Adam's first moment); a value that is not finite stays a gap.

    Computed in blocks with a triangular matrix, so that 100,000 points take a few milliseconds without a loop over points.
    """
    if not 0 < weight < 1 or not len(values):
        return values
    finite = np.isfinite(values)
    kept = values[finite]
    count = len(kept)
    padded = np.zeros(-(-max(count, 1) // _BLOCK) * _BLOCK)
    padded[:count] = kept
    lag = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
    kernel = np.where(lag >= 0, (1 - weight) * weight ** np.maximum(lag, 0), 0.0)
    blocks = padded.reshape(-1, _BLOCK) @ kernel.T
    carry, fade = 0.0, weight**_BLOCK
    carries = np.empty(len(blocks))
    for i, last in enumerate(blocks[:, -1].tolist()):
        carries[i] = carry
        carry = last + carry * fade
    running = (blocks + np.outer(carries, weight ** np.arange(1, _BLOCK + 1))).reshape(-1)[:count]
    result = np.full(len(values), np.nan)
    early = min(count, int(np.ceil(-40 / np.log(weight))))  # later on the correction is less than rounding
    running[:early] /= 1 - weight ** np.arange(1, early + 1, dtype=np.float64)
    result[finite] = running
    return result


def clean(x: Floats, y: Floats, log: bool) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """The points that can be drawn, in order of x, and the number of the piece that each belongs to.

    A value that cannot be drawn (NaN, or not positive on a log axis) ends a piece.
    """
    size = min(len(x), len(y))
    x, y = x[:size], y[:size]
    if size > 1 and not bool(np.all(x[1:] >= x[:-1])):
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    valid = (np.abs(x) < _HUGE) & (np.abs(y) < _HUGE)  # False for NaN
    if log:
        valid &= y > 0
    if bool(valid.all()):
        return x, y, np.zeros(size, dtype=np.intp)
    return x[valid], y[valid], np.cumsum(~valid)[valid].astype(np.intp)


@dataclass(frozen=True)
class Columns:
    """The interval that a curve covers in each column of dots; NaN where it covers nothing."""

    low: Floats
    high: Floats


def columns(x: Floats, y: Floats, piece: NDArray[np.intp], left: float, right: float, count: int, line: bool) -> Columns:
    """Lowest and highest value in each of `count` equal columns over `left..right`; lines reach across empty columns."""
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    width = (right - left) / count
    if not len(x) or not width > 0:
        return Columns(low, high)
    place = np.floor((x - left) / width)
    place[x == right] = count - 1
    start, end = np.searchsorted(place, [0, count])
    if line:  # one neighbour outside on either side, so that a line enters and leaves the window
        start, end = max(0, start - 1), min(len(x), end + 1)
    if start >= end:
        return Columns(low, high)
    place, y, piece = np.clip(place[start:end], -1, count).astype(np.intp), y[start:end], piece[start:end]
    x = x[start:end]
    firsts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    lasts = np.r_[firsts[1:], len(place)] - 1
    at = place[firsts]
    inside = (at >= 0) & (at < count)
    low[at[inside]] = np.minimum.reduceat(y, firsts)[inside]
    high[at[inside]] = np.maximum.reduceat(y, firsts)[inside]
    if line and len(at) > 1:
        _join(low, high, left, width, x, y, piece, firsts, lasts)
    return Columns(low, high)


def means(x: Floats, y: Floats, piece: NDArray[np.intp], left: float, right: float, count: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """The mean of the points in each of `count` equal columns over `left..right`, so that a noisy band becomes a line.

    Points outside are kept as they are, for a line that enters or leaves the window.
    """
    width = (right - left) / count
    if len(x) < 2 or not width > 0:
        return x, y, piece
    place = np.floor((x - left) / width)
    inside = (place >= 0) & (place < count)
    start = np.r_[True, (place[1:] != place[:-1]) | (piece[1:] != piece[:-1]) | ~inside[1:]]
    firsts = np.flatnonzero(start)
    sizes = np.diff(np.r_[firsts, len(x)])
    return np.add.reduceat(x, firsts) / sizes, np.add.reduceat(y, firsts) / sizes, piece[firsts]


def _join(
    low: Floats,
    high: Floats,
    left: float,
    width: float,
    x: Floats,
    y: Floats,
    piece: NDArray[np.intp],
    firsts: NDArray[np.intp],
    lasts: NDArray[np.intp],
) -> None:
    """Extend the intervals, in place, to the straight lines from the last point of a column to the first point of the next column."""
    count = len(low)
    a, b = lasts[:-1], firsts[1:]
    joined = piece[a] == piece[b]
    edges = left + width * np.arange(1, count)
    # for each border between columns c and c + 1, the line that crosses it
    link = np.searchsorted(x[b], edges, side="left")
    link = np.minimum(link, len(a) - 1)
    run = x[b] - x[a]
    ok = joined[link] & (x[a][link] <= edges) & (x[b][link] >= edges)
    share = np.where(run[link] > 0, (edges - x[a][link]) / np.where(run[link] > 0, run[link], 1), 0.5)
    height = np.where(ok, y[a][link] + share * (y[b][link] - y[a][link]), np.nan)
    for cells in (slice(0, count - 1), slice(1, count)):
        low[cells] = np.fmin(low[cells], height)
        high[cells] = np.fmax(high[cells], height)


def dots(span: Columns, bottom: float, top: float, rows: int, log: bool) -> NDArray[np.bool_]:
    """The dots (4 x rows, columns), top row first, that the intervals cover within the limits."""
    high, low = span.high, span.low
    if log:
        with np.errstate(invalid="ignore", divide="ignore"):
            high, low = np.log10(high), np.log10(low)
        bottom, top = np.log10(bottom), np.log10(top)
    height = 4 * rows
    scale = (height - 1) / (top - bottom)
    with np.errstate(invalid="ignore"):
        first = np.rint((top - high) * scale)
        last = np.rint((top - low) * scale)
        index = np.arange(height)[:, None]
        return (index >= first) & (index <= last)


def braille(grid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Dots (4 x rows, 2 x columns) as braille patterns (rows, columns), numbers from 0 to 255."""
    height, width = grid.shape
    patterns = np.zeros((height // 4, width // 2), dtype=np.int64)
    for (row, column), bit in np.ndenumerate(_DOT_BITS):
        patterns += grid[row::4, column::2] * bit
    return patterns
