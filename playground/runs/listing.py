"""`dlplay runs`: the runs as a table, or as JSON lines."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

import msgspec

from dlplay import architectures
from dlplay.runs.console import figure, say
from dlplay.runs.summary import Summary

TITLES = ("run", "state", "step", "of", "changed", "held out")
LEFT = ("run", "state")
MOST = 3
"""Metrics of a run in the table; all of them are among the JSON lines."""


def print_runs(summaries: Sequence[Summary], as_json: bool) -> None:
    """Print what is known of each run."""
    if as_json:
        for summary in summaries:
            say(msgspec.json.encode(summary).decode())
        return
    if not summaries:
        say("no runs yet; begin one with dlplay ARCH --headless, or open the playground with dlplay")
        return
    rows = [TITLES]
    rows += [
        (item.name, item.state, f"{item.step:,}", f"{item.steps:,}", ago(time.time() - item.modified), _metrics(item))
        for item in sorted(summaries, key=lambda item: -item.modified)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES) - 1)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        cells = [cell.ljust(width) if title in LEFT else cell.rjust(width) for title, cell, width in zip(TITLES, row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]]).rstrip()
        say(line if room is None or len(line) <= room else line[: room - 1] + "…")  # what does not fit is cut among the metrics


def _metrics(item: Summary) -> str:
    """The metric that says most, and the next two."""
    card = architectures.cards().get(item.architecture)
    first = [name for name in card.metrics if name in item.metrics] if card else []
    chosen = list(dict.fromkeys([*first, *item.metrics]))[:MOST]
    return "  ".join(f"{name} {figure(item.metrics[name])}" for name in chosen)


def ago(seconds: float) -> str:
    """A time span in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
