"""How near samples are to held-out examples, whatever the discriminator thinks of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ot import dist, emd2

Cells = NDArray[np.float64]
"""Examples (N, numbers): points of the plane, or the cells of images from 0 to 1."""

WITHIN = 4.0
"""Standard deviations from its centre within which a sample counts as one of a mode."""
FAIR = 0.2
"""A mode is covered by this part of its fair share of the samples: one stray sample covers nothing."""


def wasserstein_distance(samples: Cells, held_out: Cells) -> float:
    """Exact earth mover's distance between two sets of points, each point with the same weight: the least mean distance that the samples
    have to be carried to become the held-out points (the optimal plan of POT's network simplex)."""
    cost = dist(samples, held_out, metric="euclidean")
    return float(emd2(np.full(len(samples), 1 / len(samples)), np.full(len(held_out), 1 / len(held_out)), cost, numItermax=10_000_000))


def frechet_distance(samples: Cells, held_out: Cells) -> float:
    """Fréchet distance between the Gaussians with the mean and covariance of each (Dowson and Landau, 1982), here in the cells themselves:

    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)), where the root's trace is that of the symmetric (C^(1/2) C' C^(1/2))^(1/2).
    """
    difference = samples.mean(0) - held_out.mean(0)
    one, other = (np.atleast_2d(np.cov(cells, rowvar=False)) for cells in (samples, held_out))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(max(0.0, difference @ difference + np.trace(one) + np.trace(other) - 2 * cross))


def in_modes(samples: Cells, centres: NDArray[np.float32], sigma: float) -> NDArray[np.int64]:
    """The mode that each sample lies within, (N,); -1 for none."""
    distances = np.linalg.norm(samples[:, None] - centres[None].astype(np.float64), axis=2)  # (N, modes)
    nearest = distances.argmin(1)
    modes: NDArray[np.int64] = np.where(distances.min(1) < WITHIN * sigma, nearest, -1)
    return modes


def covered(modes: NDArray[np.int64], present: NDArray[np.int64]) -> int:
    """How many of the modes that are `present` have a part of their fair share of the samples; `modes` (N,) says where each sample lies."""
    least = max(1.0, FAIR * len(modes) / max(1, len(present)))
    return int(sum((modes == mode).sum() >= least for mode in present.tolist()))


def nearest_training(samples: Cells, training: Cells) -> tuple[Cells, NDArray[np.int64]]:
    """Distance of each sample to the training example nearest to it, and that one's position, (N,) each."""
    squares = np.square(samples).sum(1)[:, None] + np.square(training).sum(1) - 2 * samples @ training.T
    nearest: NDArray[np.int64] = squares.argmin(1)
    return np.linalg.norm(samples - training[nearest], axis=1), nearest
