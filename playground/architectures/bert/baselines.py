"""What counting alone makes of the masked words: n-grams that look at the neighbours on one side, or on both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Probability = NDArray[np.float64]

ONE = "both neighbours"
TWO = "two words on each side"


class BothSides:
    """N-grams from both sides of a word, counted in a text `train` of ids below `vocabulary`.

    From each side P(w | one neighbour) and P(w | two) are interpolated as Witten and Bell do (see `data.ngrams`), down to the unigram. The
    two sides are joined by P(w | left) P(w | right) / P(w), which is exact where the sides say independent things of w, and that is
    interpolated with the counts of what stood between this very left and this very right neighbour.
    """

    def __init__(self, train: Ids, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        counts = np.bincount(train, minlength=vocabulary)
        types = np.count_nonzero(counts)
        self.unigram: Probability = (counts + types / vocabulary) / (len(train) + types)
        one, two, three = train[:-2], train[1:-1], train[2:]
        self._left = [_Followers(train[:-1], train[1:]), _Followers(one * vocabulary + two, three)]
        self._right = [_Followers(train[1:], train[:-1]), _Followers(two * vocabulary + three, one)]
        self._between = _Followers(one * vocabulary + three, two)

    def left(self, before: list[int]) -> Probability:
        """P(w | words before), the nearest last; at most two of them count. An empty list gives the unigram."""
        near = before[-1:]
        keys = [near[0], before[-2] * self.vocabulary + near[0]] if len(before) > 1 else near
        return self._side(self._left, keys)

    def right(self, after: list[int]) -> Probability:
        """P(w | words after), the nearest first."""
        near = after[:1]
        keys = [near[0], near[0] * self.vocabulary + after[1]] if len(after) > 1 else near
        return self._side(self._right, keys)

    def both(self, before: list[int], after: list[int]) -> Probability:
        """P(w | words on both sides)."""
        joined = self.left(before) * self.right(after) / self.unigram
        joined /= joined.sum()
        if before and after:
            joined = self._between.interpolate(before[-1] * self.vocabulary + after[0], joined)
        return joined

    def _side(self, orders: list[_Followers], keys: list[int]) -> Probability:
        probability = self.unigram
        for followers, key in zip(orders, keys, strict=False):
            probability = followers.interpolate(key, probability)
        return probability


class _Followers:
    """Which words stood beside each context, and how often."""

    def __init__(self, contexts: Ids, words: Ids) -> None:
        width = int(words.max(initial=0)) + 1
        distinct, self._counts = np.unique(contexts * width + words, return_counts=True)
        self._words = distinct % width
        keys, starts = np.unique(distinct // width, return_index=True)
        ends = [*starts[1:].tolist(), len(distinct)]
        self._where = dict(zip(keys.tolist(), zip(starts.tolist(), ends, strict=True), strict=True))

    def interpolate(self, key: int, shorter: Probability) -> Probability:
        """(c(w) + T P(w | shorter)) / (c + T) for every word w, with c the counts after the context and T how many words they are of."""
        if (where := self._where.get(key)) is None:
            return shorter
        words, counts = self._words[slice(*where)], self._counts[slice(*where)]
        probability: Probability = shorter * len(words)
        probability[words] += counts
        probability /= counts.sum() + len(words)
        return probability


def masked_words(train: Ids, vocabulary: int, rows: Ids, chosen: NDArray[np.bool_], targets: Ids) -> dict[str, dict[str, float]]:
    """Accuracy and loss (nats) of each method at the `chosen` places of `rows` (B, T), which hold the rows as the encoder reads them: a
    neighbour that is itself masked, and the end of a row, are not seen. `targets` are the words that stood there."""
    counted = BothSides(train, vocabulary)
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in ("unigram", "left neighbour", ONE, TWO)}
    for (row, place), target in zip(np.argwhere(chosen).tolist(), targets.tolist(), strict=True):
        line = rows[row]
        before, after = _seen(line[max(0, place - 2) : place][::-1], vocabulary)[::-1], _seen(line[place + 1 : place + 3], vocabulary)
        answers = counted.unigram, counted.left(before[-1:]), counted.both(before[-1:], after[:1]), counted.both(before, after)
        for name, probability in zip(found, answers, strict=True):
            found[name].append((int(probability.argmax()) == target, float(np.log(probability[target]))))
    return {
        "masked_accuracy": {name: float(np.mean([right for right, _ in values])) for name, values in found.items()},
        "masked_loss": {name: -float(np.mean([nats for _, nats in values])) for name, values in found.items()},
    }


def _seen(neighbours: Ids, vocabulary: int) -> list[int]:
    """The words that follow each other unbroken from the first of `neighbours` on."""
    seen = []
    for word in neighbours.tolist():
        if word >= vocabulary:
            break
        seen.append(word)
    return seen
