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


START = -1


class Counted:
    """Modified Kneser-Ney by the book: counts in dictionaries, one recursion."""

    def __init__(self, train: list[int], order: int) -> None:
        padded = [START] * order + train
        ends = range(order, len(padded))
        self.order = order
        self.grams = {n: Counter(tuple(padded[end - n + 1 : end + 1]) for end in ends) for n in range(1, order + 1)}
        self.continued = {n: Counter(gram[1:] for gram in self.grams[n + 1]) for n in range(1, order)}

    def probability(self, history: tuple[int, ...], word: int, vocabulary: int, *, highest: bool = True) -> float:
        """P(word | history); the highest order counts occurrences, the others the distinct words before."""
        n = len(history) + 1
        counts = self.grams[n] if highest else self.continued[n]
        shorter = self.probability(history[1:], word, vocabulary, highest=False) if history else 1 / vocabulary
        after = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == history}
        if not after:
            return shorter
        n1, n2, n3, n4 = (sum(count == times for count in counts.values()) for times in (1, 2, 3, 4))
        discount = [0.0, 0.5, 1.0, 1.5]
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            estimated = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            discount = estimated if min(estimated) >= 0 else discount
        saved = sum(discount[min(count, 3)] for count in after.values())
        kept = max(after.get(word, 0) - discount[min(after.get(word, 0), 3)], 0)
        return (kept + saved * shorter) / sum(after.values())

    def guess(self, history: tuple[int, ...]) -> int:
        """The most frequent word after the history, or after a shorter one."""
        after = {gram[-1]: count for gram, count in self.grams[len(history) + 1].items() if gram[:-1] == history}
        return min(after.items(), key=lambda item: (-item[1], item[0]))[0] if after else self.guess(history[1:])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_equal_a_count_with_dictionaries(seed: int) -> None:
    vocabulary, order = 7, 4
    sequence = tokens(seed, 900, vocabulary)
    train, held_out = sequence[:830], sequence[830:]
    found = ngrams.kneser_ney(train, held_out, vocabulary, order)
    counted = Counted(train.tolist(), order)
    for length in range(1, order + 1):
        for place in range(len(held_out)):
            history = tuple(sequence[830 + place - length + 1 : 830 + place].tolist())
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
        after = [ngrams.kneser_ney(sequence, np.array([*context, word]), vocabulary, order)[-1, -1] for word in range(vocabulary)]
        assert sum(after) == pytest.approx(1.0, rel=1e-12)
        assert min(after) > 0


def test_perplexity_of_the_uniform_and_of_the_certain() -> None:
    even = np.tile(np.arange(4), 200)
    perplexities = np.exp(-np.log(ngrams.kneser_ney(even, even[:40], 4, 2)).mean(axis=1))
    assert perplexities == pytest.approx([4, 1], rel=0.05)
    assert list(ngrams.top1(even, even[:40], 4)) == ["unigram", "bigram", "trigram", "4-gram", "5-gram"]


def test_a_longer_history_is_not_confused_with_the_start_of_the_text() -> None:
    train = np.array([0, 0, 1], dtype=np.int64)
    bigram = ngrams.kneser_ney(train, np.array([0, 0]), 2, 2)
    # nothing occurs twice, so the discounts are those of a small text. Continuations: 0 follows the start and 0, 1 follows 0.
    unigram = (2 - 1 + (1 + 0.5) * 0.5) / 3
    assert bigram[1, 1] == pytest.approx((1 - 0.5 + (0.5 + 0.5) * unigram) / 2)
    assert not math.isnan(bigram.sum())


def test_discounts_are_estimated_and_bounded() -> None:
    """By hand from n1 = 4, n2 = 2, n3 = 1, n4 = 1: Y = 1/2; D1 = 1/2, D2 = 5/4, D3 = 1."""
    assert ngrams.discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4])).tolist() == [0, 0.5, 1.25, 1.0]
    assert ngrams.discounts(np.array([5, 6])).tolist() == ngrams.FALLBACK.tolist()
    assert ngrams.discounts(np.array([1, 1, 1, 2, 3, 3, 3, 4])).tolist() == ngrams.FALLBACK.tolist()  # the second would be below 0
