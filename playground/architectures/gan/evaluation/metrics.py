"""Which modes samples belong to, how many modes they cover, and which training example is nearest to each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlplay.parts.distances import Vectors

MODE_RADIUS = 4.0
"""Standard deviations from its centre within which a sample counts as one of a mode."""
MIN_SHARE = 0.2
"""A mode is covered by this part of its fair share of the samples, so that one stray sample covers nothing."""


def assign_modes(samples: Vectors, centres: NDArray[np.float32], sigma: float) -> NDArray[np.int64]:
    """The mode that each of `samples` (N, 2) lies in, (N,), or -1 for none; `centres` is (modes, 2)."""
    distances = np.linalg.norm(samples[:, None] - centres[None].astype(np.float64), axis=2)  # (N, modes)
    nearest = distances.argmin(1)
    modes: NDArray[np.int64] = np.where(distances.min(1) < MODE_RADIUS * sigma, nearest, -1)
    return modes


def count_covered(modes: NDArray[np.int64], present: NDArray[np.int64]) -> int:
    """How many of the modes in `present` are covered by samples whose modes are `modes` (N,)."""
    least = max(1.0, MIN_SHARE * len(modes) / max(1, len(present)))
    return int(sum((modes == mode).sum() >= least for mode in present.tolist()))


def nearest_neighbours(samples: Vectors, training: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
    """Distance from each of `samples` (N, D) to the nearest of `training` (M, D), and that one's position: (N,) each."""
    squares = np.square(samples).sum(1)[:, None] + np.square(training).sum(1) - 2 * samples @ training.T  # (N, M)
    nearest: NDArray[np.int64] = squares.argmin(1)
    return np.linalg.norm(samples - training[nearest], axis=1), nearest
