"""The lessons that there are, read from their rooms' folders and checked against their cards."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dlplay import architectures
from dlplay.checkpoints import shipped
from dlplay.engine.card import Card
from dlplay.engine.errors import nearest
from dlplay.engine.settings import Settings, SettingsError, fields, make
from dlplay.lessons import condition
from dlplay.lessons.condition import Condition, Quantity
from dlplay.lessons.lesson import Lesson, Show, Step

SUFFIX = ".toml"
LIMIT = 65_536
"""Bytes of a lesson."""
FEW = 3
"""Sentences of a step."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class LessonError(SettingsError):
    """A lesson that cannot be used: the words name it, the value and the way out."""


def folder(card: Card) -> Path:
    """Where a room's lessons lie: `lessons` beside the module of its task, found without importing that."""
    package = importlib.util.find_spec(card.task.partition(":")[0].rpartition(".")[0])
    return Path(package.origin if package is not None and package.origin else ".").parent / "lessons"


def of_room(card: Card) -> list[Lesson]:
    """A room's lessons in their order. Raises `LessonError`."""
    paths = sorted(folder(card).glob(f"*{SUFFIX}"))
    return sorted((read(path, card) for path in paths), key=lambda lesson: (lesson.order, lesson.name))


def all_lessons() -> list[Lesson]:
    """Those of all rooms, in their order. Raises `LessonError`."""
    found = [lesson for card in architectures.cards().values() for lesson in of_room(card)]
    by_name: dict[str, Lesson] = {}
    for lesson in found:
        if (other := by_name.setdefault(lesson.name, lesson)) is not lesson:
            raise LessonError(f"two lessons have the name {lesson.name} ({other.room} and {lesson.room}); give one another name")
    return sorted(found, key=lambda lesson: (lesson.order, lesson.name))


def named(name: str) -> Lesson:
    """The lesson of that name. Raises `LessonError` with the nearest one."""
    by_name = {lesson.name: lesson for lesson in all_lessons()}
    if name in by_name:
        return by_name[name]
    raise LessonError(f"there is no lesson {name[:60]!r} (dlplay learn lists them); {nearest(name, by_name)}")


def read(path: Path, card: Card) -> Lesson:
    """A lesson of this card's room, checked. Raises `LessonError`."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise LessonError(f"the lesson {path} cannot be read: {error.strerror or error}") from None
    if len(data) > LIMIT:
        raise LessonError(f"the lesson {path} is larger than {LIMIT:,} bytes")
    return parse(data, path.stem, card)


def parse(data: bytes, name: str, card: Card) -> Lesson:
    """The lesson that these bytes are, checked against the card. Raises `LessonError`."""
    if not _NAME.fullmatch(name):
        raise LessonError(f"a lesson cannot be called {name[:60]!r}; use 1 to 40 of a-z 0-9 - from a letter on")
    try:
        lesson = msgspec.toml.decode(data, type=Lesson)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise LessonError(f"lesson {name}: {error}") from None
    lesson = msgspec.structs.replace(lesson, name=name, room=card.name)
    try:
        check(lesson)
    except SettingsError as error:
        raise LessonError(f"lesson {name}: {error}") from None
    return lesson


def settings_of(lesson: Lesson, run: str, seed: int = 0) -> Settings:
    """The settings of one of its runs. Raises `SettingsError`."""
    planned = lesson.runs[run]
    card = architectures.card(lesson.room_of(run))
    if planned.preset and planned.preset not in card.presets:
        raise SettingsError(f"{card.name} has no preset {planned.preset[:60]!r}; {nearest(planned.preset, card.presets)}")
    values: dict[str, Any] = dict(card.presets[planned.preset].values) if planned.preset else {}
    return make(card.settings, values | planned.settings | {"seed": seed})


def seeds_of(lesson: Lesson, run: str, seed: int) -> list[int]:
    """The seeds with which one of its runs is trained where the lesson is played with `seed`; lessons of other seeds share none."""
    count = lesson.runs[run].seeds
    return list(range(count * seed, count * (seed + 1)))


def conditions(step: Step) -> list[Condition]:
    """The conditions of a step's claims, which were checked."""
    return [condition.parse(claim.holds) for claim in step.claims]


def resolved(lesson: Lesson, quantity: Quantity) -> Quantity:
    """With the run's name, where a lesson with one run leaves it out; what was read from a panel has none."""
    if quantity.run or quantity.metric in _reads(lesson.steps) or len(lesson.runs) != 1:
        return quantity
    (run,) = lesson.runs
    return Quantity(run, quantity.metric, quantity.baseline, quantity.of_seeds)


# --- checking -----------------------------------------------------------------------------------------------------------------------


