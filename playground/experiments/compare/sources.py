"""From what was typed to what is compared: runs, patterns, groups, checkpoint folders, shipped models, files."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlplay import architectures
from dlplay.checkpoints.shipped import shipped
from dlplay.checkpoints.store import META, read_record
from dlplay.engine.card import Card
from dlplay.engine.events import named_as_today
from dlplay.engine.paths import expanded
from dlplay.engine.settings import SettingsError
from dlplay.experiments.compare import files
from dlplay.experiments.compare.member import Kind, Measured, Member, Source
from dlplay.runs import changes, directory
from dlplay.runs.directory import RunDirectory, RunNameError, SpecError
from dlplay.runs.history import History, Series
from dlplay.runs.journal import JournalReader

MOST = 100
"""Trainings that are compared at once."""
PART = 4 << 20
"""Bytes of a journal that are read at a time."""


@dataclasses.dataclass(frozen=True)
class Found:
    """The sources, and what a person should know of them."""

    sources: list[Source]
    notes: list[str]


def find(words: Sequence[str], imported: Sequence[Path], runs_dir: Path, names: Mapping[str, str] | None = None) -> Found:
    """What the words and the imported files name, each once, in this order; `names` gives metrics of files another name.

    A run that cannot be read, or that somebody deletes meanwhile, is left out and noted. Raises `SettingsError`, `RunNameError` or
    `CheckpointError` for what does not exist, and when nothing is left.
    """
    runs = directory.names(runs_dir)
    groups = directory.groups(runs_dir)
    notes: list[str] = []
    found: dict[str, Source] = {}
    for word in words:
        for source in _named(word, runs_dir, runs, groups, notes):
            found.setdefault(source.name, source)
    read = [member for path in imported for member in files.read(path, names or {}, notes)]
    _check_renamed(names or {}, read)
    for member in read:
        name, number = member.name, 2
        while name in found:
            name, number = f"{member.name}-{number}", number + 1
        found[name] = Source(name, (dataclasses.replace(member, name=name),))
    if not found:
        raise SettingsError("; ".join(notes) or "name what to compare: runs, groups, shipped models, or files with --from")
    if (count := sum(len(source.members) for source in found.values())) > MOST:
        raise SettingsError(f"{count} trainings are too many for one chart; name at most {MOST}")
    return Found(list(found.values()), notes)


def _check_renamed(names: Mapping[str, str], read: Sequence[Member]) -> None:
    """Raises `SettingsError` for a metric to be renamed that no file has."""
    known = {files.TIMES, files.EXAMPLES, *(name for member in read for name in member.curves)}
    for old, new in names.items():
        if not read:
            raise SettingsError(f"--rename {old[:60]}={new[:60]}: there is no file to rename a metric of; name one with --from")
        if new not in known:
            near = difflib.get_close_matches(old, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known)[:12])}"
            raise SettingsError(f"--rename {old[:60]}={new[:60]}: no file has a metric {old[:60]}; {hint}")


def _named(word: str, runs_dir: Path, runs: Sequence[str], groups: Mapping[str, list[str]], notes: list[str]) -> list[Source]:
    """The sources that a word names, those that cannot be read left out and noted."""
    if word in runs:
        return _single(word, runs_dir, notes)
    if word in groups:
        return _group(word, groups[word], runs_dir, notes)
    if word in (known := shipped()):
        return [_source(_checkpoint(known[word].path, word, "shipped"))]
    if "/" in word or word in (".", ".."):
        return _folder(expanded(word), runs_dir, notes)
    if any(character in word for character in "*?["):
        return _pattern(word, runs_dir, runs, groups, notes)
    near = difflib.get_close_matches(word, [*runs, *groups, *known], n=1)
    if near and near[0] not in runs:
        kind = "group" if near[0] in groups else "shipped model"
        raise SettingsError(f"there is no run, group or shipped model {word[:80]!r}; did you mean the {kind} {near[0]}?")
    directory.find(runs_dir, word)  # raises, with the nearest name
    return _single(word, runs_dir, notes)


def _pattern(word: str, runs_dir: Path, runs: Sequence[str], groups: Mapping[str, list[str]], notes: list[str]) -> list[Source]:
    """Runs and groups that match; a run whose group matches as well is a part of that."""
    matching = [group for group in groups if fnmatch.fnmatchcase(group, word)]
    within = {name for group in matching for name in groups[group]}
    singles = [name for name in runs if name not in within and fnmatch.fnmatchcase(name, word)]
    if not matching and not singles:
        raise SettingsError(f"no run or group matches {word[:80]!r}; there are {', '.join(runs[:20]) or 'none yet'}")
    found = [_group(group, groups[group], runs_dir, notes) for group in matching] + [_single(name, runs_dir, notes) for name in singles]
    return [source for sources in found for source in sources]


def _single(name: str, runs_dir: Path, notes: list[str]) -> list[Source]:
    member = _member(name, runs_dir, notes)
    return [_source(member)] if member else []


def _group(name: str, runs: Sequence[str], runs_dir: Path, notes: list[str]) -> list[Source]:
    members = [member for run in runs if (member := _member(run, runs_dir, notes))]
    return [Source(name, tuple(members), group=True)] if members else []


def _member(name: str, runs_dir: Path, notes: list[str]) -> Member | None:
    """The run of that name; None, noted, when somebody deleted it meanwhile, or it is another user's."""
    try:
        return _run(directory.find(runs_dir, name), notes)
    except RunNameError as error:
        notes.append(f"{name} was deleted meanwhile" if not (runs_dir / name).exists() else str(error))
        return None


