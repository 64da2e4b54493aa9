"""What can be asked of a run. Every command is obeyed between two training steps; one with an `id` gets an `Answered`."""

from __future__ import annotations

from typing import Any

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base of all commands."""

    id: int = 0
    """Chosen by the client; 0 asks for no reply."""


class Pause(Command, frozen=True, kw_only=True):
    """Hold training up after the present step."""


class Resume(Command, frozen=True, kw_only=True):
    """Train on."""


class StepOnce(Command, frozen=True, kw_only=True):
    """Train one step, then pause."""


class SetSpeed(Command, frozen=True, kw_only=True):
    """Hold training down to this many steps a second; 0 lifts the limit."""

    steps_per_second: float


class Set(Command, frozen=True, kw_only=True):
    """Change one live setting."""

    field: str
    value: Any


class Act(Command, frozen=True, kw_only=True):
    """Do one of the architecture's actions; one that changes what is trained is recorded as `Applied`."""

    action: str
    options: dict[str, Any] = {}
    urgent: bool = False
    """At once, even if training has to wait for it more often than for a watched panel (an agent in real time, a key that a person
    pressed). What is lasting is always done at once."""


class Ask(Command, frozen=True, kw_only=True):
    """One panel, now; changes nothing."""

    panel: str
    options: dict[str, Any] = {}


class View(msgspec.Struct, frozen=True):
    """One panel with its options."""

    panel: str
    options: dict[str, Any] = {}


class Watch(Command, frozen=True, kw_only=True):
    """Keep these panels coming, at most `rate` times a second each; replaces the client's former wishes."""

    views: list[View]
    rate: float = 4.0


class Save(Command, frozen=True, kw_only=True):
    """Write a checkpoint now."""


class Stop(Command, frozen=True, kw_only=True):
    """End the run, after a last checkpoint."""


AnyCommand = Pause | Resume | StepOnce | SetSpeed | Set | Act | Ask | Watch | Save | Stop
