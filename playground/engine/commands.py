"""Commands to a run. Each is carried out between two training steps; one with an `id` is answered with an `Answered`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Scalar = None | bool | int | float | str
Value = Scalar | Annotated[list[Scalar], Meta(max_length=1024)]
Values = Annotated[dict[str, Value], Meta(max_length=256)]
"""Of settings and options by name. There is nothing deeper in a message: what is, is refused before it is built."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base of all commands."""

    id: int = 0
    """Chosen by the client; 0 asks for no reply."""


class Pause(Command, frozen=True, kw_only=True):
    """Pause after the current step."""


class Resume(Command, frozen=True, kw_only=True):
    """Resume training."""


class StepOnce(Command, frozen=True, kw_only=True):
    """Train one step, then pause."""


class SetSpeed(Command, frozen=True, kw_only=True):
    """Limit training to this many steps per second; 0 removes the limit."""

    steps_per_second: float


class Set(Command, frozen=True, kw_only=True):
    """Change one live setting."""

    field: str
    value: Value


class Act(Command, frozen=True, kw_only=True):
    """Perform one of the architecture's actions; one that changes what is trained is recorded as `Applied`."""

    action: str
    options: Values = {}
    urgent: bool = False
    """Perform it as soon as a question would be answered, even if it takes more of the training time than a watched panel may (an agent in
    real time, a key press). A lasting action is always performed at once."""


class Ask(Command, frozen=True, kw_only=True):
    """Show one panel now; changes nothing."""

    panel: str
    options: Values = {}
    along: list[str] = []
    """Panels that the client watches and that it wants to see as of the same step: they are shown just before the answer."""


class View(msgspec.Struct, frozen=True):
    """One panel with its options."""

    panel: str
    options: Values = {}


class Watch(Command, frozen=True, kw_only=True):
    """Keep these panels up to date, with at most `rate` updates per second each; replaces the client's previous `Watch`."""

    views: Annotated[list[View], Meta(max_length=1024)]
    rate: float = 4.0


class Rewind(Command, frozen=True, kw_only=True):
    """Answer from the run's last checkpoint at or before this step, from now on. Of a process that only answers questions."""

    step: Annotated[int, Meta(ge=0)]


class Save(Command, frozen=True, kw_only=True):
    """Save a checkpoint now."""


class Stop(Command, frozen=True, kw_only=True):
    """End the run, after a last checkpoint."""


AnyCommand = Pause | Resume | StepOnce | SetSpeed | Set | Act | Ask | Watch | Rewind | Save | Stop
