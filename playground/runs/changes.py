"""The settings that were changed while a run trained, told the same way wherever they are told: as at the start → as they are now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dlplay.engine.events import Applied, Started
from dlplay.engine.settings import show
from dlplay.runs.directory import RunDirectory, SpecError
from dlplay.runs.files import open_regular
from dlplay.runs.journal import decode

MARKS = (b'"type":"applied"', b'"type":"started"')
"""Of the lines that change settings."""
START = 64
"""Bytes at the beginning of a line in which its type stands."""


def told(start: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """The settings that differ, such as `0.003 → 0.001`."""
    return {
        name: f"{show(start[name]) or 'none'} → {show(now[name]) or 'none'}" for name in start if now.get(name, start[name]) != start[name]
    }


def of(run: RunDirectory, reached: int) -> dict[str, str]:
    """The settings that were changed while this run trained up to the step `reached`; none where it cannot be read. A change after that
    step is left out: nothing was trained with it."""
    try:
        start = run.spec.settings
        fd = open_regular(run.journal_path, os.O_RDONLY)
    except (SpecError, OSError):
        return {}
    now: dict[str, Any] = dict(start)
    with os.fdopen(fd, "rb") as file:
        for line in file:
            if not any(mark in line[:START] for mark in MARKS):
                continue
            try:
                event = decode(line)
            except ValueError:
                continue
            if event.step >= reached:
                continue
            if isinstance(event, Applied) and event.what in now:
                now[event.what] = event.value
            elif isinstance(event, Started):  # of a resumed run: what was changed after its checkpoint no longer holds
                now |= {name: value for name, value in event.settings.items() if name in start}
    return told(start, now)
