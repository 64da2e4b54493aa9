"""Prioritised replay (Schaul et al., 2016, proportional): a transition is sampled in proportion to its priority |TD error|^alpha.

Priorities are kept in blocks, with the sum of each block beside them. Sampling finds the block first and then the row in it; an update adds
its blocks up again. So nothing is summed over the whole buffer, and no rounding error accumulates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 256
EPSILON = 1e-6
"""Added to every |TD error|, so that no transition is never replayed."""


class Priorities:
    """One priority for each row of a buffer; 0 where nothing can be sampled."""

    def __init__(self, rows: int, alpha: float) -> None:
        self.alpha = alpha
        self.values = np.zeros((-(-rows // BLOCK), BLOCK))
        self.sums = np.zeros(len(self.values))
        self.highest = 1.0
        """The largest priority so far; new transitions get it, so that each is soon replayed."""

    def add(self, row: int) -> None:
        """A transition whose TD error is not known yet."""
        self._set(row, self.highest)

    def remove(self, row: int) -> None:
        """It can no longer be sampled."""
        self._set(row, 0.0)

    def _set(self, row: int, priority: float) -> None:
        block = row // BLOCK
        self.values[block, row % BLOCK] = priority
        self.sums[block] = self.values[block].sum()

    def update(self, rows: NDArray[np.int64], td_errors: NDArray[Any]) -> None:
        """New TD errors (B,) of these rows (B,)."""
        priorities = (np.abs(td_errors).astype(np.float64) + EPSILON) ** self.alpha
        self.values.reshape(-1)[rows] = priorities
        blocks = np.unique(rows // BLOCK)
        self.sums[blocks] = self.values[blocks].sum(1)
        self.highest = max(self.highest, float(priorities.max()))

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows (count,): one from each of `count` equal strata of the sum of all priorities."""
        ends = self.sums.cumsum()
        points = (np.arange(count) + rng.random(count)) * (ends[-1] / count)
        blocks = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
        within = points - (ends[blocks] - self.sums[blocks])
        parts = self.values[blocks].cumsum(1)  # (count, BLOCK)
        places = np.minimum((parts <= within[:, None]).sum(1), BLOCK - 1)
        rows: NDArray[np.int64] = blocks * BLOCK + places
        for index in np.flatnonzero(self.values[blocks, places] == 0):  # rounding went past the last row
            rows[index] = np.flatnonzero(self.values.reshape(-1))[-1]
        return rows

    def weights(self, rows: NDArray[np.int64], count: int, beta: float) -> NDArray[np.float32]:
        """Importance-sampling weights (count * probability)^-beta of sampled rows (B,), divided by the largest of them."""
        weights = (count * self.values.reshape(-1)[rows] / self.sums.sum()) ** -beta
        normalised: NDArray[np.float32] = (weights / weights.max()).astype(np.float32)
        return normalised

    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probability (B,) that a draw takes each of these rows (B,)."""
        probabilities: NDArray[np.float64] = self.values.reshape(-1)[rows] / max(self.sums.sum(), 1e-300)
        return probabilities

    def state(self) -> dict[str, Any]:
        return {"values": torch.from_numpy(self.values.copy()), "highest": self.highest}

    def load_state(self, state: dict[str, Any]) -> None:
        self.values[:] = state["values"].numpy()
        self.sums = self.values.sum(1)
        self.highest = float(state["highest"])
