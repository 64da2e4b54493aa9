"""What methods without a neural net reach on the same images."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from dlplay.data.images import ImageData

MOST_NUMBERS = 4_000_000
"""Cells of all training images together that the baselines learn from at the most; their names say so when there are more."""
SCORED_AT_ONCE = 1000

Cells = NDArray[np.float64]
Labels = NDArray[np.int64]


def measure_baselines(images: ImageData) -> dict[str, float]:
    """Held-out accuracy of logistic regression, one nearest neighbour and a support vector machine with an RBF kernel.

    All held-out images are judged; of many training images only the first are learnt from, a round thousand, so that it takes seconds.
    """
    count = len(images.train_labels)
    fitting = MOST_NUMBERS // images.train_images[0].size
    most = count if count <= fitting else max(1000, fitting // 1000 * 1000)
    suffix = "" if most == count else f" ({most // 1000}k)"
    x, y = _flat(images.train_images[:most], images.full), images.train_labels[:most]
    test_x, test_y = _flat(images.test_images, images.full), images.test_labels
    found = {"logistic regression": _logistic(x, y, test_x), "nearest neighbour": _nearest(x, y, test_x), "SVC": _support(x, y, test_x)}
    return {name + suffix: float((decided == test_y).mean()) for name, decided in found.items()}


def _logistic(x: Cells, y: Labels, test_x: Cells) -> Labels:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 300 rounds are near enough
        model = LogisticRegression(max_iter=300).fit(x, y)
    decided: Labels = model.predict(test_x)
    return decided


def _nearest(x: Cells, y: Labels, test_x: Cells) -> Labels:
    from sklearn.neighbors import KNeighborsClassifier

    decided: Labels = KNeighborsClassifier(1, algorithm="brute").fit(x, y).predict(test_x)
    return decided


def _support(x: Cells, y: Labels, test_x: Cells) -> Labels:
    """The kernel is one matrix product, many times quicker than the machine's own loops. C=10 is the strongest of 1, 10 and 100."""
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.svm import SVC

    gamma = 1 / (x.shape[1] * x.var())  # what scikit-learn calls "scale"
    model = SVC(C=10, kernel="precomputed").fit(rbf_kernel(x, gamma=gamma), y)
    parts = [model.predict(rbf_kernel(test_x[i : i + SCORED_AT_ONCE], x, gamma=gamma)) for i in range(0, len(test_x), SCORED_AT_ONCE)]
    return np.concatenate(parts)


def _flat(images: NDArray[np.uint8], full: int) -> Cells:
    return images.reshape(len(images), -1) / float(full)
