"""The same settings with many seeds: as many ordinary runs, tied together as one group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dlplay.engine.card import Card
from dlplay.engine.settings import Settings, parse_seeds, to_dict
from dlplay.experiments import pool
from dlplay.runs import directory, launch
from dlplay.runs.console import format_number, print_line
from dlplay.runs.directory import RunDirectory, RunNameError, summary


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over the members of a group that have it."""

    count: int
    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper quartile."""
    least: float
    most: float


class GroupReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="group"):
    """The last line of `--seeds … --json`."""

    name: str
    runs: list[str]
    unfinished: list[str]
    metrics: dict[str, Spread]
    """Of the members' last evaluations."""


def create(runs_dir: Path, card: Card, settings: Settings, name: str | None, origin: str) -> list[RunDirectory]:
    """A run for each of `settings.seeds`, in one group called `name`, by default `ARCHITECTURE-seeds-N`. All of them or none.

    Raises `RunNameError`, `SettingsError` and `OSError`.
    """
    seeds = parse_seeds(settings.seeds)
    at_once(settings)  # what it refuses is told before there are runs
    group = name or _new_name(runs_dir, card.name)
    directory.check_name(f"{group}-s{max(seeds)}")
    groups = directory.groups(runs_dir)
    if (runs_dir / group).exists() or group in groups:
        raise RunNameError(f"there is a run or a group {group!r} already; choose another name, or remove it: dlplay rm {group}")
    directory.check_no_group(groups, *(f"{group}-s{seed}" for seed in seeds))
    created: list[RunDirectory] = []
    try:
        for seed in seeds:
            own = to_dict(settings) | {"seed": seed, "seeds": "", "jobs": 0, "per_gpu": 0}
            created.append(directory.create(runs_dir, card.name, own, origin, f"{group}-s{seed}", group=group))
    except BaseException:
        for run in created:
            directory.remove(run)
        raise
    return created


def _new_name(runs_dir: Path, architecture: str) -> str:
    """The highest number in use is looked for in the members' names: their group's may have been removed in part."""
    pattern = re.compile(rf"{re.escape(architecture)}-seeds-([1-9][0-9]{{0,8}})-s[0-9]+")
    used = [int(match[1]) for name in directory.names(runs_dir) if (match := pattern.fullmatch(name))]
    return f"{architecture}-seeds-{max(used, default=0) + 1}"


def train(card: Card, runs: Sequence[RunDirectory], flags: Sequence[str], settings: Settings, as_json: bool) -> int:
    """Train those members that have not ended, and print how each one and the whole group came out. How many train at a time, and on which
    GPUs, is told by `settings`.

    Returns the exit status: 1 when a member failed. Raises `Interrupted`, with words, when a signal came, and `SettingsError`.
    """
    group, jobs, gpus = runs[0].spec.group, at_once(settings), pool.devices(settings.placed)
    left = [run for run in runs if flags or summary(run).state != "finished"]
    launch.prepare(card.name)
    if not as_json:
        print_line(f"{group}: {len(left)} of {len(runs)} runs to train, {min(jobs, max(len(left), 1))} at a time")
    failed: list[str] = []

    def ended(run: RunDirectory, status: int) -> None:
        item = summary(run)
        if status != 0:
            failed.append(run.name)
        if as_json:
            print_line(msgspec.json.encode(item).decode())
        else:
            words = f"  {item.problem}" if item.problem else ""
            print_line(f"{item.name}  {item.state} at step {item.step:,}  {_shown(card, item.metrics)}{words}".rstrip())

    try:
        pool.train_all(left, flags, jobs, ended, gpus)
    except pool.Interrupted:
        raise pool.Interrupted(f"interrupted; the runs of {group} are saved: dlplay resume {group} --headless goes on") from None
    report = report_of(group, runs)
    if as_json:
        print_line(msgspec.json.encode(report).decode())
    else:
        print_line(f"{group}: median, quartiles and range over {len(runs)} seed{'s' * (len(runs) > 1)}")
        for name, spread in report.metrics.items():
            numbers = [format_number(value) for value in (spread.median, spread.low, spread.high, spread.least, spread.most)]
            print_line("  {}  {}  {} to {}  ({} to {})".format(name, *numbers))
        print_line(f"compare it: dlplay compare {group} ANOTHER")
    return 1 if failed else 0


def report_of(group: str, runs: Sequence[RunDirectory]) -> GroupReport:
    """What the members have reached so far."""
    items = [summary(run) for run in runs]
    names = dict.fromkeys(name for item in items for name in item.metrics)
    return GroupReport(
        name=group,
        runs=[item.name for item in items],
        unfinished=[item.name for item in items if item.state != "finished"],
        metrics={name: spread([item.metrics[name] for item in items if name in item.metrics]) for name in names},
    )


def spread(values: Sequence[float]) -> Spread:
    """Median, quartiles (interpolated linearly) and range of at least one value."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Spread(count=len(values), median=median, low=low, high=high, least=min(values), most=max(values))


def _shown(card: Card, metrics: Mapping[str, Any]) -> str:
    first = [name for name in card.metrics if name in metrics][:2]
    return "  ".join(f"{name} {format_number(metrics[name])}" for name in first)


def at_once(settings: Settings) -> int:
    """How many members train at a time. Raises `SettingsError`."""
    return pool.at_once(settings.threads, settings.placed, settings.jobs, settings.per_gpu)
