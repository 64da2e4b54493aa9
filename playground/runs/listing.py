"""`dlplay runs`: the runs as a table, or as JSON lines."""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from dlplay import architectures
from dlplay.engine.units import size
from dlplay.runs.console import format_number, print_line
from dlplay.runs.family import tree
from dlplay.runs.summary import Summary

TITLES = ("run", "state", "step", "of", "changed", "disk", "held out")
LEFT_ALIGNED = ("run", "state")
MAX_METRICS = 3
"""Metrics of a run in the table; the JSON lines have all of them."""


def print_runs(summaries: Sequence[Summary], as_json: bool, *, members: bool = False) -> None:
    """Print one line for each run; in the table a group has one line too, and each of its `members` where they are asked for."""
    if as_json:
        for summary in summaries:
            print_line(msgspec.json.encode(summary).decode())
        return
    if not summaries:
        print_line("no runs yet; start one with dlplay ARCH --headless, or open the playground with dlplay")
        return
    rows: list[tuple[str, ...]] = [TITLES]
    for name, item in families(joined(summaries)):
        rows.append(_row(item, name) if isinstance(item, Summary) else _group_row(item))
        rows += [_row(member, f"  {member.name}") for member in (item.members if members and isinstance(item, GroupSummary) else ())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES) - 1)]
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        cells = [
            cell.ljust(width) if title in LEFT_ALIGNED else cell.rjust(width)
            for title, cell, width in zip(TITLES, row, widths, strict=False)
        ]
        line = "  ".join([*cells, row[-1]]).rstrip()
        print_line(line if columns is None or len(line) <= columns else line[: columns - 1] + "…")  # the metrics at its end are cut off


@dataclasses.dataclass(frozen=True)
class GroupSummary:
    """The runs of one group."""

    name: str
    members: list[Summary]
    parent: str = ""
    parent_step: int = 0

    @property
    def modified(self) -> float:
        """When the latest of them changed."""
        return max(member.modified for member in self.members)


def joined(summaries: Sequence[Summary]) -> list[Summary | GroupSummary]:
    """The runs, with those of one group as one item."""
    items: list[Summary | GroupSummary] = []
    groups: dict[str, GroupSummary] = {}
    for item in summaries:
        if not item.group:
            items.append(item)
        elif item.group in groups:
            groups[item.group].members.append(item)
        else:
            items.append(groups.setdefault(item.group, GroupSummary(item.group, [item])))
    return items


Item = TypeVar("Item", Summary, Summary | GroupSummary)


def families(items: Sequence[Item]) -> list[tuple[str, Item]]:
    """The runs as a tree, each with its name and where it branched off, such as `│ └ gpt-3 from step 91`."""
    shown = {item.name for item in items}

    def title(lines: str, item: Item) -> str:
        parent = "" if item.parent in shown else f"{item.parent}, "
        return f"{lines}{item.name} from {parent}step {item.parent_step:,}" if lines else item.name

    return [(title(lines, item), item) for lines, item in tree(items)]


def _row(item: Summary, name: str) -> tuple[str, ...]:
    return (name, item.state, f"{item.step:,}", f"{item.steps:,}", ago(time.time() - item.modified), size(item.disk), _metrics(item))


def _group_row(group: GroupSummary) -> tuple[str, ...]:
    """How many members are in which state, how far the last one is, and the medians of what they have reached."""
    states = Counter(member.state for member in group.members)
    state = next(iter(states)) if len(states) == 1 else ", ".join(f"{count} {state}" for state, count in states.most_common())
    step, steps = min(member.step for member in group.members), max(member.steps for member in group.members)
    first = group.members[0]
    metrics = {
        name: statistics.median(member.metrics[name] for member in group.members if name in member.metrics) for name in first.metrics
    }
    words = _metrics(dataclasses.replace(first, metrics=metrics, state="finished", changed={}))
    return (
        group.name,
        state,
        f"{step:,}",
        f"{steps:,}",
        ago(time.time() - group.modified),
        size(sum(member.disk for member in group.members)),
        f"{len(group.members)} runs, median {words}" if metrics else f"{len(group.members)} runs",
    )


def _metrics(item: Summary) -> str:
    """What it waits for, the card's most important metrics, and the settings that were changed while it trained."""
    card = architectures.cards().get(item.architecture)
    first = [name for name in card.metrics if name in item.metrics] if card else []
    chosen = list(dict.fromkeys([*first, *item.metrics]))[:MAX_METRICS]
    words = [item.problem] if item.state == "waiting" else []
    changes = [f"{name.replace('_', ' ')} {change}" for name, change in item.changed.items()]
    return "  ".join([*words, *(f"{name} {format_number(item.metrics[name])}" for name in chosen), *changes])


def ago(seconds: float) -> str:
    """A time span in its largest unit, such as `3 h ago`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
