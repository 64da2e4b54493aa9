"""The figures of a set of samples, and the same figures for real examples, one broad Gaussian and half of the modes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.gan import metrics
from dlplay.architectures.gan.examples import Cells, Examples

SAMPLES = 1000
"""Samples that an evaluation draws."""
MOST_HELD_OUT = 1000
"""Held-out images whose earth mover's distance is taken, at the most."""
MOST_TRAINING = 5000
"""Training images that a sample's nearest neighbour is looked for in, at the most."""
REAL = "real against real"


class Judge:
    """Holds the held-out examples in the form that they are measured in."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self.held_out = examples.stored(examples.test)
        self.is_images = examples.images is not None
        if self.is_images:
            self.reference = self.held_out[_evenly(len(self.held_out), MOST_HELD_OUT)]
            chosen = _evenly(len(examples.train), MOST_TRAINING)
            self.training = examples.stored(examples.train[chosen.tolist()])
            self._classes = examples.train_modes[chosen]

    def measure(self, samples: Cells) -> dict[str, float]:
        """All figures of samples (N, numbers)."""
        return self._images(samples) if self.is_images else self._points(samples)

    def modes(self, samples: Cells) -> NDArray[np.int64]:
        """The mode or class of each sample; -1 for none. An image has the class of the training image nearest to it."""
        examples = self.examples
        if self.is_images:
            return self._classes[metrics.nearest_training(samples, self.training)[1]]
        assert examples.points is not None
        return metrics.in_modes(samples, examples.centres, examples.points.sigma)

    def _points(self, samples: Cells) -> dict[str, float]:
        found = {"wasserstein_distance": metrics.wasserstein_distance(samples, self.held_out)}
        if len(self.examples.centres):
            modes = self.modes(samples)
            modes = np.where(np.isin(modes, self.examples.present), modes, -1)
            found["modes_covered"] = float(metrics.covered(modes, self.examples.present))
            found["high_quality_share"] = float((modes >= 0).mean())
        return found

    def _images(self, samples: Cells) -> dict[str, float]:
        """The earth mover's distance is between equally many samples and held-out images; the rest is of all samples."""
        distances, nearest = metrics.nearest_training(samples, self.training)
        classes = float(metrics.covered(self._classes[nearest], self.examples.present))
        return {
            "wasserstein_distance": metrics.wasserstein_distance(samples[: len(self.reference)], self.reference),
            "frechet_distance": metrics.frechet_distance(samples, self.held_out),
            "modes_covered": classes,
            "classes_covered": classes,
            "nearest_distance": float(distances.mean()),
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """The figures of as many examples that no net made, by metric and method."""
        rng = np.random.default_rng(4)
        real = self.examples.stored(self.examples.train[rng.integers(0, len(self.examples.train), SAMPLES).tolist()])
        methods = {REAL: real}
        everything = self.training if self.is_images else self.examples.stored(self.examples.train)
        broad = rng.multivariate_normal(everything.mean(0), np.atleast_2d(np.cov(everything, rowvar=False)), SAMPLES)
        methods["one broad Gaussian"] = broad.clip(0, 1) if self.is_images else broad
        present = self.examples.present
        if self.is_images or len(self.examples.centres):
            half = np.flatnonzero(np.isin(self.examples.train_modes, present[: len(present) // 2]))
            chosen = half[rng.integers(0, len(half), SAMPLES)]
            methods["half of the " + ("classes" if self.is_images else "modes")] = self.examples.stored(
                self.examples.train[chosen.tolist()]
            )
        found: dict[str, dict[str, float]] = {}
        for method, samples in methods.items():
            for metric, value in self.measure(samples).items():
                found.setdefault(metric, {})[method] = value
        if self.is_images:  # a training image is its own neighbour: held-out ones say how far a new image is
            distances = metrics.nearest_training(self.held_out[_evenly(len(self.held_out), SAMPLES)], self.training)[0]
            found["nearest_distance"] = {REAL: float(distances.mean())}
        return found


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` of `count`, evenly spread."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)
