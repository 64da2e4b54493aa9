"""What the questions about a recurrent net can be put with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Options
from dlplay.parts.prompt_options import NextWord, Passage, Prompt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit(Options):
    """One unit, and whether it is held fast."""

    layer: Annotated[int, Meta(ge=0, le=7)] = 0
    """Which recurrent layer, counted from 0; beyond the last one the last is meant."""

    unit: Annotated[int, Meta(ge=0, le=2047)] = 0
    """Which unit of it, counted from 0; beyond the last one the last is meant."""

    hold: Literal["free", "silent", "clamped"] = "free"
    """What is done with that unit in all that is shown: nothing, its hidden value held at 0, or held at hold_at."""

    hold_at: Annotated[float, Meta(ge=-1, le=1)] = 1.0
    """The value at which a clamped unit is held."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextToken(NextWord, Unit):
    """Options of the next token's candidates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continued(Passage, Unit):
    """Options of a passage."""

    words: Annotated[int, Meta(ge=1, le=500)] = 200
    """How many tokens are written after the prompt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadTokens(Prompt, Unit):
    """Options of the prompt, token by token."""

    token: Annotated[int, Meta(ge=-1, le=1023, extra={"least": "last"})] = -1
    """Which token of the prompt, counted from 0; -1 is the last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe(Prompt, Unit):
    """What is read while somebody looks inside."""

    read: Literal["held-out", "prompt"] = "held-out"
    """What it reads: a piece of the held-out data, or the prompt."""

    example: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Which piece of the held-out data, counted from 0; beyond the last one it begins again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activations(Probe):
    """Options of the heat map."""

    part: Literal["hidden", "cell", "input gate", "forget gate", "output gate", "candidate", "update", "reset"] = "hidden"
    """What is shown of each unit; a cell without it shows its hidden state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientFlow(Options):
    """Options of the gradient through time."""

    back: Annotated[int, Meta(ge=10, le=200)] = 60
    """How many steps it is followed back."""

    example: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Which pieces of the held-out data are read, counted from 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast(Unit):
    """Options of the forecast."""

    example: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """From where in the held-out series it is forecast, counted from 0; beyond the last place it begins again."""

    ahead: Annotated[int, Meta(ge=1, le=500)] = 50
    """How many steps it is carried on; beyond the end of the series there is no truth beside it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost(Options):
    """Options of the cost against length."""

    measurement: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Any number but 0 measures, another one again; the same one shows what was measured then."""
