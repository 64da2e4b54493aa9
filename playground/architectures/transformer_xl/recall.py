"""Recall across a gap: words of different kinds are read, then dots, and segments later the kinds are named and each word is to be said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.transformer_xl.model import TransformerXL
from dlplay.architectures.transformer_xl.problem import Measured, Problem, read_segments
from dlplay.data.tokens import UNKNOWN, Words
from dlplay.parts.held_out import held_out_generator

KINDS = {
    "colour": "red blue green black white yellow pink brown grey purple",
    "animal": "cat dog horse cow sheep bear wolf fox mouse owl",
    "city": "paris rome london tokyo cairo delhi lima oslo berlin seoul",
    "fruit": "apple pear plum cherry grape lemon melon peach fig mango",
    "metal": "iron gold silver copper tin lead zinc nickel steel brass",
    "tool": "hammer saw axe knife drill file spade rake needle brush",
    "drink": "water milk tea coffee juice wine beer cider cocoa lemonade",
    "body": "hand foot head arm leg nose ear eye back knee",
}
"""Eight kinds of ten words each."""

CHOICES = 10
DOT = 1
FIRST_KIND = 2
FIRST_WORD = FIRST_KIND + len(KINDS)
VOCABULARY = [UNKNOWN, ".", *KINDS, *(word for words in KINDS.values() for word in words.split())]

HELD_OUT = 500
"""Sequences that are tested on."""


class Facts(Words):
    """Words and dots; all other signs are left out, so that a kind may be named with a question mark or a comma after it."""

    @classmethod
    def split(cls, text: str) -> Iterator[str]:
        """Words, numbers and dots in their order."""
        return (word for word in super().split(text) if word == "." or word[0].isalnum() or word == UNKNOWN)


def recall_batch(count: int, facts: int, gap: int, generator: torch.Generator, *, far: bool = False) -> Tensor:
    """Sequences (count, facts + gap + 2 facts): words of different kinds, dots, then each kind followed by its word, in another order.

    The gap is the full one when `far`, otherwise drawn up to it for each sequence, with the rest of the dots in front.
    """
    kinds = torch.rand(count, len(KINDS), generator=generator).argsort(dim=1)[:, :facts]
    words = FIRST_WORD + CHOICES * kinds + torch.randint(CHOICES, (count, facts), generator=generator)
    order = torch.rand(count, facts, generator=generator).argsort(dim=1)
    questions = torch.stack([FIRST_KIND + kinds.gather(1, order), words.gather(1, order)], dim=-1).flatten(1)
    start = torch.zeros(count, 1, dtype=torch.int64) if far else torch.randint(gap + 1, (count, 1), generator=generator)
    before = torch.full((count, facts + gap), DOT).scatter_(1, start + torch.arange(facts), words)
    return torch.cat([before, questions], dim=1)


class Recall(Problem):
    """Only the words that are asked for are scored."""

    said = 1

    def __init__(self, settings: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(settings, device, generator)
        self.tokenizer = Facts(VOCABULARY)
        self._held_out = recall_batch(HELD_OUT, settings.facts, settings.gap, held_out_generator(), far=True).to(device)
        length = self._held_out.shape[1]
        self.data = (
            f"recall: {settings.facts} words of different kinds, asked for after up to {settings.gap} dots; {length} tokens in segments of "
            f"{settings.block_size}, fresh ones at every step; {HELD_OUT} sequences with the whole gap held out"
        )

    def _answers(self, model: TransformerXL, sequences: Tensor, memory: int) -> tuple[Tensor, Tensor]:
        """Logits (B, facts, V) of the words that are asked for, and these (B, facts). Each sequence is a stream of its own."""
        logits, _ = read_segments(model, sequences, self.settings.block_size, memory)
        asked = 2 * self.settings.facts  # tokens of the questions: they lie in the last segment
        return logits[-1][:, -asked::2], sequences[:, 1 - asked :: 2]

    def loss(self, model: TransformerXL) -> Tensor:
        """Mean nats of the words asked for in a fresh batch."""
        settings = self.settings
        sequences = recall_batch(settings.batch, settings.facts, settings.gap, self.generator)
        sequences = sequences.to(self.device, non_blocking=self.device.type == "cuda")
        logits, words = self._answers(model, sequences, settings.memory)
        return F.cross_entropy(logits.flatten(0, 1), words.flatten())

    def measure(self, model: TransformerXL, memory: int, tokens: int | None = None) -> Measured:
        """On the held-out sequences, or the first of them that have `tokens` together."""
        count = HELD_OUT if tokens is None else max(1, min(HELD_OUT, tokens // self._held_out.shape[1]))
        logits, words = self._answers(model, self._held_out[:count], memory)
        return Measured(
            F.cross_entropy(logits.flatten(0, 1), words.flatten()).item(), (logits.argmax(dim=-1) == words).double().mean().item()
        )

    def scores(self, with_memory: Measured, without: Measured) -> dict[str, float]:
        """Nats, and the share of words recalled."""
        return {
            "val_loss": with_memory.loss,
            "recall_accuracy": with_memory.right,
            "val_loss_without_memory": without.loss,
            "recall_without_memory": without.right,
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """Who knows the kind and remembers nothing guesses between its ten words."""
        nats, share = {"chance": math.log(CHOICES)}, {"chance": 1 / CHOICES}
        return {"val_loss": nats, "recall_accuracy": share, "val_loss_without_memory": nats, "recall_without_memory": share}

    def baselines_key(self) -> str:
        """Nothing but the number of words of a kind."""
        return f"transformer-xl recall 1 {CHOICES}"

    def scored(self, ids: list[int]) -> list[bool]:
        """Those that a kind stands before."""
        return [FIRST_KIND <= before < FIRST_WORD for before in [0, *ids[:-1]]]

    def piece(self, tokens: int) -> Tensor:
        """Held-out sequences."""
        return self._held_out[: max(1, tokens // self._held_out.shape[1])]
