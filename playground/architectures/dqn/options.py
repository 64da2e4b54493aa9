"""What the DQN's panels and actions can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoomOptions(Options):
    """How large the picture may be."""

    room: Annotated[str, Meta(pattern=r"^(|\d{1,4}x\d{1,4})$")] = ""
    """Pixels that there is room for, columns x rows, such as 120x64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchOptions(RoomOptions):
    """How the watched episode goes on."""

    steps: Annotated[int, Meta(ge=1, le=1000, extra={"unit": "steps"})] = 1
    """Steps to go on by; the end of the episode stops it."""

    policy: Literal["greedy", "explore", "random"] = "greedy"
    """Who acts: the agent at its best, the agent with its present share of random actions, or chance alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayOptions(RoomOptions):
    """What a person does in the watched episode."""

    action: Annotated[int, Meta(ge=0, le=63)] = 0
    """The action to take, counted from 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeOptions(RoomOptions):
    """Which episode is begun."""

    seed: Annotated[int, Meta(ge=-1, le=2**31 - 2)] = -1
    """Where the episode's chance begins: the same seed gives the same beginning; -1 for another one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayOptions(Options):
    """Which part of the replay buffer is shown."""

    start: Annotated[int, Meta(ge=0, le=5_000_000)] = 0
    """Transitions to skip, from the newest on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceOptions(Options):
    """What is drawn over two numbers of the observation."""

    dimensions: Annotated[str, Meta(pattern=r"^(|\d{1,3},\d{1,3})$")] = ""
    """Which two numbers of the observation, such as 2,3; empty: the two that tell most."""

    show: Literal["value", "action", "lead"] = "value"
    """The value of the best action, which action that is, or its lead over the second best."""
