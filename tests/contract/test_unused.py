"""What a room declares unused changes nothing, to the bit; and what it does not declare changes something."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine.card import Card
from dlplay.engine.device import prepare
from dlplay.engine.errors import DataError
from dlplay.engine.settings import COMMON, Field, Settings, SettingsError, fields, make, to_dict
from dlplay.engine.task import looking
from tests.conftest import Small
from tests.rooms import facts

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = architectures.cards()
LONGEST = 60
"""Steps in which everything that a card draws has been measured, or is not waited for any longer."""
OF_GROUPS = ("seed", "jobs", "per_gpu")
"""They are unused beside `seeds` or without it, which `tests/test_seeds.py` is about."""

Cases = list[dict[str, Any]]


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


@pytest.fixture
def cases(card: Card, small: Small, own_words: Path, tmp_path: Path) -> Cases:
    """Small settings, and with those of the room's cases."""
    words = own_words.read_text().split()
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{' '.join(words[at : at + 6])}\t{words[at // 6 % 3]}\n" for at in range(0, 1200, 6)))
    plain = small(card.name) | {"device": "cpu", "steps": 100}
    filled = [{name: str(pairs) if value == "{pairs}" else value for name, value in case.items()} for case in facts(card.name).cases]
    return [plain, *(plain | case for case in filled)]


def usable(card: Card, values: Mapping[str, Any]) -> Settings | None:
    try:
        return make(card.settings, values)
    except SettingsError:
        return None


def switches(card: Card) -> Iterator[list[tuple[str, Any]]]:
    """The words of each setting that has a few, and its false and true."""
    for item in fields(card.settings):
        if item.name not in COMMON and (item.kind == "bool" or (item.choices and not item.path and not item.module)):
            yield [(item.name, word) for word in (item.choices or (False, True))]


def configurations(card: Card, cases: Cases) -> Iterator[tuple[bool, dict[str, Any]]]:
    """The cases, each with no switch, one, or two of them turned; and whether it differs in two ways from the first."""
    for case in cases:
        yield False, case
        for turned in switches(card):
            yield from ((case is not cases[0], case | {name: value}) for name, value in turned)
        for one, other in itertools.combinations(switches(card), 2):
            yield from ((True, case | dict(pair)) for pair in itertools.product(one, other))


def others(item: Field, value: Any) -> list[Any]:
    """Other values of a setting, the furthest first."""
    if item.kind == "bool":
        return [not value]
    if item.choices and not item.path:
        return [word for word in item.choices if word != value]
    if item.kind == "ints":
        return [(7,), (7, 5)]
    if item.kind == "text":
        return [text for text in ("1", *item.choices) if text != value]
    smallest = 1 if item.kind == "int" else 1e-6
    high = None if item.high is None else item.high - (smallest if item.open_high else 0)
    low = None if item.low is None else item.low + (smallest if item.open_low else 0)
    return [other for other in (high, low) if other is not None and other != value]


def nearby(item: Field, value: Any) -> list[Any]:
    """Other values of a setting with which a small model stays small."""
    if item.kind in ("int", "float"):
        return [2 * value, value + 1, value + 2, value / 2, value - 1, 0.5, item.low]
    return others(item, value)


def trained(card: Card, settings: Settings) -> list[Any]:
    """Everything that a short training measures, and the weights that it ends with."""
    torch.manual_seed(settings.seed)
    task = card.load_task()(settings, prepare(settings), None)
    charts = [chart for chart in card.charts if chart.when is None or chart.when(to_dict(settings))]
    wanted = {name for chart in charts for name in chart.train}
    found: list[Any] = []
    while task.step < 3 or (wanted and task.step < LONGEST):
        metrics = task.train_step()
        task.step += 1
        wanted -= metrics.keys()
        found.append({name: value.item() for name, value in metrics.items()})
    with looking(task):
        found.append(task.evaluate())
    return [*found, {name: value.tolist() for name, value in task.weights().items()}]


def changed(card: Card, settings: Settings, names: Mapping[str, str]) -> Settings:
    """Other values for these, all at once, where any is accepted."""
    for item in fields(card.settings):
        if item.name in names and item.name not in OF_GROUPS:
            found = (usable(card, to_dict(settings) | {item.name: value}) for value in others(item, getattr(settings, item.name)))
            settings = next((other for other in found if other is not None), settings)
    return settings


@pytest.mark.parametrize(
    ("card", "two"),
    [
        *(pytest.param(name, False, marks=[] if name == "convnet" else pytest.mark.slow, id=f"{name}-one-switch") for name in CARDS),
        *(pytest.param(name, True, marks=pytest.mark.long, id=f"{name}-two-switches") for name in CARDS),
    ],
    indirect=["card"],
)
def test_what_is_declared_unused_changes_nothing(card: Card, cases: Cases, two: bool) -> None:
    """All that are unused together, with each switch turned by itself (slow), and with every two of them (long)."""
    wanted: set[tuple[str, str]] = set()
    shown: set[tuple[str, str]] = set()
    tried: set[frozenset[str]] = set()
    for both, values in configurations(card, cases):
        settings = usable(card, values)
        if settings is None:
            continue
        assert set(settings.unused()) <= {item.name for item in fields(card.settings)}
        unused = {(name, use) for name, use in settings.unused().items() if name not in OF_GROUPS}
        wanted |= unused
        names = frozenset(name for name, _ in unused)
        if both and (names in tried if two else unused <= shown):
            continue
        other = changed(card, settings, settings.unused())
        assert settings.unused() == other.unused()
        try:
            before = trained(card, settings)
        except (DataError, SettingsError):  # only the data know that it cannot be built
            continue
        assert before == trained(card, other), f"{values}: one of {', '.join(names)} changes something"
        shown |= unused
        tried.add(names)
    assert wanted == shown, "no configuration of these can be built here: add one to RoomFacts.cases"


@pytest.mark.slow
def test_what_is_not_declared_unused_changes_something(card: Card, cases: Cases) -> None:
    """Of the room's own settings, those that name no file and no code."""
    left: list[str] = []
    settings = make(card.settings, cases[0])
    before = trained(card, settings)
    for item in fields(card.settings):
        if item.name in settings.unused() or item.name in COMMON or item.code or item.path:
            continue
        found = (usable(card, to_dict(settings) | {item.name: value}) for value in nearby(item, getattr(settings, item.name)))
        different = False
        for other in found:
            if other is None:
                continue
            try:
                different = trained(card, dataclasses.replace(other)) != before
            except (DataError, SettingsError):
                continue
            if different:
                break
        left += [] if different else [item.name]
    assert sorted(left) == sorted(facts(card.name).idle)
