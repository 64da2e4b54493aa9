"""What a sweep is to do, and the folder that holds its state."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from dlplay import architectures
from dlplay.engine.card import Card
from dlplay.engine.errors import DataError
from dlplay.engine.settings import Settings, SettingsError, to_dict
from dlplay.experiments.sweep.space import MOST_TRIALS, Dimension, check_together, combinations, parse_search
from dlplay.runs import directory
from dlplay.runs.directory import SPEC_LIMIT, RunNameError, sweeps_dir
from dlplay.runs.files import drafted, open_regular

VARIABLE = "DLPLAY_STORAGE"
"""The database's address, where it is not given as a flag."""

Sampler = Literal["tpe", "random", "grid"]
Prune = Literal["median", "hyperband", "none"]


TRIALS = 20
"""Trials of a sweep that is not told how many; of a grid it is all combinations."""


class SweepError(DataError):
    """A sweep that cannot be used; the message says why, and what to do."""


class SweepSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep was started with (`sweep.json`); written once."""

    name: str
    architecture: str
    settings: dict[str, Any]
    """All settings of every run; those that are searched take their place."""
    search: dict[str, Annotated[str, Meta(max_length=20_000)]]
    """By setting, as typed: `1e-4..1e-1:log`."""
    metric: str
    """The held-out metric at the end of a run, which is searched for its best value."""
    better: Literal["higher", "lower"]
    trials: Annotated[int, Meta(ge=1, le=MOST_TRIALS)]
    sampler: Sampler = "tpe"
    prune: Prune = "none"
    seed: int = 0
    """Of the samplers; trial number n draws with one that follows from this and n, whichever worker has it."""
    origin: str = ""
    """The checkpoint that every run starts from; empty for fresh weights."""
    database: bool = False
    """Whether trials are kept in a database. Its address is given anew each time, and never written down."""
    created: float = 0.0
    """Seconds since the epoch."""
    format: Literal[1] = 1

    @property
    def card(self) -> Card:
        """Raises `SettingsError` where there is no such architecture."""
        return architectures.card(self.architecture)

    @property
    def space(self) -> tuple[Dimension, ...]:
        """Raises `SettingsError`."""
        return parse_search(self.card, [f"{name}={values}" for name, values in self.search.items()])

    def run_name(self, number: int) -> str:
        """The run of trial `number`, from 0."""
        return f"{self.name}-{number + 1}"


def planned(
    card: Card,
    settings: Settings,
    given: Sequence[str],
    origin: str,
    runs_dir: Path,
    *,
    search: Sequence[str],
    name: str | None,
    trials: int | None,
    sampler: Sampler,
    prune: Prune,
    metric: str | None,
    database: bool,
) -> SweepSpec:
    """A new sweep as it is asked for, every word checked; `settings` are those of every run, of which `given` were typed.

    Raises `SettingsError` and `RunNameError`.
    """
    check_choice("sampler", sampler, Sampler)
    check_choice("prune", prune, Prune)
    if settings.seeds.strip():
        raise SettingsError(f"--seeds {settings.seeds[:60]}: every trial has one seed; leave them out", "seeds")
    settings = dataclasses.replace(settings, jobs=0, per_gpu=0, device=settings.placed)
    space = parse_search(card, search)
    if both := [dimension.name for dimension in space if dimension.name in given]:
        raise SettingsError(f"{both[0]} is searched, and a value is given for it as well; leave one of them out", both[0])
    chosen = card.of(check_together(card, space, to_dict(settings)))
    most = most_trials(space, sampler)
    trials = trials if trials is not None else most if sampler == "grid" else TRIALS
    check_trials(trials, most, sampler)
    name = name if name is not None else free_name(runs_dir, card.name)
    check_free(runs_dir, name, trials)
    return SweepSpec(
        name=name,
        architecture=card.name,
        settings=to_dict(settings),
        search={dimension.name: text.partition("=")[2] for dimension, text in zip(space, search, strict=True)},
        metric=metric or chosen.metric,
        better=direction(chosen, metric or chosen.metric),
        trials=trials,
        sampler=sampler,
        prune=prune,
        seed=settings.seed,
        origin=origin,
        database=database,
        created=time.time(),
    )


def whole(name: str, text: Any) -> int:
    """A number that was typed. Raises `SettingsError`."""
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"--{name} {str(text)[:60]!r} is not a whole number") from None


def check_choice(name: str, given: str | None, kind: Any) -> None:
    """Raises `SettingsError` for a word that is given and that a flag of this `Literal` does not take."""
    *words, last = get_args(kind)
    if given is not None and given not in (*words, last):
        raise SettingsError(f"--{name} {given[:60]}: use {' or '.join(filter(None, [', '.join(words), last]))}")


def most_trials(space: Sequence[Dimension], sampler: Sampler) -> int:
    """Trials that a sweep can have. Raises `SettingsError` for a grid over a range of numbers."""
    return combinations(space) if sampler == "grid" else MOST_TRIALS


def check_trials(trials: int, most: int, sampler: Sampler) -> None:
    """Raises `SettingsError`."""
    if not 1 <= trials <= most:
        raise SettingsError(f"--trials {trials}: use 1 to {most:,}" + (", as many as there are combinations" * (sampler == "grid")))


def more_trials(spec: SweepSpec, trials: int) -> SweepSpec:
    """The description with so many trials in all. Raises `SettingsError`, and `RunNameError` where a run would have too long a name."""
    if trials == spec.trials:
        return spec
    check_trials(trials, most_trials(spec.space, spec.sampler), spec.sampler)
    if trials < spec.trials:
        raise SettingsError(f"--trials {trials}: {spec.name} is a sweep of {spec.trials} trials already; give more than that")
    directory.check_name(spec.run_name(trials - 1))
    return msgspec.structs.replace(spec, trials=trials)


def direction(card: Card, metric: str) -> Literal["higher", "lower"]:
    """Which values of a held-out metric are better. Raises `SettingsError` for one that the architecture does not have."""
    if metric == card.metric:
        return card.better
    for chart in card.charts:
        if metric.startswith(chart.held_out):  # some settings have more, whose names begin as one of these
            better = chart.better or ("higher" if chart.percent else "lower")
            if better == "neither":
                raise SettingsError(f"--metric {metric[:60]}: neither high nor low values of it are better; give another one")
            return better
    near = difflib.get_close_matches(metric, card.metrics, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(card.metrics)}"
    raise SettingsError(f"--metric {metric[:60]}: there is no such held-out metric; {hint}")


class SweepFolder:
    """The state of one sweep on this machine; it need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.path.name

    @property
    def runs_dir(self) -> Path:
        """Where its runs are."""
        return self.path.parent.parent

    @property
    def log_path(self) -> Path:
        """Optuna's journal."""
        return self.path / "optuna.log"

    @property
    def locks_path(self) -> Path:
        """The folder of its locks."""
        return self.path / "locks"

    @property
    def spec(self) -> SweepSpec:
        """What it was started with, every value checked. Raises `SweepError`."""
        path = self.path / "sweep.json"
        try:
            with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
                data = file.read(SPEC_LIMIT + 1)
        except OSError as error:
            raise SweepError(f"cannot read {path}: {error.strerror or error}") from None
        spec = decode(data, str(path))
        if spec.name != self.name:
            raise SweepError(f"{path} describes a sweep called {spec.name!r}; a sweep's folder cannot be renamed")
        return spec


