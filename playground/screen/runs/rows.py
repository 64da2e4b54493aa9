"""The list of runs as rows of text: which ones a filter leaves, in which order. Draws nothing."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from dlplay.engine.card import Card
from dlplay.engine.settings import Settings, show, to_dict
from dlplay.engine.units import size
from dlplay.runs.family import tree
from dlplay.runs.labels import NONE, Labels
from dlplay.runs.summary import Summary
from dlplay.screen import numbers


@dataclasses.dataclass(frozen=True)
class Item:
    """One run, or a group of them, with what is known of it by now."""

    name: str
    summary: Summary | None = None
    """None while it has not been read yet. Of a group: the medians of what its members have reached."""
    labels: Labels = NONE
    bytes: int = 0
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Those that are not the default ones; of a group those that all its members have."""
    members: tuple[Item, ...] = ()
    """Of a group."""
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


COLUMNS = ("run", "state", "step", "value", "settings", "metric", "changed", "tags and note", "disk")
CHANGED = COLUMNS.index("changed")
RIGHT = (2, 3, 6, 8)
_DEFAULTS: dict[type[Settings], dict[str, str]] = {}
NOT_SHOWN = ("steps", "minutes", "until", "seeds", "jobs", "per_gpu", "threads", "device", "eval_every", "save_every", "history")
"""Settings that say nothing of what is tried."""


def changed_settings(card: Card | None, settings: Mapping[str, Any], changed: Mapping[str, str] | None = None) -> dict[str, str]:
    """The settings of a run that are not the default ones, as a person would type them; those that were `changed` since as they were."""
    if card is None:
        return {}
    if card.settings not in _DEFAULTS:
        _DEFAULTS[card.settings] = {name: show(value) for name, value in to_dict(card.settings()).items()}
    usual = _DEFAULTS[card.settings]
    own = {name: show(settings[name]) for name in usual if name in settings and name not in NOT_SHOWN}
    told = {name: text for name, text in (changed or {}).items() if name in own}
    return {name: told.get(name, text) for name, text in own.items() if name in told or text != usual[name]}


def metric_of(item: Item, cards: Mapping[str, Card]) -> tuple[str, float]:
    """The card's most important metric that the run has, and its value; NaN when it has none."""
    if item.summary is None:
        return "", math.nan
    card = cards.get(item.summary.architecture)
    name = next((name for name in (card.metrics if card else ()) if name in item.summary.metrics), "")
    return name, item.summary.metrics.get(name, math.nan)


def row(item: Item, cards: Mapping[str, Card], now: float, opened: Collection[str] = ()) -> list[str]:
    """The cells of `COLUMNS`; the groups that are `opened` say so."""
    summary = item.summary
    name = item.lines + item.name
    if summary is None:
        return [name, "…"]
    metric, value = metric_of(item, cards)
    card = cards.get(summary.architecture)
    percent = card is not None and any(chart.percent and metric in chart.held_out for chart in card.all_charts)
    branched = f"branch of {summary.parent} from step {summary.parent_step:,}" if summary.parent else ""
    state: str = summary.state
    if item.members:
        name = f"{item.lines}{'-' if item.name in opened else '+'} {item.name}"
        ended = sum(member.summary is not None and member.summary.state == "finished" for member in item.members)
        state = "finished" if ended == len(item.members) else f"{ended} of {len(item.members)} finished"
        branched = f"median of {len(item.members)} runs"
    words = " ".join(filter(None, [*(f"#{tag}" for tag in item.labels.tags), item.labels.note, branched]))
    return [
        name,
        state,
        f"{summary.step:,} / {summary.steps:,}" if summary.steps else f"{summary.step:,}",
        numbers.measure(value, percent=percent) if metric else "",
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in item.settings.items()),
        numbers.words(metric),
        f"{numbers.ago(now - summary.modified)} ago",
        words or summary.problem,
        size(item.bytes),
    ]


def folded(items: Iterable[Item]) -> list[Item]:
    """The runs, with those of one group as one item, unless it is alone."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.summary.group if item.summary is not None and item.summary.group else f"/{item.name}", []).append(item)
    return [members[0] if name.startswith("/") or len(members) < 2 else _group(name, members) for name, members in groups.items()]


def _group(name: str, members: Sequence[Item]) -> Item:
    """One item for all of them: the medians, and the settings that they have in common."""
    known = [member.summary for member in members if member.summary is not None]
    metrics = {
        metric: statistics.median(values)
        for metric in known[0].metrics
        if (values := [summary.metrics[metric] for summary in known if math.isfinite(summary.metrics.get(metric, math.nan))])
    }
    summary = dataclasses.replace(
        known[0],
        name=name,
        metrics=metrics,
        step=min(summary.step for summary in known),
        steps=max(summary.steps for summary in known),
        modified=max(summary.modified for summary in known),
        problem="",
        parent="",
    )
    settings = dict(members[0].settings.items() & set.intersection(*({*member.settings.items()} for member in members)))
    in_order = {setting: settings[setting] for setting in members[0].settings if setting in settings}
    taken = sum(member.bytes for member in members)
    return Item(name, summary, bytes=taken, settings=in_order, members=tuple(members))


def filtered(items: Iterable[Item], text: str) -> list[Item]:
    """Those in whose name, architecture, state, group, settings, tags or note every word of `text` occurs."""
    words = text.lower().split()
    return [item for item in items if all(word in _searched(item) for word in words)]


def _searched(item: Item) -> str:
    summary, labels = item.summary, item.labels
    known = [summary.architecture, summary.state, summary.group, summary.parent] if summary else []
    settings = (f"{name} {value}" for name, value in item.settings.items())
    return " ".join([item.name, *known, *settings, *(f"#{tag}" for tag in labels.tags), labels.note]).lower()


def ordered(items: Iterable[Item], column: int, reverse: bool, cards: Mapping[str, Card]) -> list[Item]:
    """By a column of `COLUMNS`; runs without a value come last either way. The newest first is a tree, branches below their parents."""
    if column == CHANGED and not reverse:
        return [dataclasses.replace(item, lines=lines) for lines, item in tree(list(items))]
    keys: dict[str, Callable[[Item], str | float]] = {
        "run": lambda item: item.name,
        "state": lambda item: item.summary.state if item.summary else "",
        "step": lambda item: item.summary.step if item.summary else math.nan,
        "settings": lambda item: " ".join(f"{name} {value}" for name, value in item.settings.items()),
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


def cells(items: Iterable[Item], cards: Mapping[str, Card], opened: Collection[str] = ()) -> list[list[str]]:
    """A row for each."""
    now = time.time()
    return [row(item, cards, now, opened) for item in items]
