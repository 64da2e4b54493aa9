"""The search space: which settings are searched, and over which values."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlplay.engine.card import Card
from dlplay.engine.settings import Field, SettingsError, code, field, make, parse, show

if TYPE_CHECKING:
    from optuna import Trial

MOST_VALUES = 1_000
"""Values that may be listed for one setting."""
MOST_TRIALS = 100_000
"""Trials of a sweep, and so combinations of a grid."""
MOST_CORNERS = 256
"""Combinations of lowest and highest values that are tried before the first trial."""


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One setting that is searched: from `low` to `high`, or among `choices`."""

    field: Field
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    """Drawn evenly on a logarithmic scale."""
    choices: tuple[Any, ...] = ()
    """Empty for a range."""

    @property
    def name(self) -> str:
        """Of the setting."""
        return self.field.name

    @property
    def values(self) -> tuple[Any, ...]:
        """All its values; none for a range of floating-point numbers."""
        if self.choices or self.field.kind == "float":
            return self.choices
        return tuple(range(int(self.low), int(self.high) + 1))

    @property
    def ends(self) -> tuple[Any, Any]:
        """Its first and its last value."""
        return (self.choices[0], self.choices[-1]) if self.choices else (self.low, self.high)

    def suggest(self, trial: Trial) -> Any:
        """The value of this trial: the one that it has, or else one that Optuna's sampler draws and the storage keeps."""
        if self.choices:
            named = {stored(value): value for value in self.choices}
            return named[trial.suggest_categorical(self.name, list(named))]
        if self.field.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def value(self, kept: Any) -> Any:
        """What Optuna keeps of a value, as the setting's own type."""
        return parse(self.field, kept)


def stored(value: Any) -> Any:
    """A value as Optuna can keep it among choices: it takes no tuples."""
    return show(value) if isinstance(value, tuple) else value


def parse_search(card: Card, texts: Sequence[str]) -> tuple[Dimension, ...]:
    """`lr=1e-4..1e-1:log`, `depth=1..4` and `width=32,64,128` as dimensions, every value checked. Raises `SettingsError`."""
    if not texts:
        raise SettingsError("there is nothing to search; add --search, such as --search lr=1e-4..1e-1:log")
    found: dict[str, Dimension] = {}
    for text in texts:
        try:
            dimension = _dimension(card, text)
        except SettingsError as error:
            raise SettingsError(f"--search {text[:60]}: {error}", error.field) from None
        if dimension.name in found:
            raise SettingsError(f"--search {text[:60]}: {dimension.name} is searched already; give all its values at once", dimension.name)
        found[dimension.name] = dimension
    return tuple(found.values())


def _dimension(card: Card, text: str) -> Dimension:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise SettingsError("write a range as in lr=1e-4..1e-1:log, or values as in width=32,64,128")
    item = field(card.settings, name)
    if item.name in ("seeds", "jobs", "per_gpu"):
        raise SettingsError(f"{item.name} is no setting of a single run, and a trial is one", item.name)
    if item.kind in ("int", "float") and ".." in values:
        return _range(item, values)
    words = values.split("/" if item.kind == "ints" else ",")
    choices = tuple(parse(item, word) for word in words)
    if named := next((value for value in choices if code(card.settings, {item.name: value})), None):
        raise SettingsError(f"{show(named)} names code to import, which no search can choose", item.name)
    if not 2 <= len(choices) <= MOST_VALUES:
        parted = "slashes: 16,32/32,64" if item.kind == "ints" else "commas"
        raise SettingsError(f"give 2 to {MOST_VALUES:,} values, parted by {parted}; there are {len(choices)}", item.name)
    if len(set(choices)) < len(choices):
        raise SettingsError("a value stands there twice", item.name)
    return Dimension(item, choices=choices)


def _range(item: Field, values: str) -> Dimension:
    bounds, colon, scale = values.partition(":")
    low, high = (parse(item, word) for word in bounds.split("..", 1))
    if colon and scale != "log":
        raise SettingsError(f"{scale[:20]!r} is no scale; the only one is log", item.name)
    if low >= high:
        raise SettingsError(f"a range goes from the lower to the higher number, and {show(low)} is not below {show(high)}", item.name)
    if colon and low <= 0:
        raise SettingsError(f"a logarithmic scale begins above 0, not at {show(low)}", item.name)
    return Dimension(item, low=low, high=high, log=bool(colon))


def combinations(space: Sequence[Dimension]) -> int:
    """How many combinations of values there are. Raises `SettingsError` for a range that has no end of them, and for too many."""
    for dimension in space:
        if not dimension.values:
            raise SettingsError(f"--sampler grid needs values, such as {dimension.name}=0.001,0.01; {dimension.name} is a range of numbers")
    if (count := math.prod(len(dimension.values) for dimension in space)) > MOST_TRIALS:
        raise SettingsError(f"--sampler grid: there are {count:,} combinations, more than {MOST_TRIALS:,}; give fewer values")
    return count


def points(space: Sequence[Dimension], seed: int) -> list[dict[str, Any]]:
    """Every combination of the values, in an order drawn from the seed. Raises as `combinations` does."""
    combinations(space)
    found = [dict(zip([d.name for d in space], values, strict=True)) for values in itertools.product(*(d.values for d in space))]
    random.Random(seed).shuffle(found)
    return found


def check_together(card: Card, space: Sequence[Dimension], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """One combination of lowest and highest values that can be used together with the fixed settings. Raises `SettingsError` when none can;
    a trial whose combination cannot be used fails in the same words."""
    problem: SettingsError | None = None
    for values in itertools.islice(itertools.product(*(dimension.ends for dimension in space)), MOST_CORNERS):
        point = {**fixed, **{d.name: value for d, value in zip(space, values, strict=True)}}
        try:
            make(card.settings, point)
        except SettingsError as error:
            problem = problem or error
        else:
            return point
    assert problem is not None
    raise problem