def decode(data: bytes | str, source: str) -> SweepSpec:
    """A `SweepSpec` from JSON, every value checked as if it had been typed. Raises `SweepError`."""
    if len(data) > SPEC_LIMIT:
        raise SweepError(f"{source} is larger than {SPEC_LIMIT:,} bytes")
    try:
        spec = msgspec.json.decode(data, type=SweepSpec)
        directory.check_name(spec.run_name(spec.trials))
        settings = to_dict(spec.card.settings()) | spec.settings
        direction(spec.card.of(check_together(spec.card, spec.space, settings)), spec.metric)
    except (msgspec.DecodeError, RecursionError, RunNameError, SettingsError) as error:
        raise SweepError(f"{source} is not a sweep's description: {error}") from None
    return msgspec.structs.replace(spec, settings=settings)


def names(runs_dir: Path) -> list[str]:
    """Of every sweep whose state is on this machine."""
    try:
        return sorted((path.parent.name for path in sweeps_dir(runs_dir).glob("[!.]*/sweep.json")), key=directory.natural)
    except OSError:
        return []


def find(runs_dir: Path, name: str) -> SweepFolder:
    """The sweep called `name`. Raises `RunNameError` with the nearest name."""
    directory.check_name(name)
    folder = SweepFolder(sweeps_dir(runs_dir) / name)
    if folder.path.is_symlink():
        raise RunNameError(f"{folder.path} is a link, and links are not followed")
    if not (folder.path / "sweep.json").is_file():
        known = names(runs_dir)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}" if known else "there are none yet"
        raise RunNameError(f"there is no sweep {name!r} in {runs_dir}; {hint}")
    return folder


