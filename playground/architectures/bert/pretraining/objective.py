"""What a BERT is pretrained on: masked words and, if `next_sentence` is set, whether one segment of text follows another."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.pretraining import baselines
from dlplay.architectures.bert.pretraining.masking import Rows, choose_targets, gather_targets, lay_out, mask_targets, max_targets
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.special_tokens import SpecialIds
from dlplay.data.text import Corpus
from dlplay.engine.task import Share
from dlplay.parts.language import TokenScores
from dlplay.parts.transformer_settings import tokens_a_step

LOGITS = 1 << 22
"""Elements of the largest block of logits that an evaluation forms at once."""

EVALUATION_WORDS, EVALUATION_ROUNDS = 40_000, 4
"""An evaluation masks a short text several times, each time at other words, until that many words were read; at most so many times."""

EVALUATION_SEED = 1
EVALUATION_SHARE = 0.15
"""Whatever `mask_share` is: that may change during a run, and the test stays the same."""


class Pretraining:
    """Rows of a corpus, masked anew at every step; the held-out tenth is laid out in rows once, with masks that never change."""

    def __init__(self, settings: BERTSettings, device: torch.device, corpus: Corpus, generator: torch.Generator) -> None:
        self.settings, self.device, self.corpus, self.generator = settings, device, corpus, generator
        self.special = SpecialIds(len(corpus.tokenizer.vocabulary))
        self.train = torch.from_numpy(corpus.train)  # (N,), on the CPU, where batches are drawn
        self.max_words = settings.block_size - (3 if settings.next_sentence else 2)
        """Words of a row, special tokens not counted."""
        self._lay_out_held_out()

    @property
    def words(self) -> str:
        settings = self.settings
        return f"{self.corpus.words}; {tokens_a_step(settings.accumulate, settings.batch, settings.block_size)}"

    @property
    def key(self) -> str:
        return self.corpus.key

    @property
    def assets(self) -> dict[str, Any]:
        return self.corpus.assets

    # --- training -----------------------------------------------------------------------------------------------------------------

    def draw(self, share: Share) -> tuple[Tensor, ...]:
        """Of the next batch the share of this process, on the CPU: rows with masked words, their segments, and which tokens are valid,
        (B, T) each; flat positions of words to predict, which of these count, and the words, (K,) each; next-sentence labels (B,)."""
        settings = self.settings
        rows, is_random = self._batch()
        limit = max_targets(rows.idx.numel(), settings.mask_share)
        chosen = choose_targets(rows.idx, settings.mask_share, limit, self.special, self.generator)
        masked_idx = mask_targets(rows.idx, chosen, settings.mask_kept, settings.mask_random, self.special, self.generator)
        whole = (masked_idx, rows.idx, rows.segments, rows.valid, chosen, is_random)
        masked_idx, idx, segments, valid, chosen, is_random = map(share, whole)
        positions, is_target = gather_targets(chosen, max_targets(idx.numel(), settings.mask_share))  # (K,)
        targets = idx.flatten()[positions]
        return masked_idx, segments, valid, positions, is_target, targets, is_random

    def loss(self, model: BERT, drawn: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss on the batch that `draw` gave, on the device; its parts by metric name, and how many words it is the mean of."""
        masked_idx, segments, valid, positions, is_target, targets, is_random = drawn
        hidden = model(masked_idx, segments if self.settings.next_sentence else None, valid)  # (B, T, C)
        logits = model.logits(hidden.flatten(0, 1)[positions])  # (K, V)
        nats = F.cross_entropy(logits, targets, reduction="none")
        words = is_target.sum()
        masked = (nats * is_target).sum() / words.clamp(min=1)
        if model.next_sentence is None:
            return masked, {}, words
        next_sentence = F.cross_entropy(model.next_sentence(model.pool(hidden)), is_random)
        return masked + next_sentence, {"masked_train_loss": masked.detach(), "next_sentence_loss": next_sentence.detach()}, words

    def _batch(self) -> tuple[Rows, Tensor]:
        """Rows from random places, and the next-sentence labels (B,): 0 if the second segment follows the first, 1 if it is a random one,
        as in BERT."""
        settings = self.settings
        batch = settings.batch
        starts = self._random_starts(batch)  # (B, 1)
        noise = torch.rand(4, batch, 1, generator=self.generator)
        shortest = 2
        shorter = shortest + (noise[1] * (self.max_words - shortest + 1)).long()
        length = torch.where(noise[0] < settings.short_share, shorter, self.max_words)  # (B, 1)
        if not settings.next_sentence:
            rows = lay_out(self.train, torch.cat([starts, length], dim=1), None, settings.block_size, self.special)
            return rows, torch.zeros(batch, dtype=torch.int64)
        first = (length * (0.25 + 0.5 * noise[2])).long().clamp(min=1)
        random_starts = self._random_starts(batch)
        is_random = noise[3] < 0.5
        second = torch.where(is_random, random_starts, starts + first)
        segments = torch.cat([starts, first], dim=1), torch.cat([second, length - first], dim=1)
        return lay_out(self.train, *segments, settings.block_size, self.special), is_random[:, 0].long()

    def _random_starts(self, count: int) -> Tensor:
        return torch.randint(len(self.train) - self.max_words + 1, (count, 1), generator=self.generator)

    # --- held out -----------------------------------------------------------------------------------------------------------------

    def _lay_out_held_out(self) -> None:
        """Every held-out word in one row, in order; `chosen` (rounds, R, T) says which of them are masked in each round of every run."""
        text = torch.from_numpy(self.corpus.held_out)
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        starts = torch.arange(0, len(text), self.max_words)[:, None]  # (R, 1)
        lengths = (len(text) - starts).clamp(max=self.max_words)
        block = self.settings.block_size
        if self.settings.next_sentence:
            if len(starts) > 1 and int(lengths[-1]) < 2:  # one word cannot be two segments
                starts, lengths = starts[:-1], lengths[:-1]
            half = (lengths // 2).clamp(min=1)
            first, second = torch.cat([starts, half], dim=1), torch.cat([starts + half, lengths - half], dim=1)
            rows = lay_out(text, first, second, block, self.special)
            order = torch.randperm(len(starts), generator=generator)
            is_random = torch.rand(len(starts), generator=generator) < 0.5  # (R,)
            pairs = lay_out(text, first, torch.where(is_random[:, None], second[order], second), block, self.special)
            self.is_random = is_random.to(self.device)
            self.pairs = pairs.to(self.device)
        else:
            rows = lay_out(text, torch.cat([starts, lengths], dim=1), None, block, self.special)
        rounds = max(1, min(EVALUATION_ROUNDS, EVALUATION_WORDS // len(text)))
        chosen = torch.stack([choose_targets(rows.idx, EVALUATION_SHARE, rows.idx.numel(), self.special, generator) for _ in range(rounds)])
        if not bool(chosen.any()):
            chosen[0, 0, 1] = True
        self.held_out = rows.to(self.device)
        self.chosen = chosen.to(self.device)  # (rounds, R, T)

    def evaluate(self, model: BERT) -> dict[str, float]:
        """Every chosen word of every round, replaced by [MASK]; with next sentences also whether the pairs are classified correctly."""
        rows = self.held_out
        at_once = max(1, LOGITS // (self.settings.block_size * self.special.size))
        scores = TokenScores(self.device)
        for masked in self.chosen:
            for part in torch.split(torch.arange(len(rows.idx), device=self.device), at_once):
                chosen, idx = masked[part], rows.idx[part]
                segments = rows.segments[part] if self.settings.next_sentence else None
                hidden = model(idx.masked_fill(chosen, self.special.mask), segments, rows.valid[part])
                scores.add(model.logits(hidden[chosen]), idx[chosen])  # (K, V), (K,)
        metrics = {"masked_accuracy": scores.accuracy, "masked_loss": scores.loss}
        if model.next_sentence is not None:
            pairs = self.pairs
            correct = torch.zeros((), dtype=torch.int64, device=self.device)
            for part in torch.split(torch.arange(len(pairs.idx), device=self.device), at_once):
                pooled = model.pool(model(pairs.idx[part], pairs.segments[part], pairs.valid[part]))
                correct += (model.next_sentence(pooled).argmax(dim=-1) == self.is_random[part]).sum()
            metrics["next_sentence_accuracy"] = int(correct) / len(self.is_random)
        return metrics

    def probe(self, model: BERT, count: int, length: int) -> Tensor:
        """The mean loss of the masked words of each of the first `count` rows that have any, in the order of the rounds, of which the first
        `length` tokens are read."""
        chosen = self.chosen.flatten(0, 1)[:, :length].clone()  # (rounds R, T)
        goes_on = self.held_out.valid[:, length : length + 1].any(dim=1)  # (R,)
        chosen[goes_on.repeat(len(self.chosen)), -1] = False
        rounds_and_rows = chosen.any(dim=1).nonzero()[:count, 0]
        chosen, rows = chosen[rounds_and_rows], rounds_and_rows % len(goes_on)
        idx = self.held_out.idx[rows, :length]
        idx[goes_on[rows], -1] = self.special.sep
        segments = self.held_out.segments[rows, :length] if self.settings.next_sentence else None
        hidden = model(idx.masked_fill(chosen, self.special.mask), segments, self.held_out.valid[rows, :length])
        nats = F.cross_entropy(model.logits(hidden[chosen]), idx[chosen], reduction="none")  # (K,)
        return nats.new_zeros(len(rows)).index_add(0, chosen.nonzero()[:, 0], nats) / chosen.sum(dim=1)

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams on the masked words, and the more frequent class on the pairs."""
        idx, chosen = self.held_out.idx.cpu(), self.chosen.cpu()
        rows = idx.masked_fill(chosen, self.special.mask)  # (rounds, R, T)
        targets = idx.expand_as(chosen)[chosen]
        found = baselines.masked_words(
            self.corpus.train, self.special.words, rows.flatten(0, 1).numpy(), chosen.flatten(0, 1).numpy(), targets.numpy()
        )
        if self.settings.next_sentence:
            share = int(self.is_random.sum()) / len(self.is_random)
            found["next_sentence_accuracy"] = {"the more frequent answer": max(share, 1 - share)}
        return found

    def baselines_key(self) -> str:
        """What the baselines depend on besides the text: how it is laid out and masked."""
        return f"{self.settings.block_size} {EVALUATION_SHARE:g} {self.settings.next_sentence}"
