"""A text that a language model reads in contiguous streams: its data, its held-out metrics, and what n-grams reach on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

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
from dlplay.parts.transformer_settings import StreamSettings

ORDERS = {"char": 5, "word": 4}
"""Order of the longest n-grams, by the kind of token."""


@dataclasses.dataclass(frozen=True)
class StreamedText:
    """A corpus on the device, with the streams that train on it. A dataset."""

    corpus: Corpus
    train: Tensor  # (N,)
    held_out: Tensor  # (M,)
    streams: Streams

    @property
    def words(self) -> str:
        batch, block = self.streams.batch, self.streams.block
        return f"{self.corpus.words}; {batch} x {block} = {batch * block:,} a step"

    @property
    def key(self) -> str:
        return self.corpus.key

    @property
    def assets(self) -> Mapping[str, Any]:
        return self.corpus.assets


def open_streams(
    settings: StreamSettings, generator: torch.Generator, device: torch.device, assets: dict[str, Any] | None, *, carries: str
) -> tuple[Tokenizer, StreamedText | Missing]:
    """The tokenizer, and the text in streams that carry a state (`carries` is its name in checkpoints).

    With a checkpoint's `assets` its tokenizer is used, and the model can be asked even where the text is missing or too short. Without
    them that raises `DataError`.
    """
    batch, block = settings.batch, settings.block_size
    tokenizer, corpus = open_corpus(settings, settings.tokens, minimum=10 * (block + 1), assets=assets)
    if isinstance(corpus, Missing):
        return tokenizer, corpus
    train, held_out = (torch.from_numpy(part).to(device) for part in (corpus.train, corpus.held_out))
    try:
        return tokenizer, StreamedText(corpus, train, held_out, Streams(train, batch, block, generator, carries=carries))
    except DataError as error:
        if assets is None:
            raise DataError(f"{corpus.name}: {error}") from None
        return tokenizer, Missing("text", str(error), tokenizer.assets())


class TokenScores:
    """Cross-entropy and top-1 accuracy over held-out tokens, summed on the device."""

    def __init__(self, device: torch.device) -> None:
        self._nats = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self._right = torch.zeros((), dtype=torch.int64, device=device)
        self._count = 0

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Score the logits (N, V) of the tokens `targets` (N,)."""
        self._nats += F.cross_entropy(logits, targets, reduction="sum").to(self._nats.dtype)
        self._right += (logits.argmax(dim=-1) == targets).sum()
        self._count += len(targets)

    @property
    def loss(self) -> float:
        """Mean nats per token."""
        return float(self._nats) / self._count

    @property
    def accuracy(self) -> float:
        """Share of the tokens that were the most likely ones."""
        return int(self._right) / self._count


def perplexity(loss: float) -> float:
    """The exponential of a loss in nats per token; finite, however large the loss."""
    return math.exp(min(loss, 700.0))


def ngram_baselines(corpus: Corpus) -> dict[str, dict[str, float]]:
    """N-grams by metric: interpolated Witten-Bell for loss and perplexity, the most frequent successor for the top-1 accuracy."""
    order = ORDERS.get(corpus.tokenizer.kind, 4)
    data = corpus.train, corpus.held_out, len(corpus.tokenizer.vocabulary)
    perplexities = ngrams.perplexities(*data, order)
    return {
        "val_loss": {name: math.log(value) for name, value in perplexities.items()},
        "val_perplexity": perplexities,
        "val_top1": ngrams.top1(*data, order),
    }
