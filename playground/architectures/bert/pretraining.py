"""Learning from text alone: the words that are masked, and, when that is wanted, whether one piece of text follows another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.bert import baselines
from dlplay.architectures.bert.masking import Rows, Specials, capacity, choose, gather, hide, lay_out
from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.text import Corpus

LOGITS = 1 << 22
"""Elements of the largest block of logits that an evaluation forms at once."""

ENOUGH, ROUNDS = 40_000, 4
"""An evaluation masks a short text again and again, each time elsewhere, until so many words were read, but not more often than this."""

EVALUATION_SEED = 1
EVALUATION_SHARE = 0.15
"""Whatever share is masked in training, which may change in mid-run: the test stays the same."""


class Pretraining:
    """Rows of a corpus, masked anew at every step; the held-out tenth in rows side by side, under masks that never change."""

    def __init__(
        self, settings: BERTSettings, device: torch.device, corpus: Corpus, specials: Specials, generator: torch.Generator
    ) -> None:
        self.settings, self.device, self.corpus, self.specials, self.generator = settings, device, corpus, specials, generator
        self.train = torch.from_numpy(corpus.train).to(device)  # (N,)
        self.words = settings.block_size - (3 if settings.next_sentence else 2)
        """Most words of a row."""
        self._lay_out_held_out()

    @property
    def data(self) -> str:
        """The data in words, with sizes."""
        batch, block = self.settings.batch, self.settings.block_size
        return f"{self.corpus.words}; {batch} x {block} = {batch * block:,} a step"

    # --- training -----------------------------------------------------------------------------------------------------------------

    def loss(self, model: BERT) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the next batch, and what it is made of."""
        settings = self.settings
        rows, follows = self._batch()
        room = capacity(rows.idx.numel(), settings.mask_share)
        chosen = choose(rows.idx, settings.mask_share, room, self.specials, self.generator)
        hidden_words = hide(rows.idx, chosen, settings.mask_kept, settings.mask_random, self.specials, self.generator)
        states = model(hidden_words, rows.segments if settings.next_sentence else None, rows.valid)  # (B, T, C)
        places, asked = gather(chosen, room)  # (K,)
        logits = model.logits(states.flatten(0, 1)[places])  # (K, V)
        nats = F.cross_entropy(logits, rows.idx.flatten()[places], reduction="none")
        masked = (nats * asked).sum() / asked.sum().clamp(min=1)
        if model.next_sentence is None:
            return masked, {}
        following = F.cross_entropy(model.next_sentence(model.pool(states)), follows)
        return masked + following, {"masked_train_loss": masked.detach(), "next_sentence_loss": following.detach()}

    def _batch(self) -> tuple[Rows, Tensor]:
        """Rows from random places, and for each of them 0 where its second piece follows the first, 1 where it does not, as in BERT."""
        settings = self.settings
        batch = settings.batch
        starts = self._whole(batch, len(self.train) - self.words + 1)  # (B, 1)
        lots = torch.rand(4, batch, 1, device=self.device, generator=self.generator)
        least = 2
        shorter = least + (lots[1] * (self.words - least + 1)).long()
        count = torch.where(lots[0] < settings.short_share, shorter, self.words)  # (B, 1)
        if not settings.next_sentence:
            rows = lay_out(self.train, torch.cat([starts, count], dim=1), None, settings.block_size, self.specials)
            return rows, torch.zeros(batch, dtype=torch.int64, device=self.device)
        first = (count * (0.25 + 0.5 * lots[2])).long().clamp(min=1)
        elsewhere = self._whole(batch, len(self.train) - self.words + 1)
        apart = lots[3] < 0.5
        second = torch.where(apart, elsewhere, starts + first)
        pieces = torch.cat([starts, first], dim=1), torch.cat([second, count - first], dim=1)
        return lay_out(self.train, *pieces, settings.block_size, self.specials), apart[:, 0].long()

    def _whole(self, count: int, below: int) -> Tensor:
        return torch.randint(below, (count, 1), device=self.device, generator=self.generator)

    # --- held out -----------------------------------------------------------------------------------------------------------------

    def _lay_out_held_out(self) -> None:
        """Every held-out word in one row, in order; `chosen` says which of them are masked in each round, the same in every run."""
        text = torch.from_numpy(self.corpus.held_out)
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        starts = torch.arange(0, len(text), self.words)[:, None]  # (R, 1)
        counts = (len(text) - starts).clamp(max=self.words)
        block = self.settings.block_size
        if self.settings.next_sentence:
            if len(starts) > 1 and int(counts[-1]) < 2:  # one word cannot be two pieces
                starts, counts = starts[:-1], counts[:-1]
            first = (counts // 2).clamp(min=1)
            piece, after = torch.cat([starts, first], dim=1), torch.cat([starts + first, counts - first], dim=1)
            rows = lay_out(text, piece, after, block, self.specials)
            order = torch.randperm(len(starts), generator=generator)
            apart = torch.rand(len(starts), generator=generator) < 0.5  # (R,)
            pairs = lay_out(text, piece, torch.where(apart[:, None], after[order], after), block, self.specials)
            self.apart = apart.to(self.device)
            self.pairs = Rows(*(part.to(self.device) for part in (pairs.idx, pairs.segments, pairs.valid)))
        else:
            rows = lay_out(text, torch.cat([starts, counts], dim=1), None, block, self.specials)
        rounds = max(1, min(ROUNDS, ENOUGH // len(text)))
        chosen = torch.stack([choose(rows.idx, EVALUATION_SHARE, rows.idx.numel(), self.specials, generator) for _ in range(rounds)])
        if not bool(chosen.any()):
            chosen[0, 0, 1] = True
        self.held_out = Rows(*(part.to(self.device) for part in (rows.idx, rows.segments, rows.valid)))
        self.chosen = chosen.to(self.device)  # (rounds, R, T)

    def evaluate(self, model: BERT) -> dict[str, float]:
        """Every chosen word of every round behind a [MASK]; with next sentences also whether the pairs are told apart."""
        rows, size = self.held_out, self.specials.size
        at_once = max(1, LOGITS // (self.settings.block_size * size))
        nats = torch.zeros((), dtype=torch.float32 if self.device.type == "mps" else torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        for chosen in self.chosen:
            for part in torch.split(torch.arange(len(rows.idx), device=self.device), at_once):
                here, words = chosen[part], rows.idx[part]
                states = self._read(model, words.masked_fill(here, self.specials.mask), rows.segments[part], rows.valid[part])
                logits, targets = model.logits(states[here]), words[here]  # (K, V), (K,)
                nats += F.cross_entropy(logits, targets, reduction="sum").to(nats.dtype)
                right += (logits.argmax(dim=-1) == targets).sum()
        asked = int(self.chosen.sum())
        found = {"masked_accuracy": int(right) / asked, "masked_loss": float(nats) / asked}
        if model.next_sentence is not None:
            pairs = self.pairs
            right = torch.zeros((), dtype=torch.int64, device=self.device)
            for part in torch.split(torch.arange(len(pairs.idx), device=self.device), at_once):
                pooled = model.pool(model(pairs.idx[part], pairs.segments[part], pairs.valid[part]))
                right += (model.next_sentence(pooled).argmax(dim=-1) == self.apart[part]).sum()
            found["next_sentence_accuracy"] = int(right) / len(self.apart)
        return found

    def _read(self, model: BERT, idx: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
        states: Tensor = model(idx, segments if self.settings.next_sentence else None, valid)
        return states

    def baselines(self) -> dict[str, dict[str, float]]:
        """Of the masked words, and of the pairs the share of the more frequent answer."""
        idx, chosen = self.held_out.idx.cpu(), self.chosen.cpu()
        rows = idx.masked_fill(chosen, self.specials.mask)  # (rounds, R, T)
        targets = idx.expand_as(chosen)[chosen]
        found = baselines.masked_words(
            self.corpus.train, self.specials.words, rows.flatten(0, 1).numpy(), chosen.flatten(0, 1).numpy(), targets.numpy()
        )
        if self.settings.next_sentence:
            share = int(self.apart.sum()) / len(self.apart)
            found["next_sentence_accuracy"] = {"the more frequent answer": max(share, 1 - share)}
        return found

    def baselines_key(self) -> str:
        """The text, the split, the vocabulary and the masks."""
        settings = self.settings
        return f"bert 1 {self.corpus.key} {settings.block_size} {EVALUATION_SHARE:g} {settings.next_sentence}"