def readable(runs_dir: Path, name: str) -> SweepSpec | None:
    """What a sweep was started with; None where its description is damaged."""
    try:
        return find(runs_dir, name).spec
    except (RunNameError, SweepError):
        return None


def remove(runs_dir: Path, name: str) -> None:
    """Delete a sweep's state on this machine; its runs stay. Raises `OSError`."""
    gone = Path(tempfile.mkdtemp(prefix=f".gone-{os.getpid()}-", dir=sweeps_dir(runs_dir)))
    (sweeps_dir(runs_dir) / name).rename(gone)  # atomic, since that is empty
    shutil.rmtree(gone)


def free_name(runs_dir: Path, architecture: str) -> str:
    """`ARCHITECTURE-sweep-1`, `-2` and so on: the first that nothing has."""
    taken = {*names(runs_dir), *(name.rpartition("-")[0] for name in directory.names(runs_dir))}
    return next(name for number in itertools.count(1) if (name := f"{architecture}-sweep-{number}") not in taken)


def check_free(runs_dir: Path, name: str, trials: int) -> None:
    """Raises `RunNameError` unless a sweep of so many trials can have this name."""
    directory.check_name(name)
    directory.check_name(f"{name}-{trials}")
    if name.startswith("-"):
        raise RunNameError(f"{name[:80]!r} cannot be a sweep's name; it would be read as a flag")
    if name in names(runs_dir):
        raise RunNameError(f"there is a sweep {name!r} already; go on with it: dlplay sweep resume {name}, or choose another name")
    groups = directory.groups(runs_dir)
    if (runs_dir / name).exists() or name in groups:
        raise RunNameError(f"there is a run or a group {name!r} already; choose another name, or remove it: dlplay rm {name}")
    wanted = {f"{name}-{number + 1}" for number in range(trials)}
    directory.check_no_group(groups, *wanted)
    if taken := [run for run in directory.names(runs_dir) if run in wanted]:
        raise RunNameError(f"there is a run {taken[0]!r} already, as one of this sweep would be called; choose another name")


@contextlib.contextmanager
def staged(runs_dir: Path, spec: SweepSpec) -> Iterator[SweepFolder]:
    """A hidden folder (mode 0700) with the description of a new sweep, which appears under its name, complete, when the block ends without
    an error. Raises `RunNameError` when another has come to have that name."""
    parent = sweeps_dir(runs_dir)
    directory.clean(parent)
    with drafted(parent, "sweep.json", msgspec.json.encode(spec)) as draft:
        folder = SweepFolder(draft)
        folder.locks_path.mkdir(mode=0o700)
        yield folder
        try:
            draft.rename(parent / spec.name)
        except OSError:
            if not (parent / spec.name).exists():
                raise
            raise RunNameError(f"there is a sweep {spec.name!r} already; choose another name") from None
