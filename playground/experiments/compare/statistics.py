"""Is one group of runs better than another, or was it luck?

Values are the final ones of runs that differ in their seed alone. They may come from several tasks (data sets, environments): then every
resample keeps the number of runs of each task, and the interquartile mean stands for the mean (Agarwal and others, 2021, *Deep
Reinforcement Learning at the Edge of the Statistical Precipice*). All random numbers have a fixed seed, so that an answer repeats.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
"""Of the bootstrap, and relabellings that are drawn where there are too many to go through all."""
ALL = 20_000
"""Relabellings of one task up to which all are gone through: 8 runs against 8 have 12,870."""
CONFIDENCE = 0.95
POWER = 0.8
"""The probability with which a difference is to be found."""
LEAST = 4
"""Runs in each group from which a permutation test can give p < 0.05: 2 of 70 relabellings are as extreme as the groups themselves."""
SEED = 0
METHODS = (
    f"interval: percentile bootstrap of the difference, {RESAMPLES:,} resamples; probability: Mann–Whitney U / (m n); "
    "p: permutation test of the difference, two-sided; seeds needed: two-sample t test, 5 % level, 80 % power, at the observed difference "
    "and spread (normal approximation, corrected after Guenther, 1981)"
)

Floats = NDArray[np.float64]
Strata = Sequence[Floats]
"""The values of one group: an array for each task, in the same order in both groups."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """The second group against the first one."""

    statistic: str
    """`mean`, or `interquartile mean` for several tasks."""
    first: float
    second: float
    difference: float
    """second - first."""
    low: float
    high: float
    """Of the 95 % interval of the difference."""
    probability: float
    """That a run of the second group has the higher value, ties counted half; over several tasks the mean."""
    p: float
    """Of the permutation test."""
    needed: int | None
    """Runs in each group with which such a difference would be found in four of five experiments; None where the spread is not known, and
    where there is no difference."""

    @property
    def clear(self) -> bool:
        """The interval leaves out zero."""
        return not self.low <= 0 <= self.high

    @property
    def significant(self) -> bool:
        """By the permutation test."""
        return self.p < 1 - CONFIDENCE

    @property
    def sure(self) -> bool:
        """By both: of few runs the bootstrap alone would be sure too soon."""
        return self.clear and self.significant


def difference(first: Strata, second: Strata) -> Difference:
    """Compare two groups of finite values, at least one of each task in each group. Raises `ValueError`."""
    if len(first) != len(second) or not first or not all(len(stratum) for stratum in (*first, *second)):
        raise ValueError("each group needs a value of each task")
    one, other = (float(_statistic(np.concatenate(group)[None], len(group))[0]) for group in (first, second))
    low, high = bootstrap(first, second)
    return Difference(
        statistic="mean" if len(first) == 1 else "interquartile mean",
        first=one,
        second=other,
        difference=other - one,
        low=low,
        high=high,
        probability=float(np.mean([probability_of_improvement(a, b) for a, b in zip(first, second, strict=True)])),
        p=permutation_test(first, second),
        needed=runs_needed(first[0], second[0]) if len(first) == 1 else None,
    )


def interquartile_mean(values: Floats) -> float:
    """The mean without the lowest and the highest quarter of the values, each rounded down."""
    return float(_trimmed(np.asarray(values, np.float64)[None])[0])


def bootstrap(first: Strata, second: Strata) -> tuple[float, float]:
    """The 95 % percentile interval of the difference between the groups, resampled within each task (Efron, 1979)."""
    random = np.random.default_rng(SEED)
    found = [
        _statistic(np.concatenate([_resampled(stratum, random) for stratum in group], axis=1), len(group)) for group in (first, second)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found[1] - found[0], [tail, 1 - tail])
    return float(low), float(high)


def probability_of_improvement(first: Floats, second: Floats) -> float:
    """P(Y > X) + P(Y = X) / 2 for X of the first and Y of the second: Mann and Whitney's U (1947) over the number of pairs."""
    above = second[:, None] - first[None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def permutation_test(first: Strata, second: Strata) -> float:
    """The share of relabellings, within each task, whose groups differ at least as much as these do (Fisher, 1935), either way.

    All relabellings of one task are gone through where there are at most `ALL`; else `RESAMPLES` are drawn, and these groups counted in.
    """
    pooled = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    sizes = [len(stratum) for stratum in first]
    exact = len(pooled) == 1 and math.comb(len(pooled[0]), sizes[0]) <= ALL
    if exact:
        choices = np.array(list(itertools.combinations(range(len(pooled[0])), sizes[0])))
        chosen = np.zeros((len(choices), len(pooled[0])), dtype=bool)
        np.put_along_axis(chosen, choices, True, axis=1)
        masks = [chosen]
    else:
        random = np.random.default_rng(SEED)
        masks = [random.random((RESAMPLES, len(values))).argsort(axis=1) < size for values, size in zip(pooled, sizes, strict=True)]
    parts = [_parted(values, mask) for values, mask in zip(pooled, masks, strict=True)]
    one, other = (_statistic(np.concatenate([part[side] for part in parts], axis=1), len(parts)) for side in (0, 1))
    observed = abs(_statistic(np.concatenate(second)[None], len(second))[0] - _statistic(np.concatenate(first)[None], len(first))[0])
    slack = 1e-9 * max(1e-300, float(np.abs(np.concatenate(pooled)).max()))  # sums in another order are not equal to the bit
    as_extreme = int((np.abs(other - one) >= observed - slack).sum())
    return as_extreme / len(one) if exact else (as_extreme + 1) / (len(one) + 1)


def runs_needed(first: Floats, second: Floats) -> int | None:
    """Runs in each group with which a two-sided t test at the 5 % level finds the observed difference with a probability of 80 %.

    The normal approximation (z_a + z_b)² (s² + t²) / d², with Guenther's z_a² / 4 more (1981), and at least `LEAST`. A group of one run
    is taken to spread like the other; None when both are, or without a difference.
    """
    scale = float(np.abs(np.concatenate([first, second])).max()) or 1.0  # a perplexity that has diverged may be 1e304
    first, second = first / scale, second / scale
    gap = float(second.mean() - first.mean())
    spreads = [float(group.var(ddof=1)) for group in (first, second) if len(group) > 1]
    if not spreads or gap == 0:
        return None
    normal = NormalDist()
    level, power = normal.inv_cdf((1 + CONFIDENCE) / 2), normal.inv_cdf(POWER)
    count = (level + power) ** 2 * 2 * float(np.mean(spreads)) / gap**2 + level**2 / 4
    return max(LEAST, math.ceil(count)) if math.isfinite(count) else None


def _statistic(rows: Floats, tasks: int) -> Floats:
    """The mean of each row, or the interquartile mean where there are several tasks."""
    means: Floats = rows.mean(axis=1) if tasks == 1 else _trimmed(rows)
    return means


def _trimmed(rows: Floats) -> Floats:
    cut = rows.shape[1] // 4
    means: Floats = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(axis=1)
    return means


def _resampled(values: Floats, random: np.random.Generator) -> Floats:
    """(RESAMPLES, len(values))."""
    drawn: Floats = values[random.integers(len(values), size=(RESAMPLES, len(values)))]
    return drawn


def _parted(values: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The chosen values of each row, and the others."""
    rows = np.broadcast_to(values, mask.shape)
    count = int(mask[0].sum())
    return rows[mask].reshape(-1, count), rows[~mask].reshape(-1, len(values) - count)
