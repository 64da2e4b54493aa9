"""N-gram baselines: interpolated Witten-Bell smoothing, and the most frequent next token."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NAMES = ("unigram", "bigram", "trigram", "4-gram", "5-gram", "6-gram", "7-gram", "8-gram")
"""An n-gram of order n predicts a token from the n - 1 before it."""

Ids = NDArray[np.int64]


def witten_bell(train: Ids, held_out: Ids, vocabulary: int, order: int) -> NDArray[np.float64]:
    """Probability of each held-out token given those before it, for orders 1 to `order`: (order, held-out tokens).

    Counts are from `train` only, which is also the context of the first held-out tokens. With c the count of a history h in training, and
    T the number of different tokens seen after it, P(w | h) = (c(h w) + T(h) P(w | shorter h)) / (c(h) + T(h)), down to the uniform
    distribution over the vocabulary (Witten and Bell, The Zero-Frequency Problem, 1991; Chen and Goodman, 1998, equation 15).
    """
    probability = np.full(len(held_out), 1 / vocabulary)
    found = []
    for grams in _orders(train, held_out, vocabulary, order):
        seen = grams.history_counts[grams.history]
        types = grams.history_types[grams.history]
        interpolated = (grams.counts[grams.gram] + types * probability) / np.maximum(seen + types, 1)
        probability = np.where(seen > 0, interpolated, probability)
        found.append(probability)
    return np.stack(found)


def perplexities(train: Ids, held_out: Ids, vocabulary: int, order: int = 4) -> dict[str, float]:
    """Held-out perplexity of the interpolated Witten-Bell n-grams of order 1 to `order`, by name."""
    losses = -np.log(witten_bell(train, held_out, vocabulary, order)).mean(axis=1)
    return dict(zip(NAMES, np.exp(losses).tolist(), strict=False))


def top1(train: Ids, held_out: Ids, vocabulary: int, order: int = 4) -> dict[str, float]:
    """Top-1 accuracy of predicting the most frequent next token, by the name of the highest order used.

    A history that does not occur in training is shortened until it does (back-off); of equally frequent tokens the lowest id is predicted.
    """
    guess = np.zeros(len(held_out), dtype=np.int64)
    found = []
    for grams in _orders(train, held_out, vocabulary, order):
        guess = np.where(grams.history_counts[grams.history] > 0, grams.favourite[grams.history], guess)
        found.append(float((guess == held_out).mean()))
    return dict(zip(NAMES, found, strict=False))


class _Grams:
    """The n-grams of one order: their counts in training, and which of them occur in the held-out part."""

    def __init__(self, history: Ids, tokens: Ids, split: int, vocabulary: int) -> None:
        distinct, gram = np.unique(history * vocabulary + tokens, return_inverse=True)
        self.all = gram  # (tokens,): number of the n-gram that ends at each token
        self.gram, self.history = gram[split:], history[split:]
        self.counts = np.bincount(gram[:split], minlength=len(distinct))
        parents, last = distinct // vocabulary, distinct % vocabulary
        histories = int(history.max()) + 1
        self.history_counts = np.bincount(history[:split], minlength=histories)
        self.history_types = np.bincount(parents[self.counts > 0], minlength=histories)
        ascending = np.lexsort((-last, self.counts, parents))
        self.favourite = np.zeros(histories, dtype=np.int64)
        self.favourite[parents[ascending]] = last[ascending]  # the last write wins: the largest count, then the lowest id


def _orders(train: Ids, held_out: Ids, vocabulary: int, order: int) -> Iterator[_Grams]:
    tokens = np.concatenate([train, held_out])
    history = np.zeros(len(tokens), dtype=np.int64)
    for _ in range(order):
        grams = _Grams(history, tokens, len(train), vocabulary)
        yield grams
        # a token's next longer history is the n-gram that ends just before it; that of the first token is unique
        history = np.concatenate([[int(grams.all.max()) + 1], grams.all[:-1]])
