"""What `dlplay runs` tells of every run, from the tail of its journal and its lock alone."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from playground.engine.events import Applied, DurableEvent, Evaluated, Failed, Finished, Paused, Resumed, Started
from playground.runs.directory import RunDirectory, SpecError, names
from playground.runs.journal import decode, tail
from playground.runs.lock import holder

State = Literal["training", "paused", "finished", "interrupted", "failed"]

_TAILS = (1 << 15, 1 << 20)
"""Bytes of the journal's end that are looked through: the second only when the first held no evaluation."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A run in one line."""

    name: str
    architecture: str
    state: State
    """`interrupted`: it was stopped or killed and can be resumed."""
    step: int
    steps: int
    """Steps it is to make in all; 0 when that is not known."""
    metrics: dict[str, float]
    """Of its last evaluation."""
    held_by: int | None
    """The process that holds it."""
    modified: float
    """Seconds since the epoch."""
    problem: str = ""
    """Why it cannot be read, or why it failed."""


def listing(runs_dir: Path) -> list[Summary]:
    """Every run of the folder, in the order of their names; one that cannot be read is listed with its problem."""
    return [summary(RunDirectory(runs_dir / name)) for name in names(runs_dir)]


def summary(run: RunDirectory) -> Summary:
    """One run's line."""
    held = holder(run.lock_path)
    architecture, steps, modified, problem = "?", 0, 0.0, ""
    try:
        spec = run.spec
        architecture, modified = spec.architecture, spec.created
        steps = _whole(spec.settings.get("steps"))
    except SpecError as error:
        problem = str(error)
    events: list[DurableEvent] = []
    try:
        fd = os.open(run.journal_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        pass
    else:
        try:
            facts = os.fstat(fd)
            modified = facts.st_mtime
            for limit in _TAILS:
                events = _decoded(tail(fd, facts.st_size, limit))
                if facts.st_size <= limit or any(isinstance(event, (Evaluated, Finished)) for event in events):
                    break
        finally:
            os.close(fd)
    state, why = _state(events, held is not None)
    return Summary(
        name=run.name,
        architecture=architecture,
        state=state,
        step=events[-1].step if events else 0,
        steps=_steps(events) or steps,
        metrics=_metrics(events),
        held_by=held.pid if held else None,
        modified=modified,
        problem=problem or why,
    )


def _decoded(lines: Iterable[bytes]) -> list[DurableEvent]:
    events = []
    for line in lines:
        try:
            events.append(decode(line))
        except ValueError:
            continue
    return events


def _state(events: list[DurableEvent], held: bool) -> tuple[State, str]:
    for event in reversed(events):
        if isinstance(event, Failed):
            return "failed", event.what
        if isinstance(event, Finished):
            return ("interrupted" if event.reason in ("stopped", "interrupted") else "finished"), ""
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
            ceiling = min(ceiling, event.step)  # what came before and went further no longer counts
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
