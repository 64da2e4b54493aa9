"""What methods without a neural net reach on the same held-out images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
Labels = NDArray[np.int64]

MOST_NUMBERS = 16_000_000
"""Cells of all training images together that the baselines learn from at the most; their names say so when there are more."""
DRAWS, FEW = 5, 3000
"""Noisy copies of every training image that ridge regression learns from, where there are few."""
CHOSEN_ON, MOST_COMPONENTS = 1000, 128
"""Noisy images that the number of components is chosen on, and the largest such number."""
NEIGHBOURS, JUDGED = 5000, 1000
"""Training images that the nearest neighbour is looked for in, and held-out images whose class is asked for, at the most."""


def fitting(count: int, cells: int) -> tuple[int, str]:
    """How many of so many images are learnt from, and what the name of a method says then."""
    most = MOST_NUMBERS // cells
    if count <= most:
        return count, ""
    most = max(1000, most // 1000 * 1000)
    return most, f" ({most // 1000}k)"


class Components:
    """Principal components of images (n, D): the best that any linear autoencoder can do on them."""

    def __init__(self, images: Numbers) -> None:
        self.mean = images.mean(0, dtype=np.float64)
        centred = images - self.mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        self.vectors = vectors[:, ::-1]  # (D, D), the direction with the largest variance first

    def error(self, count: int, inputs: Numbers, images: Numbers) -> float:
        """Mean squared error of a cell when the first `count` components of `inputs` (n, D) are kept, against `images`."""
        kept = self.vectors[:, :count]
        return float(np.square((inputs - self.mean) @ kept @ kept.T + self.mean - images).mean())

    def errors(self, images: Numbers) -> NDArray[np.float64]:
        """The error without noise by the number of components, from 0 to D."""
        squares = np.square((images - self.mean) @ self.vectors).mean(0)  # (D,)
        left: NDArray[np.float64] = np.maximum(squares.sum() - np.concatenate([[0.0], np.cumsum(squares)]), 0) / images.shape[1]
        return left


def reconstruction_errors(images: Numbers, test: Numbers, latent: int, *, linear: bool) -> dict[str, float]:
    """Mean squared error of a held-out cell with `latent` principal components of the training images (n, D); nothing when all of them
    fit into the code. Its name says where a net is linear itself and cannot do better."""
    if latent >= images.shape[1]:
        return {}
    return {"PCA, the linear optimum" if linear else "PCA": Components(images).error(latent, test, test)}


def denoising_errors(clean: Numbers, noisy: Numbers, test: Numbers, inputs: Numbers) -> dict[str, float]:
    """Mean squared error of a held-out cell against the clean images `test` (m, D): of the noisy `inputs` themselves; of as many principal
    components of them as do best on training images; and of ridge regression from noisy to clean ones, cut off at 0 and 1."""
    from sklearn.linear_model import Ridge

    components = Components(clean)
    most = min(clean.shape[1], MOST_COMPONENTS)
    best = min(range(1, most + 1), key=lambda count: components.error(count, noisy[:CHOSEN_ON], clean[:CHOSEN_ON]))
    ridge = Ridge(alpha=1.0).fit(noisy, clean)
    return {
        "identity": float(np.square(inputs - test).mean()),
        f"PCA {best}": components.error(best, inputs, test),
        "ridge": float(np.square(ridge.predict(inputs).clip(0, 1) - test).mean()),
    }


def copies(count: int) -> int:
    """Noisy copies of each of so many training images that a method learns from."""
    return DRAWS if count <= FEW else 1


def evenly(count: int, most: int) -> Any:
    """Positions of all of so many images, or of evenly chosen ones."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def nearest_accuracy(codes: Numbers, labels: Labels, test_codes: Numbers, test_labels: Labels) -> float:
    """Share of held-out codes (m, k) whose nearest training code (n, k) is of the same class."""
    lengths = np.square(codes).sum(1)  # (n,)
    nearest = (lengths - 2 * test_codes @ codes.T).argmin(1)  # the held-out code's own length changes no order
    return float((labels[nearest] == test_labels).mean())
