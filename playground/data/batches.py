"""Shuffled batches of training examples, all of the same size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlplay.engine.errors import DataError


class Batches:
    """Indices of one batch after another.

    Every example comes once per epoch, in an order drawn from `generator` (on the CPU, so that every device sees the same order). A batch
    that reaches the end of an epoch is filled up from the next one, so all batches have the same size.
    """

    def __init__(self, count: int, batch: int, generator: torch.Generator) -> None:
        self.count, self.batch = count, batch
        self._generator = generator
        self.order = self._shuffle()  # (count,) int64
        self.position = 0

    def _shuffle(self) -> Tensor:
        return torch.randperm(self.count, generator=self._generator)

    def next(self) -> Tensor:
        """Indices of the next batch, (batch,) int64, on the CPU."""
        end = self.position + self.batch
        if end <= self.count:
            indices = self.order[self.position : end]
            self.position = end
            return indices
        parts = []
        missing = self.batch
        while missing > 0:
            if self.position == self.count:
                self.order, self.position = self._shuffle(), 0
            part = self.order[self.position : self.position + missing]
            self.position += len(part)
            missing -= len(part)
            parts.append(part)
        return torch.cat(parts)

    def state(self) -> dict[str, Any]:
        """The order of this epoch and the position in it; the generator's state is saved by its owner."""
        return {"order": self.order, "position": self.position}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on at a position that `state` returned. Raises `DataError` when it belongs to other data."""
        order = state["order"]
        if order.shape != (self.count,):
            raise DataError(
                f"the saved data order has {len(order)} examples and the data {self.count}; train on the data the run began with"
            )
        self.order, self.position = order.clone(), int(state["position"])
