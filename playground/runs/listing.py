"""`dlplay runs`: the runs as a table, or as JSON lines."""

from __future__ import annotations

import time
from collections.abc import Sequence

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
        say("no runs yet; begin one with dlplay gpt --headless, or open the playground with dlplay")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (
        ("run", "left"),
        ("state", "left"),
        ("step", "right"),
        ("of", "right"),
        ("held out", "left"),
        ("changed", "right"),
    ):
        table.add_column(title, justify="right" if justify == "right" else "left", no_wrap=True)
    for item in summaries:
        metrics = "  ".join(f"{name} {figure(value)}" for name, value in item.metrics.items())
        table.add_row(item.name, item.state, f"{item.step:,}", f"{item.steps:,}", metrics, ago(time.time() - item.modified))
    Console(highlight=False, markup=False).print(table)


def ago(seconds: float) -> str:
    """A time span in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
