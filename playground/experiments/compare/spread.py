"""Median, quartiles and range of the curves of a group, at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GRID = 2000
"""Places at which the quartiles of a group are computed, at most."""


def quartiles(lines: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, ...]:
    """x, and of the curves that reach it minimum, lower quartile, median, upper quartile and maximum. At most `GRID` places; between its
    points a curve is a straight line."""
    x = np.unique(np.concatenate([x for x, _ in lines]))
    if len(x) > GRID:
        x = np.linspace(x[0], x[-1], GRID)
    rows = np.full((len(lines), len(x)), np.nan)
    for row, (at, values) in zip(rows, lines, strict=True):
        finite = np.isfinite(values)
        if finite.any():
            row[:] = np.interp(x, at[finite], values[finite], left=np.nan, right=np.nan)
    counts = np.isfinite(rows).sum(axis=0)
    found = np.full((5, len(x)), np.nan)
    # where every curve is, without NumPy's loop over columns for NaN
    for part, quantile in ((counts == len(lines), np.quantile), ((counts > 0) & (counts < len(lines)), np.nanquantile)):
        if part.any():
            found[:, part] = quantile(rows[:, part], [0, 0.25, 0.5, 0.75, 1], axis=0)
    return (x, *found)


def thinned(x: Floats, y: Floats, width: float) -> tuple[Floats, Floats]:
    """The means of the points within each `width` of x, so that curves of any length cost the same from here on. x rises."""
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x) or width <= 1:
        return x, y
    place = np.floor(x / width)
    firsts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    sizes = np.diff(np.r_[firsts, len(x)])
    return np.add.reduceat(x, firsts) / sizes, np.add.reduceat(y, firsts) / sizes