def check(lesson: Lesson) -> None:
    """Raises `SettingsError` for what does not fit the cards: names of settings, panels, actions, metrics, runs; questions; claims."""
    for name, run in lesson.runs.items():
        if "seed" in run.settings or "seeds" in run.settings:
            raise SettingsError(f"runs.{name}: whoever plays the lesson chooses the seed; leave it out, or say seeds = 8 beside settings")
        try:
            settings_of(lesson, name)
        except SettingsError as error:
            raise SettingsError(f"runs.{name}: {error}") from None
    for number, step in enumerate(lesson.steps, start=1):
        try:
            _check_step(lesson, number - 1)
        except (SettingsError, condition.ConditionError) as error:
            raise SettingsError(f"step {number}: {error}") from None
        if len(sentences := re.findall(r"[.?!…](?=\s|$)", step.text)) > FEW:
            raise SettingsError(f"step {number}: its text has {len(sentences)} sentences; use {FEW} at most")
    for name in lesson.runs:
        if not any(step.train == name for step in lesson.steps):
            raise SettingsError(f"runs.{name}: no step trains it; add one with train = {name!r}, or leave it out")


def _check_step(lesson: Lesson, at: int) -> None:
    step = lesson.steps[at]
    card = architectures.card(lesson.room_at(at))
    if len(step.does) > 1:
        raise SettingsError(f"it does several things ({', '.join(step.does)}); make a step of each")
    if step.question is not None and step.question.answer > len(step.question.choices):
        raise SettingsError(f"answer = {step.question.answer}, of {len(step.question.choices)} choices; count from 1")
    for run in (step.train, *step.overlay):
        if run and run not in lesson.runs:
            raise SettingsError(f"there is no run {run[:60]!r} in this lesson; {nearest(run, lesson.runs)}")
    trained = {earlier.train for earlier in lesson.steps[: at + 1] if earlier.train}
    for run in step.overlay:
        if run not in trained:
            raise SettingsError(f"overlay: {run} is trained later; put the step behind that")
    if step.set:
        make(card.settings, step.set)
    if step.act is not None and step.act.action not in {action.name for action in card.actions}:
        raise SettingsError(_unknown("action", step.act.action, card, (action.name for action in card.actions)))
    if step.show is not None:
        _check_show(lesson, step.show, card, trained)
    if step.find_lr and card.no_range_test:
        raise SettingsError(f"find_lr: {card.name} has no range test: {card.no_range_test}")
    for one in conditions(step):
        for quantity in one.quantities:
            _check_quantity(lesson, resolved(lesson, quantity), one, trained, _reads(lesson.steps[: at + 1]))


def _unknown(kind: str, name: str, card: Card, known: Iterable[str]) -> str:
    words = list(known)
    return f"{card.name} has no {kind} {name[:60]!r}; " + (nearest(name, words) if words else "it has none")


def _check_show(lesson: Lesson, show: Show, card: Card, trained: set[str]) -> None:
    if show.model and show.model not in trained:
        if show.model in lesson.runs:
            raise SettingsError(f"show: {show.model} is trained later; put the step behind that")
        item = shipped.shipped().get(show.model)
        if item is None or item.architecture != card.name:
            models = [name for name, item in shipped.shipped().items() if item.architecture == card.name]
            raise SettingsError(_unknown("run or model", show.model, card, [*lesson.runs, *models]))
    if show.panel not in {panel.name for panel in card.panels}:
        raise SettingsError(_unknown("panel", show.panel, card, (panel.name for panel in card.panels)))
    options = card.panel(show.panel).options
    known = [item.name for item in fields(options)]
    if unknown := set(show.options) - set(known):
        choice = nearest(min(unknown), known) if known else "it has none"
        raise SettingsError(f"the panel {show.panel} has no option {min(unknown)[:60]!r}; {choice}")
    make(options, show.options)


def _check_quantity(lesson: Lesson, quantity: Quantity, one: Condition, trained: set[str], read: Mapping[str, str]) -> None:
    if not quantity.run:
        if quantity.metric not in read:
            words = f"; read from panels so far: {', '.join(read)}" if read else ""
            runs = f"write RUN.{quantity.metric}, with RUN one of {', '.join(lesson.runs)}" if lesson.runs else "the lesson has no run"
            raise SettingsError(f"{one.text!r}: whose {quantity.metric}? {runs}{words}")
        return
    if quantity.run not in trained:
        known = nearest(quantity.run, trained) if trained else "no step before trains any"
        raise SettingsError(f"{one.text!r}: there is no run {quantity.run!r} so far; {known}")
    room = architectures.card(lesson.room_of(quantity.run))
    card = room.of(lesson.runs[quantity.run].settings)
    metrics = {*card.metrics, *(name for chart in card.all_charts for name in (*chart.train, *chart.held_out))}
    if quantity.metric not in metrics:
        raise SettingsError(f"{one.text!r}: {_unknown('metric', quantity.metric, card, sorted(metrics))}")
    steps = settings_of(lesson, quantity.run).steps
    if one.after is not None and one.after > steps:
        raise SettingsError(f"{one.text!r}: {quantity.run} ends after {steps} steps; use after {steps} steps at most")


def _reads(steps: Iterable[Step]) -> dict[str, str]:
    return {name: step.show.panel for step in steps if step.show is not None for name in step.show.reads}
