"""The comparison itself, as data: which metrics are shared, which settings differ, what each source reached, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dlplay import architectures
from dlplay.engine.settings import SettingsError, show
from dlplay.experiments.compare.member import Kind, Member, Source
from dlplay.experiments.compare.statistics import Difference, difference


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric that sources share."""

    name: str
    kind: Kind
    direction: Literal["higher", "lower", ""]
    """Which values are better; empty where nobody says."""
    title: str
    """Of its chart."""
    sources: tuple[str, ...]
    """Those in which it means the same, in order; the first one is the reference."""
    percent: bool = False
    log: bool = False

    @property
    def words(self) -> str:
        """Its name for a person: test accuracy."""
        return self.name.replace("_", " ")


@dataclasses.dataclass(frozen=True)
class Reached:
    """What a source reached in a metric."""

    source: str
    final: float
    """Of several runs the mean of those whose last value is a finite number; NaN where there is none."""
    steps: tuple[int, int]
    """The first and the last step of those last values."""
    best: float | None
    """The best of all evaluations and runs; None where no direction is known, or nothing was measured."""
    best_step: int | None
    runs: int
    """Runs whose last value is a finite number."""
    not_finite: int
    """Other runs of the source that measured it."""
    baselines: dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that is printed, drawn or written."""

    sources: list[Source]
    metrics: list[Metric]
    notes: list[str]
    _differences: dict[str, dict[str, Difference]] = dataclasses.field(default_factory=dict)
    """By metric, once computed: tens of milliseconds each."""

    def settings(self) -> dict[str, list[str]]:
        """The settings that differ between or within the sources that have them all, by name: a text for each source.

        Of the seed, in which the runs of a group differ by intent, only what differs between the sources.
        """
        having = [source for source in self.sources if any(member.settings for member in source.members)]
        every = [member.settings for source in having for member in source.members]
        table: dict[str, list[str]] = {}
        if len({member.architecture for source in having for member in source.members}) > 1:
            table["architecture"] = [_spread([member.architecture for member in source.members]) for source in self.sources]
        for name in dict.fromkeys(name for settings in every for name in settings):
            if not all(name in settings for settings in every):
                continue
            shown = [[_told(member, name) for member in source.members if member.settings] for source in self.sources]
            spread = [_spread(texts) for texts in shown]
            if len({text for texts in shown for text in texts} if name != "seed" else {*spread}) > 1:
                table[name] = spread
        return table

    def own_settings(self) -> dict[str, dict[str, str]]:
        """The settings that not every architecture has, by source."""
        having = [source for source in self.sources if any(member.settings for member in source.members)]
        if len({member.architecture for source in having for member in source.members}) < 2:
            return {}
        common = set.intersection(*(set(member.settings) for source in having for member in source.members))
        return {
            source.name: {name: _told(source.members[0], name) for name in source.members[0].settings if name not in common}
            for source in having
        }

    def having(self, metric: Metric) -> list[Source]:
        """The sources that are compared in this metric."""
        return [source for source in self.sources if source.name in metric.sources]

    def reached(self, metric: Metric) -> list[Reached]:
        """What each source reached that is compared in this metric."""
        return [_reached(source, metric) for source in self.having(metric)]

    @property
    def judged(self) -> list[Metric]:
        """The metrics by which sources are better or worse than one another."""
        return [metric for metric in self.metrics if metric.kind != "training"]

    @property
    def has_groups(self) -> bool:
        """Whether it can be said how sure a difference is."""
        return any(source.group for source in self.sources)

    def differences(self, metric: Metric) -> dict[str, Difference]:
        """The others against the first one: final values, by source; of sources that have a finite one."""
        if metric.name not in self._differences:
            having = [source for source in self.having(metric) if len(source.finals(metric.name))]
            found = {other.name: difference(*_by_task(having[0], other, metric.name)) for other in having[1:]}
            self._differences[metric.name] = found
        return self._differences[metric.name]


def compare(sources: Sequence[Source], notes: Sequence[str], wanted: Sequence[str] = ()) -> Comparison:
    """Compare the sources in the metrics that at least two of them share, or in the wanted ones.

    Raises `SettingsError` when there is none: the message says what each has.
    """
    metrics, left_out = [], []
    for name in wanted or _names(sources):
        having = [source for source in sources if source.having(name)]
        if wanted and not having:
            raise SettingsError(f"there is no metric {name[:100]}; {_what_each_has(sources)}")
        comparable = having if wanted else _comparable(name, having)
        if len(comparable) < min(2, len(sources)):
            left_out += [name] * (len(having) > 1)
            continue
        left_out += [name] * (len(comparable) < len(having))
        metrics.append(_metric(name, comparable))
    notes = [
        *notes,
        *([f"{_and(left_out)} would not mean the same in all of them; --metric NAME compares it all the same"] if left_out else []),
    ]
    if not metrics:
        raise SettingsError("; ".join([f"they share no metric that means the same: {_what_each_has(sources)}", *notes]))
    return Comparison(list(sources), metrics, notes + _data_notes(sources) + _group_notes(sources))


def _comparable(name: str, having: Sequence[Source]) -> list[Source]:
    """The largest part of the sources in which the metric means the same; of parts of the same size the one with the first of them."""
    parts: list[list[Source]] = []
    for source in having:
        members = source.having(name)
        fitting = (part for part in parts if all(m.measures_the_same(name, part[0].having(name)[0]) for m in members))
        if (part := next(fitting, None)) is not None:
            part.append(source)
        else:
            parts.append([source])
    return max(parts, key=len, default=[])


def _names(sources: Sequence[Source]) -> list[str]:
    """Every metric, in the order of the first cards, held-out ones first within a chart; those of no chart at the end, unless files have
    them: what no card draws (an internal measure) is shown on request."""
    members = [member for source in sources for member in source.members]
    on_cards = [name for member in members if member.card for chart in member.card.charts for name in (*chart.held_out, *chart.train)]
    in_files = [name for member in members if member.card is None for name in member.curves]
    return list(dict.fromkeys([*on_cards, *in_files]))


def _metric(name: str, having: Sequence[Source]) -> Metric:
    members = [member for source in having for member in source.having(name)]
    chart = next((chart for member in members if (chart := member.chart(name))), None)
    kinds = [member.curves[name].kind for member in members]
    known: list[Kind] = [kind for kind in kinds if kind != "unknown"]
    cards = [member.card for member in members if member.card] or list(architectures.cards().values())
    directions = {direction for card in cards if (direction := card.direction(name))}
    return Metric(
        name=name,
        kind=known[0] if known else "unknown",
        direction=directions.pop() if len(directions) == 1 else "",
        title=chart.title if chart else "",
        sources=tuple(source.name for source in having),
        percent=bool(chart and chart.percent),
        log=bool(chart and chart.log),
    )


def _reached(source: Source, metric: Metric) -> Reached:
    members = source.having(metric.name)
    finals = source.finals(metric.name)
    ends = [int(member.curves[metric.name].steps[-1]) for member in members]
    best = [found for member in members if metric.direction and (found := member.curves[metric.name].best(metric.direction))]
    step, value = (max if metric.direction == "higher" else min)(best, key=lambda pair: pair[1]) if best else (None, None)
    baselines = next((member.baselines[metric.name] for member in members if metric.name in member.baselines), {})
    return Reached(
        source=source.name,
        final=float(finals.mean()) if len(finals) else float("nan"),
        steps=(min(ends), max(ends)),
        best=value,
        best_step=step,
        runs=len(finals),
        not_finite=len(members) - len(finals),
        baselines=dict(baselines),
    )


def _by_task(first: Source, second: Source, metric: str) -> tuple[list[Any], list[Any]]:
    """The final values of both, an array for each data set that both were trained on; all together where that is one, or none in common."""
    tables = [_finals_by_data(source, metric) for source in (first, second)]
    common = sorted(set(tables[0]) & set(tables[1]))
    if len(common) < 2 or any(len(table) > len(common) for table in tables):
        return [first.finals(metric)], [second.finals(metric)]
    return [np.array(tables[0][name]) for name in common], [np.array(tables[1][name]) for name in common]


def _finals_by_data(source: Source, metric: str) -> dict[str, list[float]]:
    table: dict[str, list[float]] = {}
    for member in source.having(metric):
        if np.isfinite(final := member.curves[metric].final):
            table.setdefault(member.dataset, []).append(final)
    return table


def _data_notes(sources: Sequence[Source]) -> list[str]:
    """Which data, where they are not the same."""
    readers: dict[str, list[str]] = {}
    for source in sources:
        for data in dict.fromkeys(_data(member) for member in source.members if member.data):
            readers.setdefault(data, []).append(source.name)
    if len(readers) < 2:
        return []
    return ["the data differ: " + "; ".join(f"{_and(names)}: {data[:200]}" for data, names in readers.items())]


def _group_notes(sources: Sequence[Source]) -> list[str]:
    """Which groups are not of runs that differ in their seed alone, such as sweeps."""
    notes = []
    for source in sources:
        if source.group and (names := _settings_that_differ(source)):
            what = f"the runs of {source.name} differ in {_and(names)}, not in their seed alone"
            notes.append(f"{what}: how sure a difference is says nothing of one setting")
    return notes


def _settings_that_differ(source: Source) -> list[str]:
    """The settings, but for the seed and the device, in which runs on the same data differ."""
    by_data: dict[str, dict[str, set[str]]] = {}
    for member in source.members:
        for name, value in member.settings.items():
            by_data.setdefault(member.dataset, {}).setdefault(name, set()).add(_shown(value))
    found = (name for values in by_data.values() for name, texts in values.items() if len(texts) > 1)
    return [name for name in dict.fromkeys(found) if name not in ("seed", "device")]


def _data(member: Member) -> str:
    """What the data are, without what differs from step to step."""
    return member.data.partition(";")[0]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _what_each_has(sources: Sequence[Source]) -> str:
    found = []
    for source in sources[:6]:
        names = dict.fromkeys(name for member in source.members for name in member.curves)
        found.append(f"{source.name} has {', '.join(list(names)[:12]) or 'no metrics yet'}")
    return "; ".join(found) + ("; …" if len(sources) > 6 else "")


def _told(member: Member, name: str) -> str:
    """The value, or of one that was changed while it trained both."""
    return member.changed.get(name) or _shown(member.settings[name])


def _shown(value: Any) -> str:
    return show(value) or "none"


def _spread(texts: Sequence[str]) -> str:
    """One text where all are equal; whole numbers in a row as `0..7`; else each once."""
    unique = list(dict.fromkeys(texts))
    if len(unique) > 2 and all(text.isdecimal() for text in unique):
        numbers: list[int] = sorted(int(text) for text in unique)
        if numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]}..{numbers[-1]}"
    return ", ".join(unique[:8]) + (", …" if len(unique) > 8 else "") if unique else "–"
