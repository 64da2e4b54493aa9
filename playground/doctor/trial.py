"""Does the advice help? Runs with the advised change beside runs without it: the same seeds, the same steps, the same start."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from dlplay import architectures
from dlplay.doctor.examine import SEEDS, in_force, range_test, recorded, trial_steps
from dlplay.doctor.rules import written
from dlplay.engine.diagnosis import Diagnosis
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.experiments import pool
from dlplay.runs import directory, launch, steps
from dlplay.runs.directory import RunDirectory, summary
from dlplay.runs.lock import Held, RunLock

CONFIDENCE = 0.95
ENDED = ("finished", "failed")
LOCK = "trial.lock"
"""In the folder of the run: of two trials at once one would take the other's runs for its own."""
LONGEST = 64
"""Letters of a run's name."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an advice."""

    diagnosis: str
    changes: dict[str, Any]
    start: str
    """The checkpoint that all runs began at; empty: with fresh weights."""
    steps: int
    seeds: list[int]
    metric: str
    without: list[float]
    with_it: list[float]
    """The metric at the end, by seed; a run that failed has none."""
    difference: float | None
    """Mean of the paired differences."""
    low: float | None
    high: float | None
    """Of its 95 % interval, by Student's t; None for a single pair. The two runs of a seed are a pair."""
    helped: bool | None
    """None where the interval holds 0, or nothing could be compared."""
    verdict: str
    next: str = ""
    """What to do where it did not help."""
    range_test: str = ""
    """The command that tries which rate to take; empty where there is none."""
    runs: list[str]
    groups: list[str] = []
    """Of the runs without and with it, as `dlplay compare` takes them."""


def start_of(run: RunDirectory, diagnosis: Diagnosis, last: int, count: int) -> str:
    """Where a trial begins: with the run's own first weights, or at the checkpoint that is `count` steps before the last one."""
    if diagnosis.anew:
        return run.spec.origin
    return f"{run.name}@{steps.nearest(run, max(0, last - count)).step}"


def attempt(run: RunDirectory, diagnosis: Diagnosis, last: int, count: int = 0, said: Callable[[str], None] = lambda words: None) -> Trial:
    """Train both arms to the end, `count` steps each (0: a quarter of the run's), and compare. The runs are kept.

    Raises `SettingsError` where the advice names no setting; and as a training does.
    """
    if not diagnosis.changes:
        raise SettingsError(f"{diagnosis.name}: its advice names no setting that could be tried: {diagnosis.advice}")
    card = architectures.card(run.spec.architecture)
    before = in_force(run, card, recorded(run, card))
    count = count or trial_steps(run, last)
    doubled = {"steps": 2 * count} if "steps" in diagnosis.changes else {}
    start = start_of(run, diagnosis, last, count)
    seed = int(before.get("seed", 0))
    seeds = [seed + number for number in range(SEEDS)]
    common = {**before, "steps": count, "seeds": "", "minutes": 0.0, "until": "", "history": 0}
    arms: dict[str, Mapping[str, Any]] = {"without": common, "with": {**common, **diagnosis.changes, "steps": count, **doubled}}
    values = {arm: [to_dict(make(card.settings, {**one, "seed": own}, lenient=True)) for own in seeds] for arm, one in arms.items()}
    with _alone(run):
        label, created = _runs(run, _label(run.name, diagnosis.name, seeds), start, values)
        everything = [one for pair in zip(*created.values(), strict=True) for one in pair]
        where = f"from {start}" if start else "with fresh weights"
        said(f"{len(everything)} runs of {count:,} steps, {where}: dlplay compare {label}-without {label}-with overlays them")
        launch.prepare(card.name)
        place = make(card.settings, before, lenient=True)
        jobs = pool.at_once(place.threads, place.placed)
        left = [one for one in everything if summary(one).state not in ENDED]
        try:
            pool.train_all(left, [], jobs, lambda one, status: said(f"{one.name}  {summary(one).state}"), pool.devices(place.placed))
        except pool.Interrupted:
            raise pool.Interrupted("interrupted; its runs are saved: the same command goes on with them") from None
    _check_ended(everything)
    metric = card.of(before).metric
    ends = {arm: [_end(one, metric) for one in runs] for arm, runs in created.items()}
    names = [one.name for one in everything]
    trial = judged(diagnosis, card.better, start, count, seeds, metric, ends["without"], ends["with"], names)
    test = range_test(card, before, run.spec.origin)
    same = trial.low == trial.high == 0
    after = "" if trial.helped and trial.without else next_step(run.name, diagnosis.name, count, "" if same else test)
    return msgspec.structs.replace(trial, groups=[f"{label}-{arm}" for arm in arms], next=after, range_test=test)