def _source(member: Member) -> Source:
    return Source(member.name, (member,))


def _folder(path: Path, runs_dir: Path, notes: list[str]) -> list[Source]:
    """A checkpoint, or a run's folder or that of its checkpoints; a run that lies elsewhere has the name of its folder."""
    folder = path.absolute().parent if path.name == "checkpoints" else path.absolute()
    if (folder / "run.json").is_file():
        member = _run(RunDirectory(folder), notes)
        if member and folder.parent != runs_dir:
            member = dataclasses.replace(member, name=str(path))
        return [_source(member)] if member else []
    if not (path / META).is_file():
        found = "is neither a run nor a checkpoint" if path.exists() else "does not exist"
        raise SettingsError(f"{str(path)[:300]} {found}; CSV files and TensorBoard's folders are named with --from")
    return [_source(_checkpoint(path, str(path), "checkpoint"))]


def _checkpoint(path: Path, name: str, kind: Any) -> Member:
    """What a checkpoint says of itself: its last evaluation is one point of each curve."""
    record = read_record(path)
    meta = record.meta
    settings, progress = meta.get("settings"), meta.get("progress")
    values = {str(key): value for key, value in _table(meta.get("metrics")).items() if isinstance(value, (int, float))}
    architecture = str(meta.get("architecture", ""))
    settings = _table(settings)
    seconds = _table(progress).get("seconds")
    at = np.array([record.step], np.float64)
    return Member(
        name=name,
        kind=kind,
        curves={key: Measured("held_out", at, np.array([value], np.float64)) for key, value in values.items()},
        card=_card(architecture, settings),
        architecture=architecture,
        settings=settings,
        data=str(meta.get("data", "")),
        step=record.step,
        seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        baselines=_baselines(meta.get("baselines")),
        clock=(at, np.array([seconds], np.float64)) if isinstance(seconds, (int, float)) else None,
        batches=_batches(_card(architecture, settings), settings, History()),
    )


def _run(run: RunDirectory, notes: list[str]) -> Member | None:
    """A run as its journal has it by now; None, noted, when it cannot be read."""
    try:
        spec = run.spec
    except SpecError as error:
        notes.append(f"{run.name} is left out: {error}")
        return None
    card = _card(spec.architecture, spec.settings)
    history = History(card.metric, card.better) if card else History()
    reader = JournalReader(run.journal_path)
    try:
        for events in reader.parts(PART):
            history.add(events)
        summary = directory.summary(run)
    except OSError as error:
        notes.append(f"{run.name} is left out: {error.strerror or error}")
        return None
    if reader.damaged:
        notes.append(f"{run.name}: {reader.damaged:,} damaged lines of its journal were skipped")
    curves = {name: _measured("training", series) for name, series in history.training.items() if len(series)}
    curves |= {name: _measured("held_out", series) for name, series in history.held_out.items() if len(series)}
    settings = history.trained_settings or dict(spec.settings)
    return Member(
        name=run.name,
        kind="run",
        curves=curves,
        card=card,
        architecture=spec.architecture,
        settings=settings,
        changed=changes.told(spec.settings, settings),
        data=history.started.data if history.started else "",
        state=summary.state,
        step=history.step,
        seconds=history.seconds,
        baselines=history.baselines,
        clock=(history.clock.x.copy(), history.clock.y.copy()),
        batches=_batches(card, spec.settings, history),
    )


def _measured(kind: Kind, series: Series) -> Measured:
    return Measured(kind, series.x.copy(), series.y.copy())


def _card(architecture: str, settings: Mapping[str, Any]) -> Card | None:
    card = architectures.cards().get(architecture)
    return card.of(settings) if card else None


def _batches(card: Card | None, settings: Mapping[str, Any], history: History) -> tuple[tuple[int, int], ...]:
    """From which step on a step takes how many examples."""
    if card is None:
        return ()
    if not card.batch:
        return ((0, 1),)
    changes = [(change.step, change.value) for change in history.changes if change.what == card.batch]
    times = int(settings.get("accumulate", 1))
    return tuple((step, times * size) for step, size in ((0, settings.get(card.batch)), *changes) if isinstance(size, int))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _baselines(value: Any) -> dict[str, dict[str, float]]:
    """Baselines of a file that may hold anything."""
    tables = {str(metric): _table(methods) for metric, methods in _table(value).items()}
    return named_as_today(
        {m: {str(k): float(v) for k, v in methods.items() if isinstance(v, (int, float))} for m, methods in tables.items()}
    )
