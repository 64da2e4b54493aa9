"""`dlplay runs`: the runs as a table, or as JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from playground.runs.console import figure, say
from playground.runs.summary import Summary


def print_runs(summaries: Sequence[Summary], as_json: bool) -> None:
    """Print what is known of each run."""
    if as_json:
        for summary in summaries:
            say(msgspec.json.encode(summary).decode())
        return
    if not summaries:
        say("no runs yet; begin one with dlplay ARCH --headless, or open the playground with dlplay")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [
        (item.name, item.state, f"{item.step:,}", f"{item.steps:,}", ago(time.time() - item.modified), _metrics(item))
        for item in sorted(summaries, key=lambda item: -item.modified)
    ]
    for position, title in enumerate(("run", "state", "step", "of", "changed", "held out")):
        justify: Literal["left", "right"] = "right" if title in ("step", "of", "changed") else "left"
        last = title == "held out"  # what does not fit is cut there, and never in a name
        width = None if last else max(len(title), *(len(row[position]) for row in rows))
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 500).print(table)


def _metrics(item: Summary) -> str:
    return "  ".join(f"{name} {figure(value)}" for name, value in item.metrics.items())


def ago(seconds: float) -> str:
    """A time span in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
