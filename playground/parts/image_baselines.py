"""What methods without a neural network reach on the same images: classifiers, principal components, denoising by regression."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from dlplay.data.images import ImageData

Rows = NDArray[np.float32]
"""Images as vectors (n, D), with pixels from 0 to 1."""
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

CLASSIFIED_IMAGES, CLASSIFIED_PIXELS = 10_000, 8_000_000
"""Training images that classifiers are fitted on, and pixels of them together, at most: the kernel of 10,000 images takes 0.8 GB."""
TEST_BATCH = 1000
SELECTED_ON, MAX_COMPONENTS = 1000, 128
"""Noisy images on which the number of components is selected, and the largest number tried."""


def subset(count: int, pixels: int, most: int) -> tuple[int, str]:
    """How many of `count` images of so many pixels a method is fitted on, so that it takes seconds: all of them, or the first ones with
    `most` pixels together, in round thousands; and what is added to the method's name then."""
    fitting = most // pixels
    if count <= fitting:
        return count, ""
    thousands = max(1, fitting // 1000)
    return 1000 * thousands, f" ({thousands}k of {count / 1000:.3g}k)"


# --- classification ---------------------------------------------------------------------------------------------------------------


def classification_accuracies(images: ImageData) -> dict[str, float]:
    """Held-out accuracy of logistic regression, one nearest neighbour and a support vector machine with an RBF kernel. Where they are not
    fitted on all training images, their names say on how many."""
    count, pixels = len(images.train_labels), images.train_images[0].size
    first, suffix = subset(count, pixels, min(CLASSIFIED_PIXELS, CLASSIFIED_IMAGES * pixels))
    x, y = _rows(images.train_images[:first], images.full), images.train_labels[:first]
    test_x, test_y = _rows(images.test_images, images.full), images.test_labels
    predictions = {"logistic regression": _logistic(x, y, test_x), "nearest neighbour": _nearest(x, y, test_x)}
    if x.var() > 0:  # its kernel has no width on images that are all alike
        predictions["SVC"] = _svc(x, y, test_x)
    return {name + suffix: float((predicted == test_y).mean()) for name, predicted in predictions.items()}


def _logistic(x: Floats, y: Labels, test_x: Floats) -> Labels:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 300 iterations are close enough to convergence
        model = LogisticRegression(max_iter=300).fit(x, y)
    predicted: Labels = model.predict(test_x)
    return predicted


def _nearest(x: Floats, y: Labels, test_x: Floats) -> Labels:
    from sklearn.neighbors import KNeighborsClassifier

    predicted: Labels = KNeighborsClassifier(1, algorithm="brute").fit(x, y).predict(test_x)
    return predicted


def _svc(x: Floats, y: Labels, test_x: Floats) -> Labels:
    """C=10 is the best of 1, 10 and 100. One matrix product for the kernel is many times faster than libsvm's own loops."""
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.svm import SVC

    gamma = 1 / (x.shape[1] * x.var())  # scikit-learn's "scale"
    model = SVC(C=10, kernel="precomputed").fit(rbf_kernel(x, gamma=gamma), y)
    return np.concatenate(
        [model.predict(rbf_kernel(test_x[i : i + TEST_BATCH], x, gamma=gamma)) for i in range(0, len(test_x), TEST_BATCH)]
    )


def _rows(images: NDArray[np.uint8], full: int) -> Floats:
    return images.reshape(len(images), -1) / float(full)


# --- reconstruction ---------------------------------------------------------------------------------------------------------------


class PrincipalComponents:
    """Principal components of images (n, D): no linear autoencoder has a smaller squared error on them."""

    def __init__(self, images: Rows) -> None:
        self.fitted = len(images)
        self.mean = images.mean(0, dtype=np.float64)
        centred = images - self.mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        self.components = vectors[:, ::-1]  # (D, D), one per column, the largest variance first

    def error(self, count: int, inputs: Rows, images: Rows) -> float:
        """Mean squared error per pixel between `images` (n, D) and the projections of `inputs` onto the first `count` components."""
        return float(np.square(self.projected(count, inputs) - images).mean())

    def projected(self, count: int, inputs: Rows) -> Floats:
        """`inputs` (n, D) projected onto the first `count` components."""
        kept = self.components[:, :count]
        found: Floats = (inputs - self.mean) @ kept @ kept.T + self.mean
        return found

    def errors(self, images: Rows) -> Floats:
        """Mean squared error per pixel of the images' projections onto the first 0, 1, … D components (D + 1,)."""
        squares = np.square((images - self.mean) @ self.components).mean(0)  # (D,)
        left: Floats = np.maximum(squares.sum() - np.concatenate([[0.0], np.cumsum(squares)]), 0) / images.shape[1]
        return left


def denoising_errors(clean: Rows, noisy: Rows, test: Rows, test_noisy: Rows) -> dict[str, float]:
    """Mean squared error per pixel against `test` (m, D): of the noisy images `test_noisy`; of their projections onto principal components,
    as many as are best on training images; and of ridge regression from noisy to clean images, clipped to 0..1."""
    from sklearn.linear_model import Ridge

    pca = PrincipalComponents(clean)
    most = min(clean.shape[1], MAX_COMPONENTS)
    best = min(range(1, most + 1), key=lambda count: pca.error(count, noisy[:SELECTED_ON], clean[:SELECTED_ON]))
    ridge = Ridge(alpha=1.0).fit(noisy, clean)
    return {
        "identity": float(np.square(test_noisy - test).mean()),
        f"PCA {best}": pca.error(best, test_noisy, test),
        "ridge": float(np.square(ridge.predict(test_noisy).clip(0, 1) - test).mean()),
    }
