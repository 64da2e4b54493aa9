"""What methods without a neural net reach on the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from playground.data.images import ImageData

MOST = 5000
"""Training images that the baselines learn from at the most; the names say so when there are more."""


def measure_baselines(images: ImageData) -> dict[str, float]:
    """Held-out accuracy of logistic regression, one nearest neighbour and a support vector machine with an RBF kernel."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    x, y = _flat(images.train_images, images.full)[:MOST], images.train_labels[:MOST]
    test_x, test_y = _flat(images.test_images, images.full), images.test_labels
    suffix = f" ({MOST // 1000}k)" if len(images.train_labels) > MOST else ""
    methods = {
        "logistic regression": LogisticRegression(max_iter=1000),
        "nearest neighbour": KNeighborsClassifier(1),
        "SVC": SVC(gamma="scale"),
    }
    return {name + suffix: float(method.fit(x, y).score(test_x, test_y)) for name, method in methods.items()}


def _flat(images: NDArray[np.uint8], full: int) -> NDArray[np.float32]:
    return (images.reshape(len(images), -1) / np.float32(full)).astype(np.float32)
