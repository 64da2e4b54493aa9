"""How close samples are to real examples: all metrics, and their baselines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.gan.data.examples import Examples
from dlplay.architectures.gan.evaluation.metrics import assign_modes, count_covered, nearest_neighbours
from dlplay.data.images import evenly_spaced
from dlplay.parts.distances import Vectors, frechet_distance, wasserstein_distance

SAMPLES = 1000
"""Samples that an evaluation draws."""
MAX_HELD_OUT = 1000
"""Held-out images in the Wasserstein distance, at most."""
MAX_TRAINING = 5000
"""Training images that the nearest neighbour of a sample is searched in, at most."""
REAL = "real vs real"
"""The baseline with training examples in place of the samples."""


class Evaluator:
    """Measures samples against `examples` as they are edited when it is created; it holds them as vectors (N, D)."""

    def __init__(self, examples: Examples) -> None:
        self.examples, self.edits = examples, examples.edits
        self.held_out = examples.real_vectors(examples.test)
        self.is_images = examples.images is not None
        if self.is_images:
            self.reference = self.held_out[evenly_spaced(len(self.held_out), MAX_HELD_OUT)]
            chosen = evenly_spaced(len(examples.train), MAX_TRAINING)
            self.training = examples.real_vectors(examples.train[chosen.tolist()])
            self._classes = examples.train_modes[chosen]

    def measure(self, samples: Vectors) -> dict[str, float]:
        """All metrics of `samples` (N, D)."""
        return self._images(samples) if self.is_images else self._points(samples)

    def modes(self, samples: Vectors) -> NDArray[np.int64]:
        """The mode or class of each of `samples` (N, D), (N,); -1 for none. An image has the class of the nearest training image."""
        examples = self.examples
        if self.is_images:
            return self._classes[nearest_neighbours(samples, self.training)[1]]
        assert examples.points is not None
        return assign_modes(samples, examples.centres, examples.points.sigma)

    def covered(self, samples: Vectors) -> int:
        """How many of the present modes or classes `samples` (N, D) cover."""
        return count_covered(self.modes(samples), self.examples.present)

    def _points(self, samples: Vectors) -> dict[str, float]:
        found = {"wasserstein_distance": wasserstein_distance(samples, self.held_out)}
        if len(self.examples.centres):
            modes = self.modes(samples)
            modes = np.where(np.isin(modes, self.examples.present), modes, -1)
            found["modes_covered"] = float(self.covered(samples))
            found["high_quality_share"] = float((modes >= 0).mean())
        return found

    def _images(self, samples: Vectors) -> dict[str, float]:
        """The Wasserstein distance is between equally many samples and held-out images; the rest is of all samples."""
        distances, nearest = nearest_neighbours(samples, self.training)
        classes = float(count_covered(self._classes[nearest], self.examples.present))
        return {
            "wasserstein_distance": wasserstein_distance(samples[: len(self.reference)], self.reference),
            "frechet_distance": frechet_distance(samples, self.held_out),
            "modes_covered": classes,
            "classes_covered": classes,
            "nearest_distance": float(distances.mean()),
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """`{metric: {method: value}}`, where in place of the samples come training examples, draws from one Gaussian fitted to them, or
        training examples of half of the modes."""
        rng = np.random.default_rng(4)
        examples, present = self.examples, self.examples.present
        real = examples.real_vectors(examples.train[rng.integers(0, len(examples.train), SAMPLES).tolist()])
        methods = {REAL: real}
        training = self.training if self.is_images else examples.real_vectors(examples.train)
        gaussian = rng.multivariate_normal(training.mean(0), np.atleast_2d(np.cov(training, rowvar=False)), SAMPLES)
        methods["single Gaussian"] = gaussian.clip(0, 1) if self.is_images else gaussian
        if self.is_images or len(examples.centres):
            half = np.flatnonzero(np.isin(examples.train_modes, present[: len(present) // 2]))
            chosen = half[rng.integers(0, len(half), SAMPLES)]
            methods["half of the " + ("classes" if self.is_images else "modes")] = examples.real_vectors(examples.train[chosen.tolist()])
        found: dict[str, dict[str, float]] = {}
        for method, samples in methods.items():
            for metric, value in self.measure(samples).items():
                found.setdefault(metric, {})[method] = value
        if self.is_images:  # a training image is its own nearest neighbour: held-out ones say how far away a new image is
            distances = nearest_neighbours(self.held_out[evenly_spaced(len(self.held_out), SAMPLES)], self.training)[0]
            found["nearest_distance"] = {REAL: float(distances.mean())}
        return found
