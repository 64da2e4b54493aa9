"""What the contract's tests are told of a room by its own tests. A room that says nothing is tested with its default settings."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from dlplay.engine.panels import AnyPanel


@dataclasses.dataclass(frozen=True)
class Gate:
    """A target that the slow suite trains for."""

    bound: float
    """What the mean of the card's metric must reach over the seeds."""
    seeds: int = 1
    """Seeds from 0 on."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preset: str = ""
    beaten_by: Sequence[str] = ()
    """Baselines that are better, as the room's notes say; a loss must be below all others."""


@dataclasses.dataclass(frozen=True)
class RoomFacts:
    """`facts = RoomFacts(…)` in `tests/architectures/NAME.py`."""

    small: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings with which it trains hundreds of steps a second. `{text}` is the path of a text of 3,000 words."""
    easy: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)
    """Settings with which it overfits one batch; None where the loss is no distance to a fixed target (two players, a moving target)."""
    cases: Sequence[Mapping[str, Any]] = ()
    """Settings beside those, under which further ones are unused. `{pairs}` is the path of a file with a text, a tab and a word a line."""
    idle: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Settings that are used and still change none of the few steps of the contract's test, each with the reason."""
    gates: Sequence[Gate] = ()
    pictured: Mapping[str, AnyPanel] = dataclasses.field(default_factory=dict)
    """Panels for the snapshots of its tab; without them there is none."""
    waits_for: str = ""
    """Words that are on the wide snapshot once those panels are."""
    pictured_small: bool = False
    """Whether there is a snapshot of its stage in a window of 80x24 as well."""
    inspects: str = ""
    """Words on the page Inspect of such a window; without them it is not pictured."""


def facts(name: str) -> RoomFacts:
    """The facts of the room called `name`, as on the command line."""
    if not has_facts(name):
        return RoomFacts()
    found: RoomFacts = importlib.import_module(_module(name)).facts
    return found


def has_facts(name: str) -> bool:
    """Whether there are any: a room of one's own has none."""
    return importlib.util.find_spec(_module(name)) is not None


def _module(name: str) -> str:
    return f"tests.architectures.{name.replace('-', '_')}"
