"""N-gram baselines: interpolated modified Kneser-Ney smoothing, and the most frequent next token."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NAMES = ("unigram", "bigram", "trigram", "4-gram", "5-gram", "6-gram", "7-gram", "8-gram")
"""An n-gram of order n predicts a token from the n - 1 before it."""

FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])
"""Discounts of counts 0, 1, 2 and more, for a text too small to estimate them from (Heafield's, in KenLM)."""

Ids = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def kneser_ney(train: Ids, held_out: Ids, vocabulary: int, order: int) -> Probabilities:
    """Probability of each held-out token given those before it, by the models of orders 1 to `order`: (order, held-out tokens).

    Counts are from `train` only, which is also the context of the first held-out tokens; before the first training token stands a start
    symbol. A model of order n counts its n-grams, and for the shorter ones in how many contexts they occur (continuation counts). With c
    the count of h w, and N1, N2, N3 how many tokens followed h once, twice, and more often,

        P(w | h) = (max(c(h w) - D(c), 0) + (D1 N1(h) + D2 N2(h) + D3 N3(h)) P(w | shorter h)) / c(h)

    down to the uniform distribution over the vocabulary. The discounts are those of Chen and Goodman (An Empirical Study of Smoothing
    Techniques for Language Modeling, 1999, equation 26), from how many n-grams occur once, twice, three and four times.
    """
    shorter = np.full(len(held_out), 1 / vocabulary)
    previous: _Grams | None = None
    found = []
    for grams in _orders(train, held_out, vocabulary, order):
        if previous is not None:
            shorter = _smoothed(previous, previous.continuations(grams), shorter)
        found.append(_smoothed(grams, grams.counts, shorter))
        previous = grams
    return np.stack(found)


def top1(train: Ids, held_out: Ids, vocabulary: int, order: int = 5) -> dict[str, float]:
    """Top-1 accuracy of predicting the most frequent next token, by the name of the highest order used.

    A history that does not occur in training is shortened until it does (back-off); of equally frequent tokens the lowest id is predicted.
    """
    guess = np.zeros(len(held_out), dtype=np.int64)
    found = []
    for grams in _orders(train, held_out, vocabulary, order):
        guess = np.where(grams.history_counts[grams.history] > 0, grams.favourite[grams.history], guess)
        found.append(float((guess == held_out).mean()))
    return dict(zip(NAMES, found, strict=False))


def discounts(counts: Ids) -> Probabilities:
    """What is taken from counts of 0, 1, 2 and more; `FALLBACK` where the text is too small to tell."""
    once, twice, thrice, four = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if not (once and twice and thrice):
        return FALLBACK
    y = once / (once + 2 * twice)
    estimated = np.array([0, 1 - 2 * y * twice / once, 2 - 3 * y * thrice / twice, 3 - 4 * y * four / thrice])
    return estimated if (estimated >= 0).all() else FALLBACK


def _smoothed(grams: _Grams, counts: Ids, shorter: Probabilities) -> Probabilities:
    """Probability of each held-out token by the counts of one order's n-grams (n-grams,), interpolated with that of the shorter history."""
    discount = discounts(counts)[np.minimum(counts, 3)]
    histories = len(grams.history_counts)
    total = np.bincount(grams.parents, counts, minlength=histories)[grams.history]
    saved = np.bincount(grams.parents, discount, minlength=histories)[grams.history]
    seen = total > 0
    kept = (counts - discount)[grams.gram]
    return np.where(seen, (kept + saved * shorter) / np.where(seen, total, 1), shorter)


@dataclasses.dataclass(frozen=True)
class _Grams:
    """The n-grams of one order: their counts in training, and which of them end at each token."""

    all: Ids
    """(tokens,): number of the n-gram that ends at each token of the training part and the held-out part."""
    gram: Ids  # (held-out tokens,)
    history: Ids
    """(held-out tokens,): number of the n - 1 tokens before each."""
    parents: Ids  # (n-grams,), the number of each one's history
    counts: Ids  # (n-grams,), in training
    history_counts: Ids  # (histories,)
    favourite: Ids
    """(histories,): the most frequent next token; of equally frequent ones the lowest id."""

    @classmethod
    def count(cls, history: Ids, tokens: Ids, split: int, vocabulary: int) -> _Grams:
        distinct, gram = np.unique(history * vocabulary + tokens, return_inverse=True)
        counts = np.bincount(gram[:split], minlength=len(distinct))
        parents, last = distinct // vocabulary, distinct % vocabulary
        histories = int(history.max()) + 1
        ascending = np.lexsort((-last, counts, parents))
        favourite = np.zeros(histories, dtype=np.int64)
        favourite[parents[ascending]] = last[ascending]  # the last write wins
        history_counts = np.bincount(history[:split], minlength=histories)
        return cls(gram, gram[split:], history[split:], parents, counts, history_counts, favourite)

    def continuations(self, longer: _Grams) -> Ids:
        """In how many contexts of one token each n-gram occurs in training, (n-grams,)."""
        trained = longer.all[: int(longer.counts.sum())]
        _, places = np.unique(trained, return_index=True)  # one place of each longer n-gram
        return np.bincount(self.all[places], minlength=len(self.counts))


def _orders(train: Ids, held_out: Ids, vocabulary: int, order: int) -> Iterator[_Grams]:
    tokens = np.concatenate([train, held_out])
    history = np.zeros(len(tokens), dtype=np.int64)
    for _ in range(order):
        grams = _Grams.count(history, tokens, len(train), vocabulary)
        yield grams
        # a token's next longer history is the n-gram that ends just before it; that of the first token is unique
        history = np.concatenate([[int(grams.all.max()) + 1], grams.all[:-1]])
