"""What counting alone makes of the masked words: n-grams that look at the neighbours on one side, or on both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Probability = NDArray[np.float64]

ONE = "both neighbours"
TWO = "two words on each side"


class TwoSidedNGrams:
    """N-grams on both sides of a word, counted in a text `train` of ids below `vocabulary`.

    On each side P(w | one neighbour) and P(w | two) are interpolated down to the unigram with Witten and Bell's weights (The Zero-Frequency
    Problem, 1991). The two sides are combined as P(w | left) P(w | right) / P(w), which is exact if they are independent given w; the
    result is interpolated with the counts of the words between this very pair of neighbours.
    """

    def __init__(self, train: Ids, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        counts = np.bincount(train, minlength=vocabulary)
        types = np.count_nonzero(counts)
        self.unigram: Probability = (counts + types / vocabulary) / (len(train) + types)
        one, two, three = train[:-2], train[1:-1], train[2:]
        self._left = [_Counts(train[:-1], train[1:]), _Counts(one * vocabulary + two, three)]
        self._right = [_Counts(train[1:], train[:-1]), _Counts(two * vocabulary + three, one)]
        self._between = _Counts(one * vocabulary + three, two)

    def left(self, before: list[int]) -> Probability:
        """P(w | words before), the nearest last; at most two of them count. An empty list gives the unigram."""
        near = before[-1:]
        keys = [near[0], before[-2] * self.vocabulary + near[0]] if len(before) > 1 else near
        return self._side(self._left, keys)

    def right(self, after: list[int]) -> Probability:
        """P(w | words after), the nearest first; at most two of them count."""
        near = after[:1]
        keys = [near[0], near[0] * self.vocabulary + after[1]] if len(after) > 1 else near
        return self._side(self._right, keys)

    def both(self, before: list[int], after: list[int]) -> Probability:
        """P(w | words on both sides)."""
        joint = self.left(before) * self.right(after) / self.unigram
        joint /= joint.sum()
        if before and after:
            joint = self._between.interpolate(before[-1] * self.vocabulary + after[0], joint)
        return joint

    def _side(self, orders: list[_Counts], keys: list[int]) -> Probability:
        probability = self.unigram
        for counts, key in zip(orders, keys, strict=False):
            probability = counts.interpolate(key, probability)
        return probability


class _Counts:
    """How often each word occurred in each context."""

    def __init__(self, contexts: Ids, words: Ids) -> None:
        width = int(words.max(initial=0)) + 1
        distinct, self._counts = np.unique(contexts * width + words, return_counts=True)
        self._words = distinct % width
        keys, starts = np.unique(distinct // width, return_index=True)
        ends = [*starts[1:].tolist(), len(distinct)]
        self._ranges = dict(zip(keys.tolist(), zip(starts.tolist(), ends, strict=True), strict=True))

    def interpolate(self, key: int, lower: Probability) -> Probability:
        """(c(w) + T P(w | lower order)) / (c + T) for every word w: c(w) counts of w in the context, c their sum, T distinct words."""
        if (found := self._ranges.get(key)) is None:
            return lower
        words, counts = self._words[slice(*found)], self._counts[slice(*found)]
        probability: Probability = lower * len(words)
        probability[words] += counts
        probability /= counts.sum() + len(words)
        return probability


def masked_words(train: Ids, vocabulary: int, rows: Ids, chosen: NDArray[np.bool_], targets: Ids) -> dict[str, dict[str, float]]:
    """Accuracy and loss (nats) of each method on the `chosen` words of `rows` (B, T), which are masked as the encoder reads them:
    neighbours that are masked, or beyond the end of the row, are not seen. `targets` are the original words."""
    ngrams = TwoSidedNGrams(train, vocabulary)
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in ("unigram", "left neighbour", ONE, TWO)}
    for (row, position), target in zip(np.argwhere(chosen).tolist(), targets.tolist(), strict=True):
        line = rows[row]
        before = _visible(line[max(0, position - 2) : position][::-1], vocabulary)[::-1]
        after = _visible(line[position + 1 : position + 3], vocabulary)
        answers = ngrams.unigram, ngrams.left(before[-1:]), ngrams.both(before[-1:], after[:1]), ngrams.both(before, after)
        for name, probability in zip(found, answers, strict=True):
            found[name].append((int(probability.argmax()) == target, float(np.log(probability[target]))))
    return {
        "masked_accuracy": {name: float(np.mean([correct for correct, _ in values])) for name, values in found.items()},
        "masked_loss": {name: -float(np.mean([nats for _, nats in values])) for name, values in found.items()},
    }


def _visible(neighbours: Ids, vocabulary: int) -> list[int]:
    """The first of `neighbours` up to the first special token."""
    seen = []
    for word in neighbours.tolist():
        if word >= vocabulary:
            break
        seen.append(word)
    return seen
