"""The n-gram baselines against a plain count with dictionaries, and against what a probability must be."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from dlplay.data import ngrams


def tokens(seed: int, count: int, vocabulary: int) -> np.ndarray:
    """A sequence with structure: every token prefers a few successors."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(vocabulary, 0.2), size=vocabulary)
    sequence = [0]
    for _ in range(count - 1):
        sequence.append(int(rng.choice(vocabulary, p=table[sequence[-1]])))
    return np.array(sequence, dtype=np.int64)


class Counted:
    """Witten-Bell by the book: counts in dictionaries, one recursion."""

    def __init__(self, train: list[int], order: int) -> None:
        self.grams: Counter[tuple[int, ...]] = Counter()
        self.histories: Counter[tuple[int, ...]] = Counter()
        self.followers: dict[tuple[int, ...], Counter[int]] = {}
        for end in range(len(train)):
            for length in range(1, order + 1):
                if end - length + 1 >= 0:
                    gram = tuple(train[end - length + 1 : end + 1])
                    self.grams[gram] += 1
                    self.histories[gram[:-1]] += 1
                    self.followers.setdefault(gram[:-1], Counter())[gram[-1]] += 1

    def probability(self, history: tuple[int, ...], word: int, vocabulary: int) -> float:
        shorter = self.probability(history[1:], word, vocabulary) if history else 1 / vocabulary
        seen, types = self.histories[history], len(self.followers.get(history, ()))
        return (self.grams[(*history, word)] + types * shorter) / (seen + types) if seen else shorter

    def guess(self, history: tuple[int, ...]) -> int:
        if self.histories[history]:
            return min(self.followers[history].items(), key=lambda item: (-item[1], item[0]))[0]
        return self.guess(history[1:])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_equal_a_count_with_dictionaries(seed: int) -> None:
    vocabulary, order = 7, 4
    sequence = tokens(seed, 400, vocabulary)
    train, held_out = sequence[:330], sequence[330:]
    found = ngrams.witten_bell(train, held_out, vocabulary, order)
    counted = Counted(train.tolist(), order)
    for length in range(1, order + 1):
        for place in range(len(held_out)):
            history = tuple(sequence[: 330 + place][::-1][: length - 1][::-1].tolist())
            expected = counted.probability(history, int(held_out[place]), vocabulary)
            assert found[length - 1, place] == pytest.approx(expected, rel=1e-12)


def test_guesses_equal_a_count_with_dictionaries() -> None:
    vocabulary = 6
    sequence = tokens(3, 300, vocabulary)
    train, held_out = sequence[:250], sequence[250:]
    counted = Counted(train.tolist(), 3)
    found = ngrams.top1(train, held_out, vocabulary, 3)
    for length, name in enumerate(["unigram", "bigram", "trigram"], start=1):
        guesses = [counted.guess(tuple(sequence[250 + i - length + 1 : 250 + i].tolist())) for i in range(len(held_out))]
        assert found[name] == pytest.approx(float(np.mean(np.array(guesses) == held_out)))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_of_all_words_after_a_history_sum_to_one(order: int) -> None:
    vocabulary = 9
    sequence = tokens(4, 200, vocabulary)
    sequence = sequence[sequence != 5]  # a word that training never saw has a share as well
    for context in ([1, 2, 3, 4], [5, 5, 5, 5]):
        after = [ngrams.witten_bell(sequence, np.array([*context, word]), vocabulary, order)[-1, -1] for word in range(vocabulary)]
        assert sum(after) == pytest.approx(1.0, rel=1e-12)
        assert min(after) > 0


def test_perplexity_of_the_uniform_and_of_the_certain() -> None:
    even = np.tile(np.arange(4), 200)
    assert ngrams.perplexities(even, even[:40], 4, 1)["unigram"] == pytest.approx(4, rel=0.01)
    assert ngrams.perplexities(even, even[:40], 4, 2)["bigram"] == pytest.approx(1, rel=0.05)
    assert list(ngrams.perplexities(even, even[:40], 4)) == ["unigram", "bigram", "trigram", "4-gram"]


def test_a_longer_history_is_not_confused_with_the_start_of_the_text() -> None:
    train = np.array([0, 0, 1], dtype=np.int64)
    bigram = ngrams.witten_bell(train, np.array([0, 0]), 2, 2)
    # c(0 0)=1, c(0)=2, T(0)=2, unigram P(0)=(2+2*.5)/5
    assert bigram[1, 1] == pytest.approx((1 + 2 * 0.6) / 4)
    assert not math.isnan(bigram.sum())
