"""Reading a text token by token with a key-value cache."""

from __future__ import annotations

import torch
from torch import Tensor

from dlplay.architectures.gpt.model import GPT, Cache


class Reader:
    """Feeds a model token by token and gives the logits after the last: with a cache while they fit in a block, and afterwards from
    the last `block_size` tokens afresh, because every token's learned position moves."""

    def __init__(self, model: GPT, ids: list[int]) -> None:
        self.model = model
        self.ids = list(ids)
        self._device = model.tokens.weight.device
        self._cache: Cache = []
        self.logits = self._read(self.ids[-model.block_size :])  # (V,)

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        self.ids.append(token)
        if len(self.ids) <= self.model.block_size:
            self.logits = self._read([token])
        else:
            self._cache = []
            self.logits = self._read(self.ids[-self.model.block_size :])
        return self.logits

    def _read(self, ids: list[int]) -> Tensor:
        logits: Tensor = self.model(torch.tensor([ids], device=self._device), self._cache)  # (1, T, V)
        return logits[0, -1]
