"""Recall across a gap: words of different kinds, then dots, and some segments later each kind is named and its word is to be predicted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.transformer_xl.model import TransformerXL, memory_after, segments
from dlplay.architectures.transformer_xl.problems.problem import Problem
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings
from dlplay.data.tokens import UNKNOWN, Words
from dlplay.engine.dataset import Generated
from dlplay.engine.task import Share
from dlplay.parts.held_out import held_out_generator
from dlplay.parts.language import TokenScores, token_losses

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

WORDS_OF_A_KIND = 10
DOT = 1
FIRST_KIND = 2
FIRST_WORD = FIRST_KIND + len(KINDS)
VOCABULARY = [UNKNOWN, ".", *KINDS, *(word for words in KINDS.values() for word in words.split())]

HELD_OUT, AT_ONCE = 500, 100
"""Held-out sequences, and those that an evaluation reads at once: what they take stays in a processor's cache."""


class WordsAndDots(Words):
    """All other punctuation is dropped, so that a kind may be typed with a question mark or a comma after it."""

    @classmethod
    def split(cls, text: str) -> Iterator[str]:
        return (word for word in super().split(text) if word == "." or word[0].isalnum() or word == UNKNOWN)


def recall_batch(count: int, facts: int, gap: int, generator: torch.Generator, *, full: bool = False) -> Tensor:
    """Sequences (count, facts + gap + 2 facts): words of different kinds, dots, then each kind followed by its word, in another order.

    The gap is all of `gap` when `full`; otherwise it is drawn from 0 to `gap` for each sequence, with the other dots before the words.
    """
    kinds = torch.rand(count, len(KINDS), generator=generator).argsort(dim=1)[:, :facts]
    words = FIRST_WORD + WORDS_OF_A_KIND * kinds + torch.randint(WORDS_OF_A_KIND, (count, facts), generator=generator)
    order = torch.rand(count, facts, generator=generator).argsort(dim=1)
    questions = torch.stack([FIRST_KIND + kinds.gather(1, order), words.gather(1, order)], dim=-1).flatten(1)
    start = torch.zeros(count, 1, dtype=torch.int64) if full else torch.randint(gap + 1, (count, 1), generator=generator)
    before = torch.full((count, facts + gap), DOT).scatter_(1, start + torch.arange(facts), words)
    return torch.cat([before, questions], dim=1)


class RecallProblem(Problem):
    """Only the words after a kind are predicted."""

    answer_length = 1

    def __init__(self, settings: TransformerXLSettings, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(settings, device, generator)
        self.tokenizer = WordsAndDots(VOCABULARY)
        self.held_out = recall_batch(HELD_OUT, settings.facts, settings.gap, held_out_generator(), full=True).to(device)
        length = self.held_out.shape[1]
        self.dataset = Generated(
            f"recall: {settings.facts} words of different kinds, asked for after up to {settings.gap} dots; {length} tokens in segments of "
            f"{settings.block_size}, fresh ones at every step; {HELD_OUT} sequences with the whole gap held out",
            key="recall",
        )

    def _answers(self, model: TransformerXL, sequences: Tensor, memory: int) -> tuple[Tensor, Tensor]:
        """Logits (B, facts, V) of the words to recall, and these (B, facts). Each sequence starts with an empty memory."""
        questions = 2 * self.settings.facts  # tokens of the questions: they are in the last segment
        last = segments(sequences, self.settings.block_size)[-1]
        carried = memory_after(model, sequences[:, : -last.shape[1]], self.settings.block_size, memory)
        logits, _ = model(last, carried)
        return logits[:, -questions::2], sequences[:, 1 - questions :: 2]

    def draw(self) -> tuple[Tensor, ...]:
        return (recall_batch(self.settings.batch, self.settings.facts, self.settings.gap, self.generator),)

    def loss(self, model: TransformerXL, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Mean nats of the words to recall, in a fresh batch."""
        logits, words = self._answers(model, share(drawn[0]), self.settings.memory)
        return F.cross_entropy(logits.flatten(0, 1), words.flatten())

    def score(self, model: TransformerXL, memory: int, tokens: int | None = None) -> TokenScores:
        sequences = self.held_out if tokens is None else self.examples(tokens)
        if memory == 0:
            sequences = segments(sequences, self.settings.block_size)[-1]  # nothing of the others reaches it
        scores = TokenScores(self.device)
        for part in torch.split(sequences, AT_ONCE):
            logits, words = self._answers(model, part, memory)
            scores.add(logits.flatten(0, 1), words.flatten())
        return scores

    def probe(self, model: TransformerXL, count: int, length: int) -> Tensor:
        logits, words = self._answers(model, self.held_out[:count], self.settings.eval_memory)
        return token_losses(logits, words).mean(dim=1)

    def metrics(self, with_memory: TokenScores, without: TokenScores) -> dict[str, float]:
        return {
            "val_loss": with_memory.loss,
            "recall_accuracy": with_memory.accuracy,
            "val_loss_without_memory": without.loss,
            "recall_without_memory": without.accuracy,
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """The kind is known, its ten words are equally likely."""
        nats, share = {"chance": math.log(WORDS_OF_A_KIND)}, {"chance": 1 / WORDS_OF_A_KIND}
        return {"val_loss": nats, "recall_accuracy": share, "val_loss_without_memory": nats, "recall_without_memory": share}

    def examples(self, tokens: int) -> Tensor:
        return self.held_out[: max(1, tokens // self.held_out.shape[1])]

    def is_target(self, ids: list[int]) -> list[bool]:
        """Those after a kind."""
        return [FIRST_KIND <= before < FIRST_WORD for before in [0, *ids[:-1]]]
