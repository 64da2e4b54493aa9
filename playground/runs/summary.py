"""One line of the list of runs, from the end of the run's journal and its lock."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from dlplay.engine.events import Applied, DurableEvent, Evaluated, Failed, Finished, Paused, Resumed, Saved, Started
from dlplay.runs.files import open_regular
from dlplay.runs.journal import decode, tail
from dlplay.runs.lock import Holder, holder

State = Literal["training", "waiting", "paused", "finished", "stopped", "interrupted", "failed"]

_TAILS = (1 << 15, 1 << 20)
"""Bytes read from the journal's end: the second only when the first held no evaluation."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A run in one line."""

    name: str
    architecture: str
    state: State
    """`waiting`: for the disk, which refuses a write; `stopped`: by a person; `interrupted`: it was killed, or ended by a signal. Both can
    be resumed."""
    step: int
    steps: int
    """The step at which it is to end; 0 when that is not known."""
    metrics: dict[str, float]
    """Of its last evaluation."""
    held_by: int | None
    """The process that holds it."""
    modified: float
    """Seconds since the epoch."""
    problem: str = ""
    """Why the run cannot be read, why it failed, or what it waits for."""
    group: str = ""
    """The group that it is a member of."""
    parent: str = ""
    """The run that it branched off, at `parent_step`; empty when it began anew."""
    parent_step: int = 0
    changed: dict[str, str] = dataclasses.field(default_factory=dict)
    """The settings that were changed since it began, such as `0.003 → 0.001`; empty where nobody asked, since its journal is read."""
    disk: int = 0
    """Bytes that it takes on the disk, with what it shares with its parent; 0 where nobody asked, since every file is looked at."""


def summarise(name: str, architecture: str, steps: int, created: float, problem: str, *, journal_path: Path, lock_path: Path) -> Summary:
    """What `run.json` says of a run, brought up to date from the end of its journal and its lock."""
    held = holder(lock_path)
    events, modified = _last_events(journal_path)
    state, why = _state(events, held)
    return Summary(
        name=name,
        architecture=architecture,
        state=state,
        step=next((event.step for event in reversed(events) if not isinstance(event, Saved)), 0),
        steps=_steps(events) or steps,
        metrics=_metrics(events),
        held_by=held.pid if held else None,
        modified=modified or created,
        problem=problem or why,
    )


def _last_events(path: Path) -> tuple[list[DurableEvent], float]:
    """The journal's last events, and when it was last written; no events when it cannot be read."""
    events: list[DurableEvent] = []
    try:
        fd = open_regular(path, os.O_RDONLY)
    except OSError:
        return events, 0.0
    try:
        facts = os.fstat(fd)
        for limit in _TAILS:
            events = _decoded(tail(fd, facts.st_size, limit))
            if facts.st_size <= limit or any(isinstance(event, (Evaluated, Finished)) for event in events):
                break
        return events, facts.st_mtime
    finally:
        os.close(fd)


def _decoded(lines: Iterable[bytes]) -> list[DurableEvent]:
    events = []
    for line in lines:
        try:
            events.append(decode(line))
        except ValueError:
            continue
    return events


def _state(events: list[DurableEvent], held: Holder | None) -> tuple[State, str]:
    if held is not None and held.problem:
        return "waiting", held.problem
    for event in reversed(events):
        if isinstance(event, Failed):
            return "failed", event.what
        if isinstance(event, Finished):
            return ("stopped" if event.reason == "stopped" else "interrupted" if event.reason == "interrupted" else "finished"), ""
        if isinstance(event, Paused) and held:
            return "paused", event.reason
        if isinstance(event, (Started, Resumed)):
            break
    return ("training" if held else "interrupted"), ""


def _metrics(events: list[DurableEvent]) -> dict[str, float]:
    ceiling = math.inf
    for event in reversed(events):
        if isinstance(event, (Evaluated, Finished)) and event.step <= ceiling:
            return dict(event.metrics)
        if isinstance(event, Started):
            ceiling = min(ceiling, event.step)  # earlier events of later steps no longer count
    return {}


def _steps(events: list[DurableEvent]) -> int:
    for event in reversed(events):
        if isinstance(event, Applied) and event.what == "steps":
            return _whole(event.value)
        if isinstance(event, Started):
            return _whole(event.settings.get("steps"))
    return 0


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