@contextlib.contextmanager
def _alone(run: RunDirectory) -> Iterator[None]:
    """While no other advice is tried for the run. Raises `SettingsError` while one is."""
    lock = RunLock(run.path / LOCK)
    try:
        lock.acquire()
    except Held as held:
        raise SettingsError(f"process {held.pid} tries an advice for {run.name} already; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def _label(run: str, rule: str, seeds: Sequence[int]) -> str:
    """The beginning of the names of its runs, short enough for what follows it."""
    follows = len(f".999-without-s{max(seeds)}")
    return f"{run[:30]}-{rule}"[: LONGEST - follows]


def _check_ended(runs: Sequence[RunDirectory]) -> None:
    """Raises `pool.Interrupted` where somebody stopped one of them, or its process died: it has not failed by its settings."""
    if left := [f"{one.name} ({state})" for one in runs if (state := summary(one).state) not in ENDED]:
        raise pool.Interrupted(f"{', '.join(left)} did not end, and nothing was compared; the same command goes on with the trial")


def next_step(run: str, rule: str, count: int, test: str) -> str:
    """After advice that did not help: the range test, or where there is none a trial that is twice as long."""
    if test:
        return f"next: which rate to take is shown by {test}"
    return f"next: a trial twice as long: dlplay doctor {run} --try --rule {rule} --steps {2 * count}"


def judged(
    diagnosis: Diagnosis,
    better: str,
    start: str,
    count: int,
    seeds: list[int],
    metric: str,
    without: list[float | None],
    with_it: list[float | None],
    runs: list[str],
) -> Trial:
    """The verdict: the mean of the paired differences and its interval, or how many runs failed where that is what differs."""
    pairs = [(a, b) for a, b in zip(without, with_it, strict=True) if a is not None and b is not None]
    failed, before = sum(value is None for value in with_it), sum(value is None for value in without)
    difference = low = high = None
    helped: bool | None = None
    if pairs:
        values = np.array([b - a for a, b in pairs])
        difference = float(values.mean())
        if len(pairs) > 1:
            reach = _student(len(pairs) - 1) * float(values.std(ddof=1)) / math.sqrt(len(pairs))
            low, high = difference - reach, difference + reach
            if low > 0 or high < 0:
                helped = (difference > 0) == (better == "higher")
    what = f"the advice {written(diagnosis.changes)}"
    if before == len(without) and not failed:
        ends = np.mean([value for value in with_it if value is not None])
        reached = f"their mean {metric.replace('_', ' ')} is {ends:.3g}"
        helped, words = True, f"{what} helped: without it all {len(without)} runs failed, and with it none did; {reached}"
    elif failed == len(with_it) or failed > before:
        counted = f"{failed} of {len(with_it)} runs with it failed, and {before} of {len(without)} without it"
        helped, words = False, f"{what} did not help: {counted}"
    elif difference is None:
        words = f"{what} could not be judged, nothing could be compared: too many runs failed"
    elif low is None:
        saved = f"; without it {before} of {len(without)} runs failed, and with it {failed or 'none'} did" if before else ""
        words = f"{what} could not be judged by a single pair of runs: {metric.replace('_', ' ')} {difference:+.3g}{saved}"
    else:
        span = f"{low:+.3g} to {high:+.3g} with 95 % confidence by Student's t, over"
        how = {True: "helped", False: "made it worse", None: "did not help beyond chance"}[helped]
        if low == high == 0:
            how = f"made no difference in {count:,} steps"
        words = f"{what} {how}: {metric.replace('_', ' ')} {difference:+.3g} ({span} {len(pairs)} pairs of one seed)"
    kept = [[value for value in arm if value is not None] for arm in (without, with_it)]
    return Trial(
        diagnosis=diagnosis.name,
        changes=diagnosis.changes,
        start=start,
        steps=count,
        seeds=seeds,
        metric=metric,
        without=kept[0],
        with_it=kept[1],
        difference=difference,
        low=low,
        high=high,
        helped=helped,
        verdict=words,
        runs=runs,
    )


def _student(freedom: int) -> float:
    """Quantile of Student's t for a two-sided interval."""
    from scipy import stats  # takes a while to import

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def _end(run: RunDirectory, metric: str) -> float | None:
    """What the run ended with; None where it failed."""
    item = summary(run)
    value = item.metrics.get(metric)
    return None if item.state != "finished" or value is None or not math.isfinite(value) else float(value)


def _runs(
    run: RunDirectory, label: str, start: str, values: Mapping[str, Sequence[dict[str, Any]]]
) -> tuple[str, dict[str, list[RunDirectory]]]:
    """The runs of each arm, with these settings by seed, and their label, with a number where it is taken: those of the same trial that
    was interrupted, or new ones."""
    folder = run.path.parent
    for number in range(1, 1000):
        own = label if number == 1 else f"{label}.{number}"
        found = {arm: [RunDirectory(folder / f"{own}-{arm}-s{one['seed']}") for one in settings] for arm, settings in values.items()}
        known = set(directory.names(folder)) | set(directory.groups(folder))
        if not known & {own, *(f"{own}-{arm}" for arm in values), *(one.name for arm in found.values() for one in arm)}:
            break
        if all(one.name in known for arm in found.values() for one in arm) and _goes_on(found, own, start, values):
            return own, found
    for arm, settings in values.items():
        for one, each in zip(settings, found[arm], strict=True):
            directory.create(folder, run.spec.architecture, one, start, each.name, group=f"{own}-{arm}")
    return own, found


def _goes_on(found: Mapping[str, Sequence[RunDirectory]], label: str, start: str, values: Mapping[str, Sequence[dict[str, Any]]]) -> bool:
    """Whether these runs are such a trial, and some have neither ended nor train now."""
    states = [summary(one).state for arm in found.values() for one in arm]
    return (
        all(
            (one.spec.group, one.spec.origin, one.spec.settings) == (f"{label}-{arm}", start, json.loads(json.dumps(settings)))
            for arm, runs in found.items()
            for one, settings in zip(runs, values[arm], strict=True)
        )
        and not {"training", "waiting", "paused"} & {*states}
        and not {*states} <= {*ENDED}
    )
