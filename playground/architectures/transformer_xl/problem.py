"""What a Transformer-XL is set to: its data, its loss, and what is measured on held-out data with a memory of any length."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import Memory, TransformerXL
from dlplay.architectures.transformer_xl.options import Before
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings
from dlplay.data.tokens import Tokenizer


class Measured(NamedTuple):
    """On held-out data."""

    loss: float
    """Mean nats a token that is scored."""
    right: float
    """Share of these that were the likeliest."""


class Problem(ABC):
    """Base of the two tasks."""

    tokenizer: Tokenizer
    said = 0
    """Tokens that may follow a prompt; 0 sets no bound."""
    data = ""
    """The data in words, with sizes."""

    def __init__(self, settings: TransformerXLSettings, device: torch.device, generator: torch.Generator) -> None:
        self.settings, self.device, self.generator = settings, device, generator

    @abstractmethod
    def loss(self, model: TransformerXL) -> Tensor:
        """Of the next segments, with the memory of those before."""

    @abstractmethod
    def measure(self, model: TransformerXL, memory: int, tokens: int | None = None) -> Measured:
        """With a memory of that many tokens, on all that is held out, or about the first `tokens` of it."""

    @abstractmethod
    def scores(self, with_memory: Measured, without: Measured) -> dict[str, float]:
        """The metrics by their names."""

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, float]]:
        """What methods without a neural net reach."""

    @abstractmethod
    def baselines_key(self) -> str:
        """Names all that they depend on."""

    @abstractmethod
    def piece(self, tokens: int) -> Tensor:
        """About that many held-out tokens, (rows, T), to look at."""

    def evaluate(self, model: TransformerXL, thorough: bool) -> dict[str, float]:
        """With the memory that is set and with none; `thorough`: with several lengths between them too."""
        lengths = memory_lengths(self.settings) if thorough else [0, self.settings.eval_memory]
        found = {length: self.measure(model, length) for length in lengths}
        metrics = self.scores(found[self.settings.eval_memory], found[0])
        return metrics | ({f"val_loss_memory_{length}": measured.loss for length, measured in found.items()} if thorough else {})

    def scored(self, ids: list[int]) -> list[bool]:
        """Which of these tokens it is taught to predict."""
        return [True] * len(ids)

    def meant(self, options: Before) -> tuple[Before, list[str]]:
        """The question in this task's terms, with texts of its own where the usual ones say nothing to it; and that in words."""
        return options, []

    def assets(self) -> dict[str, Any]:
        """What the weights are useless without."""
        return {}

    def data_key(self) -> str:
        """Names what the data hold; fresh sequences at every step have nothing but their kind."""
        return str(self.settings.task)

    def extra_state(self) -> dict[str, Any]:
        """The place in the data, and the memory of it."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:  # noqa: B027, nothing to load where nothing was saved
        """Inverse of `extra_state`."""


def memory_lengths(settings: TransformerXLSettings, longest: int | None = None) -> list[int]:
    """None, a quarter and half of a segment, a segment, two, four … and the one that is set, none beyond `longest` (that one)."""
    block, longest = settings.block_size, settings.eval_memory if longest is None else longest
    doubled = [block * 2**power for power in range(int(math.log2(max(1, longest / block))) + 1)]
    wanted = {0, settings.eval_memory, block // 4, block // 2, *doubled}
    return sorted(length for length in wanted if length <= longest)


def read_segments(model: TransformerXL, idx: Tensor, block: int, memory: int) -> tuple[list[Tensor], Memory]:
    """Logits (B, T, V) of each segment of `idx` (B, N), from an empty memory on, and the memory after the last.

    The last segment is a whole one, as far as there are tokens; the first may be shorter.
    """
    carried: Memory | None = None
    found = []
    for segment in segments(idx, block):
        logits, carried = model(segment, carried, memory)
        found.append(logits)
    return found, model.empty(len(idx)) if carried is None else carried


def segments(idx: Tensor, block: int) -> list[Tensor]:
    """`idx` (B, N) cut into segments of `block` tokens, the first one shorter where they do not fit."""
    first = idx.shape[1] % block
    sizes = [first] * (first > 0) + [block] * (idx.shape[1] // block)
    return list(torch.split(idx, sizes, dim=1)) if sizes else []
