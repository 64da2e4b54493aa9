"""Distances between distributions, against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance as wasserstein_1d

from dlplay.parts.distances import frechet_distance, wasserstein_distance


def test_the_wasserstein_distance_is_exact() -> None:
    rng = np.random.default_rng(0)
    for sizes in ((200, 200), (150, 70)):
        one, other = (rng.standard_normal((size, 1)) + shift for size, shift in zip(sizes, (0, 0.7), strict=True))
        assert wasserstein_distance(one, other) == pytest.approx(wasserstein_1d(one[:, 0], other[:, 0]), rel=1e-9)
    square = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    assert wasserstein_distance(square, square + np.array([3, 4])) == pytest.approx(5.0)


def test_the_frechet_distance_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((500, 5)) @ rng.standard_normal((5, 5)), rng.standard_normal((400, 5)) + 0.3
    a, b = np.cov(one.T), np.cov(other.T)
    formula = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance(one, other) == pytest.approx(formula, rel=1e-8)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)
    shifted = one + np.array([3.0, 0, 0, 0, 4])
    assert frechet_distance(shifted, one) == pytest.approx(25.0, rel=1e-9)
