"""Prioritised replay (Schaul et al., 2016, proportional): a transition is drawn as often as its priority |TD error|^alpha says.

Priorities lie in blocks, and each block's sum beside them: a draw looks for the block and then within it, a change adds up its blocks
again, so nothing is summed over the whole buffer and no rounding error grows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 256
SMALLEST = 1e-6
"""Added to each TD error, so that nothing is forgotten for good."""


class Priorities:
    """One priority for each row of a buffer; 0 where nothing can be drawn."""

    def __init__(self, rows: int, alpha: float) -> None:
        self.alpha = alpha
        self.values = np.zeros((-(-rows // BLOCK), BLOCK))
        self.sums = np.zeros(len(self.values))
        self.highest = 1.0
        """The largest priority ever given; new transitions get it, so that each is replayed soon."""

    def add(self, row: int) -> None:
        """A transition whose TD error is not known yet."""
        self._put(row, self.highest)

    def remove(self, row: int) -> None:
        """It can no longer be drawn."""
        self._put(row, 0.0)

    def _put(self, row: int, priority: float) -> None:
        block = row // BLOCK
        self.values[block, row % BLOCK] = priority
        self.sums[block] = self.values[block].sum()

    def update(self, rows: NDArray[np.int64], errors: NDArray[Any]) -> None:
        """After an update: the TD errors of these rows."""
        priorities = (np.abs(errors).astype(np.float64) + SMALLEST) ** self.alpha
        self.values.reshape(-1)[rows] = priorities
        blocks = np.unique(rows // BLOCK)
        self.sums[blocks] = self.values[blocks].sum(1)
        self.highest = max(self.highest, float(priorities.max()))

    def draw(self, count: int, chance: np.random.Generator) -> NDArray[np.int64]:
        """Rows, one from each of `count` equal strata of the sum of all priorities."""
        ends = self.sums.cumsum()
        points = (np.arange(count) + chance.random(count)) * (ends[-1] / count)
        blocks = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
        within = points - (ends[blocks] - self.sums[blocks])
        parts = self.values[blocks].cumsum(1)  # (count, BLOCK)
        places = np.minimum((parts <= within[:, None]).sum(1), BLOCK - 1)
        rows: NDArray[np.int64] = blocks * BLOCK + places
        for index in np.flatnonzero(self.values[blocks, places] == 0):  # rounding went past the last one
            rows[index] = np.flatnonzero(self.values.reshape(-1))[-1]
        return rows

    def weights(self, rows: NDArray[np.int64], count: int, beta: float) -> NDArray[np.float32]:
        """Importance weights (count * probability)^-beta of drawn rows, over the largest of them."""
        weights = (count * self.values.reshape(-1)[rows] / self.sums.sum()) ** -beta
        shares: NDArray[np.float32] = (weights / weights.max()).astype(np.float32)
        return shares

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of all draws that falls on each of these rows."""
        shares: NDArray[np.float64] = self.values.reshape(-1)[rows] / max(self.sums.sum(), 1e-300)
        return shares

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"values": torch.from_numpy(self.values.copy()), "highest": self.highest}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.values[:] = state["values"].numpy()
        self.sums = self.values.sum(1)
        self.highest = float(state["highest"])
