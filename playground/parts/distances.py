"""Distances between two distributions, each known by a sample of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
"""(N, D): N points of D numbers, such as places in the plane or the pixels of images."""


def wasserstein_distance(x: Vectors, y: Vectors) -> float:
    """Exact Wasserstein-1 (earth mover's) distance between `x` (N, D) and `y` (M, D), each point with the same weight.

    It is the mean Euclidean distance that the points of `x` have to be moved to become `y`, under the optimal transport plan, which POT's
    network simplex finds (Flamary et al., 2021). The matrix of all N x M distances is formed.
    """
    from ot import dist, emd2  # scipy and scikit-learn come with it, which take longer than everything else that a GAN imports

    weights = (np.full(len(points), 1 / len(points)) for points in (x, y))
    return float(emd2(*weights, dist(x, y, metric="euclidean"), numItermax=10_000_000))


def frechet_distance(x: Vectors, y: Vectors) -> float:
    """Fréchet distance between the Gaussians with the mean and covariance of `x` (N, D) and of `y` (M, D) (Dowson and Landau, 1982):

    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)), where the root's trace is that of the symmetric (C^(1/2) C' C^(1/2))^(1/2).
    """
    difference = x.mean(0) - y.mean(0)
    of_x, of_y = (np.atleast_2d(np.cov(points, rowvar=False)) for points in (x, y))  # (D, D) each
    values, vectors = np.linalg.eigh(of_x)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ of_y @ root).clip(0)).sum()
    return float(max(0.0, difference @ difference + np.trace(of_x) + np.trace(of_y) - 2 * cross))
