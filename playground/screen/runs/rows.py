"""The list of runs as rows of text: which ones a filter leaves, in which order. Draws nothing."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping

from dlplay.engine.card import Card
from dlplay.runs.family import tree
from dlplay.runs.labels import NONE, Labels
from dlplay.runs.listing import size
from dlplay.runs.summary import Summary
from dlplay.screen import numbers


@dataclasses.dataclass(frozen=True)
class Item:
    """One run, with what is known of it by now."""

    name: str
    summary: Summary | None = None
    """None while it has not been read yet."""
    labels: Labels = NONE
    bytes: int = 0
    lines: str = ""
    """Those of the tree that join it to the run that it branched off."""

    @property
    def parent(self) -> str:
        """The run that it branched off; empty when it began anew."""
        return self.summary.parent if self.summary else ""

    @property
    def modified(self) -> float:
        """When it changed, in seconds since the epoch; of one that is still to be read long ago."""
        return self.summary.modified if self.summary else -math.inf


COLUMNS = ("run", "state", "step", "of", "metric", "value", "changed", "disk", "tags and note")
CHANGED = COLUMNS.index("changed")
RIGHT = (2, 3, 5, 6, 7)


def metric_of(item: Item, cards: Mapping[str, Card]) -> tuple[str, float]:
    """The card's most important metric that the run has, and its value; NaN when it has none."""
    if item.summary is None:
        return "", math.nan
    card = cards.get(item.summary.architecture)
    name = next((name for name in (card.metrics if card else ()) if name in item.summary.metrics), "")
    return name, item.summary.metrics.get(name, math.nan)


def row(item: Item, cards: Mapping[str, Card], now: float) -> list[str]:
    """The cells of `COLUMNS`."""
    summary = item.summary
    if summary is None:
        return [item.name, "…"]
    metric, value = metric_of(item, cards)
    card = cards.get(summary.architecture)
    percent = card is not None and any(chart.percent and metric in chart.held_out for chart in card.all_charts)
    branched = f"branch of {summary.parent} from step {summary.parent_step:,}" if summary.parent else ""
    words = " ".join(filter(None, [*(f"#{tag}" for tag in item.labels.tags), item.labels.note, branched]))
    return [
        item.lines + item.name,
        summary.state,
        numbers.count(summary.step),
        numbers.count(summary.steps),
        metric.replace("_", " "),
        numbers.measure(value, percent=percent) if metric else "",
        f"{numbers.ago(now - summary.modified)} ago",
        size(item.bytes),
        words or summary.problem,
    ]


def filtered(items: Iterable[Item], text: str) -> list[Item]:
    """Those in whose name, architecture, state, group, tags or note every word of `text` occurs."""
    words = text.lower().split()
    return [item for item in items if all(word in _searched(item) for word in words)]


def _searched(item: Item) -> str:
    summary, labels = item.summary, item.labels
    known = [summary.architecture, summary.state, summary.group, summary.parent] if summary else []
    return " ".join([item.name, *known, *(f"#{tag}" for tag in labels.tags), labels.note]).lower()


def ordered(items: Iterable[Item], column: int, reverse: bool, cards: Mapping[str, Card]) -> list[Item]:
    """By a column of `COLUMNS`; runs without a value come last either way. The newest first is a tree, branches below their parents."""
    if column == CHANGED and not reverse:
        return [dataclasses.replace(item, lines=lines) for lines, item in tree(list(items))]
    keys: dict[str, Callable[[Item], str | float]] = {
        "run": lambda item: item.name,
        "state": lambda item: item.summary.state if item.summary else "",
        "step": lambda item: item.summary.step if item.summary else math.nan,
        "of": lambda item: item.summary.steps if item.summary else math.nan,
        "metric": lambda item: metric_of(item, cards)[0],
        "value": lambda item: metric_of(item, cards)[1],
        "changed": lambda item: -item.modified if item.summary else math.nan,  # the newest first
        "disk": lambda item: item.bytes,
        "tags and note": lambda item: " ".join([*item.labels.tags, item.labels.note]),
    }
    key = keys[COLUMNS[column]]
    items = list(items)
    missing = [item for item in items if _missing(key(item))]
    return sorted((item for item in items if not _missing(key(item))), key=key, reverse=reverse) + missing


def _missing(value: str | float) -> bool:
    return value == "" if isinstance(value, str) else math.isnan(value)


def cells(items: Iterable[Item], cards: Mapping[str, Card]) -> list[list[str]]:
    """A row for each."""
    now = time.time()
    return [row(item, cards, now) for item in items]
