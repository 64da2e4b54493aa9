"""The statistics of two groups of runs, beside scipy's, beside every possible resample, and beside simulated experiments."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dlplay.experiments.compare.statistics import (
    Difference,
    bootstrap,
    difference,
    interquartile_mean,
    permutation_test,
    probability_of_improvement,
    runs_needed,
)

Floats = NDArray[np.float64]


def drawn(seed: int, count: int, centre: float = 0.0, spread: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(centre, spread, count)


def mean_difference(first: Floats, second: Floats, axis: int = -1) -> Floats:
    found: Floats = second.mean(axis=axis) - first.mean(axis=axis)
    return found


@pytest.mark.parametrize(("m", "n"), [(3, 3), (8, 8), (5, 12)])
def test_the_interval_is_that_of_scipy(m: int, n: int) -> None:
    first, second = drawn(1, m), drawn(2, n, 1.0)
    low, high = bootstrap([first], [second])
    theirs = stats.bootstrap(
        (first, second), mean_difference, method="percentile", n_resamples=50_000, rng=np.random.default_rng(0), vectorized=True
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_the_interval_is_that_of_every_possible_resample() -> None:
    first, second = np.array([0.0, 1.0, 5.0]), np.array([2.0, 2.5, 9.0])
    means = [np.array([np.mean(pick) for pick in itertools.product(values, repeat=3)]) for values in (first, second)]
    every = (means[1][:, None] - means[0][None]).ravel()
    low, high = bootstrap([first], [second])
    assert ((every < low).mean(), (every > high).mean()) == pytest.approx((0.025, 0.025), abs=0.01)


def test_an_answer_repeats() -> None:
    assert difference([drawn(1, 8)], [drawn(2, 8)]) == difference([drawn(1, 8)], [drawn(2, 8)])


@pytest.mark.parametrize("ties", [False, True])
def test_the_probability_is_mann_and_whitneys(ties: bool) -> None:
    first, second = drawn(3, 7), drawn(4, 9, 0.5)
    if ties:
        first, second = np.round(first), np.round(second)
    pairs = [1.0 if y > x else 0.5 if y == x else 0.0 for x in first for y in second]
    assert probability_of_improvement(first, second) == pytest.approx(np.mean(pairs))
    assert probability_of_improvement(first, second) == pytest.approx(stats.mannwhitneyu(second, first).statistic / 63)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 4), (5, 8), (12, 12)])
def test_the_permutation_test_is_that_of_scipy(m: int, n: int) -> None:
    first, second = drawn(5, m), drawn(6, n, 1.0)
    theirs = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.abs(mean_difference(a, b, axis)),
        alternative="greater",
        n_resamples=9999,
        rng=np.random.default_rng(1),
    )
    assert permutation_test([first], [second]) == pytest.approx(theirs.pvalue, abs=0.01 if m == 12 else 1e-9)


def test_three_runs_each_are_never_enough_to_be_sure() -> None:
    """The bootstrap alone would be: its interval leaves out zero whenever the groups do not overlap."""
    found = difference([np.array([1.0, 1.1, 1.2])], [np.array([3.0, 3.1, 3.2])])
    assert found.low > 0
    assert found.p == pytest.approx(0.1)
    assert not found.sure
    assert found.needed == 4
    assert difference([np.array([1.0, 1.1, 1.2, 1.0])], [np.array([3.0, 3.1, 3.2, 3.0])]).sure


def test_groups_that_are_alike_are_seldom_told_apart() -> None:
    """At most about one in twenty times, whatever the number of seeds."""
    for count in (2, 4, 8):
        random = np.random.default_rng(count)
        sure = sum(difference([random.normal(size=count)], [random.normal(size=count)]).sure for _ in range(60))
        assert sure <= 8, f"{sure} of 60 pairs of {count} equal runs were told apart"


def test_so_many_seeds_find_the_difference_four_times_in_five() -> None:
    first, second = drawn(7, 40, 0.0, 1.0), drawn(8, 40, 0.9, 1.0)
    count = runs_needed(first, second)
    assert count is not None
    gap = (second.mean() - first.mean()) / np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    random = np.random.default_rng(0)
    experiments = stats.ttest_ind(random.normal(size=(4000, count)), random.normal(gap, size=(4000, count)), axis=1).pvalue
    assert (experiments < 0.05).mean() == pytest.approx(0.8, abs=0.04)


def test_what_cannot_be_said_is_not_said() -> None:
    assert runs_needed(np.array([1.0]), np.array([2.0])) is None, "one run each has no spread"
    assert runs_needed(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None, "no difference"
    assert runs_needed(np.array([1.0, 1.0]), np.array([2.0, 2.0])) == 4, "no spread: the least that a permutation test can tell"
    assert runs_needed(np.array([1.5]), np.array([2.0, 3.0])) == runs_needed(np.array([1.0, 2.0]), np.array([2.0, 3.0])), "as the other"
    single = difference([np.array([1.0])], [np.array([2.0])])
    assert (single.low, single.high, single.probability, single.p, single.sure) == (1.0, 1.0, 1.0, 1.0, False)
    huge = difference([np.full(4, 1e304) * np.arange(1, 5)], [np.arange(4.0)])
    assert (huge.probability, huge.needed) == (0.0, runs_needed(np.arange(1.0, 5), np.zeros(4)))
    equal = difference([np.full(5, 0.3)], [np.full(5, 0.3)])
    assert (equal.difference, equal.probability, equal.p, equal.sure) == (0.0, 0.5, 1.0, False)
    for bad in ([], [np.array([])]):
        with pytest.raises(ValueError, match="a value of each task"):
            difference(bad, bad)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 16, 41])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    values = drawn(9, count)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_several_tasks_are_resampled_each_for_itself() -> None:
    """Tasks lie far apart: resampled together, the interval would be as wide as the tasks are."""
    first = [drawn(10, 6, 0.0, 0.1), drawn(11, 6, 50.0, 0.1), drawn(12, 6, 100.0, 0.1)]
    second = [stratum + 0.5 for stratum in first]
    found = difference(first, second)
    assert isinstance(found, Difference)
    assert found.statistic == "interquartile mean"
    assert found.difference == pytest.approx(0.5)
    assert 0.3 < found.low < 0.5 < found.high < 0.7
    assert found.probability == pytest.approx(np.mean([probability_of_improvement(a, b) for a, b in zip(first, second, strict=True)]))
    assert found.sure


def test_the_stratified_interval_covers_the_truth() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(40):
        first = [random.normal(centre, 1, 10) for centre in (0, 3, 6)]
        second = [random.normal(centre + 1, 1, 10) for centre in (0, 3, 6)]
        low, high = bootstrap(first, second)
        covered += low <= 1 <= high
    assert covered >= 33, f"{covered} of 40 intervals of 95 % hold the difference"
