"""What a problem is: a dataset, a loss, and held-out metrics with a memory of any length."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import TransformerXL
from dlplay.architectures.transformer_xl.settings import PromptWithMemory, TransformerXLSettings
from dlplay.data.tokens import Tokenizer
from dlplay.engine.dataset import Dataset
from dlplay.engine.task import Share
from dlplay.parts.language import TokenScores


class Problem(ABC):
    """Base of the two problems."""

    dataset: Dataset
    tokenizer: Tokenizer
    answer_length = 0
    """Tokens that may follow a prompt; 0: any number."""

    def __init__(self, settings: TransformerXLSettings, device: torch.device, generator: torch.Generator) -> None:
        self.settings, self.device, self.generator = settings, device, generator

    # --- training and evaluation --------------------------------------------------------------------------------------------------

    def draw(self) -> tuple[Tensor, ...]:
        """What the next batch takes from the generator, on the CPU: for a `loss`."""
        return ()

    @abstractmethod
    def loss(self, model: TransformerXL, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Mean loss of the next segments, of the share of this process. `drawn` is what `draw` gave, on the device."""

    @abstractmethod
    def score(self, model: TransformerXL, memory: int, tokens: int | None = None) -> TokenScores:
        """With a memory of `memory` tokens, on all held-out data or on about the first `tokens` of it."""

    @abstractmethod
    def probe(self, model: TransformerXL, count: int, length: int) -> Tensor:
        """The mean loss (n,) of each of the first `count` held-out examples at most, of about `length` tokens where they can be cut."""

    @abstractmethod
    def metrics(self, with_memory: TokenScores, without: TokenScores) -> dict[str, float]:
        """The metrics by name."""

    def evaluate(self, model: TransformerXL, thorough: bool) -> dict[str, float]:
        """With a memory of `eval_memory` tokens and without one; `thorough`: with several lengths between them as well."""
        lengths = memory_lengths(self.settings) if thorough else [0, self.settings.eval_memory]
        scores = {length: self.score(model, length) for length in lengths}
        metrics = self.metrics(scores[self.settings.eval_memory], scores[0])
        return metrics | ({f"val_loss_memory_{length}": score.loss for length, score in scores.items()} if thorough else {})

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, float]]:
        """What methods without a neural net reach on the held-out data: `{metric: {method: value}}`."""

    def extra_state(self) -> dict[str, Any]:
        """The position in the data and the memory, where they are kept from step to step."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:  # noqa: B027, there may be nothing to load
        """Take up what `extra_state` returned."""

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def examples(self, tokens: int) -> Tensor:
        """About `tokens` held-out tokens, (rows, T)."""

    def is_target(self, ids: list[int]) -> list[bool]:
        """Whether the model is trained to predict each of these tokens."""
        return [True] * len(ids)

    def resolve(self, options: PromptWithMemory) -> tuple[PromptWithMemory, list[str]]:
        """The options, with texts of this problem where the defaults are those of another one; and notes about that."""
        return options, []


def memory_lengths(settings: TransformerXLSettings, longest: int | None = None) -> list[int]:
    """0, a quarter and half of a segment, one segment, two, four …, and `eval_memory`; none above `longest` (by default `eval_memory`)."""
    block, longest = settings.block_size, settings.eval_memory if longest is None else longest
    doubled = [block * 2**power for power in range(int(math.log2(max(1, longest / block))) + 1)]
    wanted = {0, settings.eval_memory, block // 4, block // 2, *doubled}
    return sorted(length for length in wanted if length <= longest)
