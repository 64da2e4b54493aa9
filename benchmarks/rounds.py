"""Candidates measured in turns, A B A B, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def alternate(candidates: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Every candidate once a round; every other round in the opposite order, so that none is always the one that comes after another."""
    found: dict[str, list[T]] = {name: [] for name in candidates}
    for number in range(rounds):
        order = list(candidates) if number % 2 == 0 else list(candidates)[::-1]
        for name in order:
            print(f"  round {number + 1} of {rounds}: {name}", file=sys.stderr)
            found[name].append(candidates[name]())
    return found


def ratio(figures: Sequence[float], against: Sequence[float]) -> float:
    """Median over the rounds of one candidate's figure over another's of the same round."""
    return statistics.median(a / b for a, b in zip(figures, against, strict=True))


def percentile(figures: Sequence[float], percent: int) -> float:
    """The value that `percent` of the figures stay below, of at least two figures."""
    return statistics.quantiles(figures, n=100, method="inclusive")[percent - 1]
