"""A text that a language model reads in contiguous streams: its data, its held-out metrics, and what n-grams reach on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.data import ngrams
from dlplay.data.text import Corpus
from dlplay.data.tokens import Tokenizer
from dlplay.engine.dataset import Missing
from dlplay.engine.errors import DataError
from dlplay.parts.corpora import open_corpus
from dlplay.parts.streams import Streams
from dlplay.parts.transformer_settings import StreamSettings, tokens_a_step

ORDERS = {"char": 8}
"""Order of the longest n-grams, by the kind of token; 5 of any other."""


def token_losses(logits: Tensor, targets: Tensor, *, ignore: int = -100) -> Tensor:
    """The loss in nats of every position (B, T), from logits (B, T, V) and targets (B, T); 0 where the target is `ignore`.

    Flat inside: on a card, the kernel for (B, V, T) adds in any order.
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=ignore, reduction="none").view(targets.shape)


@dataclasses.dataclass(frozen=True)
class StreamedText:
    """A corpus on the device, with the streams that train on it. A dataset."""

    corpus: Corpus
    train: Tensor  # (N,)
    held_out: Tensor  # (M,)
    streams: Streams
    accumulate: int = 1
    """Chunks of the streams that make an update."""

    @property
    def words(self) -> str:
        return f"{self.corpus.words}; {tokens_a_step(self.accumulate, self.streams.batch, self.streams.block)}"

    @property
    def key(self) -> str:
        return self.corpus.key

    @property
    def assets(self) -> Mapping[str, Any]:
        return self.corpus.assets


def open_streams(
    settings: StreamSettings,
    generator: torch.Generator,
    device: torch.device,
    assets: dict[str, Any] | None,
    *,
    carries: Literal["state", "memory"],
) -> tuple[Tokenizer, StreamedText | Missing]:
    """The tokenizer, and the text in streams that carry a state (`carries` is its name in checkpoints).

    With a checkpoint's `assets` its tokenizer is used, and the model can be asked even where the text is missing or too short. Without
    them that raises `DataError`.
    """
    batch, block = settings.batch, settings.block_size
    tokenizer, corpus = open_text(settings, assets)
    if isinstance(corpus, Missing):
        return tokenizer, corpus
    train, held_out = (torch.from_numpy(part).to(device) for part in (corpus.train, corpus.held_out))
    try:
        streams = Streams(train, batch, block, generator, carries=carries)
        return tokenizer, StreamedText(corpus, train, held_out, streams, settings.accumulate)
    except DataError as error:
        if assets is None:
            raise DataError(f"{corpus.name}: {error}") from None
        return tokenizer, Missing("text", str(error), tokenizer.assets())


def open_text(settings: StreamSettings, assets: dict[str, Any] | None = None) -> tuple[Tokenizer, Corpus | Missing]:
    """The tokenizer and the text, as `open_corpus` does, long enough for streams."""
    return open_corpus(settings, settings.tokens, minimum=10 * (settings.block_size + 1), assets=assets)


class TokenScores:
    """Cross-entropy and top-1 accuracy over held-out tokens, summed on the device; and the cross-entropy of those that are known."""

    def __init__(self, device: torch.device, unknown: int | None = None) -> None:
        """`unknown`: the token that stands for everything that is not in the vocabulary."""
        self._unknown = -1 if unknown is None else unknown
        self._type = torch.float32 if device.type == "mps" else torch.float64
        self._nats, self._known_nats = torch.zeros(2, dtype=self._type, device=device).unbind()
        self._right, self._known = torch.zeros(2, dtype=torch.int64, device=device).unbind()
        self._count = 0

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Score the logits (N, V) of the tokens `targets` (N,)."""
        nats = F.cross_entropy(logits, targets, reduction="none").to(self._type)
        known = targets != self._unknown
        self._nats += nats.sum()
        self._known_nats += (nats * known).sum()
        self._known += known.sum()
        self._right += (logits.argmax(dim=-1) == targets).sum()
        self._count += len(targets)

    @property
    def loss(self) -> float:
        """Mean nats per token."""
        return float(self._nats) / self._count

    @property
    def known_loss(self) -> float:
        """Mean nats per token that is not the unknown one; 0 when there is none."""
        return float(self._known_nats) / max(1, int(self._known))

    @property
    def accuracy(self) -> float:
        """Share of the tokens that were the most likely ones."""
        return int(self._right) / self._count


def perplexity(loss: float) -> float:
    """The exponential of a loss in nats per token; finite, however large the loss."""
    return math.exp(min(loss, 700.0))


def held_out_metrics(scores: TokenScores, corpus: Corpus) -> dict[str, float]:
    """What a model reaches on the held-out text, by metric.

    For words also the perplexity of those in the vocabulary, since <unk> is an easy word; for characters and pieces also bits per byte,
    which can be compared whatever the tokens are.
    """
    metrics = {"val_loss": scores.loss, "val_perplexity": perplexity(scores.loss), "val_top1": scores.accuracy}
    if corpus.tokenizer.kind == "word":
        metrics["val_perplexity_known"] = perplexity(scores.known_loss)
    if corpus.held_out_bytes:
        metrics["val_bits_per_byte"] = bits_per_byte(scores.loss, corpus)
    return metrics


def bits_per_byte(loss: float, corpus: Corpus) -> float:
    """A loss in nats per token as bits per byte of the held-out text. Raises `ValueError` where the tokens do not give it back."""
    if not corpus.held_out_bytes:
        raise ValueError(f"{corpus.tokenizer.noun} do not give the text back as it is")
    return loss * len(corpus.held_out) / (math.log(2) * corpus.held_out_bytes)


def ngram_baselines(corpus: Corpus) -> dict[str, dict[str, float]]:
    """N-grams by metric: interpolated modified Kneser-Ney for losses, the most frequent successor for the top-1 accuracy."""
    order = ORDERS.get(corpus.tokenizer.kind, 5)
    data = corpus.train, corpus.held_out, len(corpus.tokenizer.vocabulary)
    nats = -np.log(ngrams.kneser_ney(*data, order))  # (order, held-out tokens)
    losses = dict(zip(ngrams.NAMES, nats.mean(axis=1).tolist(), strict=False))
    found = {
        "val_loss": losses,
        "val_perplexity": {name: math.exp(loss) for name, loss in losses.items()},
        "val_top1": ngrams.top1(*data, order),
    }
    if corpus.tokenizer.kind == "word":
        known = nats[:, corpus.held_out != corpus.tokenizer.unknown].mean(axis=1)
        found["val_perplexity_known"] = dict(zip(ngrams.NAMES, np.exp(known).tolist(), strict=False))
    if corpus.held_out_bytes:
        found["val_bits_per_byte"] = {name: bits_per_byte(loss, corpus) for name, loss in losses.items()}
    return found
