"""A comparison in words and tables: what was compared, what differs, what was reached, how sure that is."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.segment import Segment
from textual.strip import Strip

from dlplay.experiments.compare.comparison import Comparison, Metric, Reached
from dlplay.experiments.compare.member import Axis, Source
from dlplay.experiments.compare.picture import SMOOTHING, chart, marker
from dlplay.experiments.compare.statistics import METHODS, Difference
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.text import figure, fit, width_of

NAME = 32
"""Cells of a source's name, at most."""
CELL = 40
POINTS = " points"
"""The unit of a difference between percentages."""
CHART = 65
"""Cells that a chart needs, to stand beside another one."""
GAP = 2
MANY = 1000
"""More seeds than anybody would train."""


def rows(
    comparison: Comparison, axis: Axis, width: int, colours: Palette, *, answer_first: bool = False, verdict: Sequence[str] = ()
) -> Iterator[Row]:
    """All of it, line by line, at this width. What was reached and how sure that is comes last, where a terminal shows it, or first, for a
    window that begins at the top; there charts stand side by side where there is room.

    A `verdict` is that of whoever paired the runs. It comes first, and no other one beside it."""
    for line in verdict:
        yield from _words(line, width, colours)
    if verdict:
        yield []
    yield from _sources(comparison, colours)
    for note in comparison.notes:
        yield from _words(f"note: {note}", width, colours, "muted")
    yield []
    if answer_first and not verdict:
        yield from _verdicts(comparison, width, colours)
        yield []
    yield from _settings(comparison, width, colours)
    if answer_first:
        yield from _tables(comparison, width, colours)
        yield from _curves(comparison, axis, width, colours, min(max(width // CHART, 1), max(len(comparison.metrics), 1)))
    else:
        yield from _curves(comparison, axis, width, colours, 1)
        yield from _tables(comparison, width, colours)
        if not verdict:
            yield from _verdicts(comparison, width, colours)
    if comparison.has_groups and not verdict:
        yield from _words(METHODS, width, colours, "muted")


def _settings(comparison: Comparison, width: int, colours: Palette) -> Iterator[Row]:
    if settings := comparison.settings():
        yield _title("settings that differ", colours)
        names = [source.name for source in comparison.sources]
        yield from _table([["", *names], *([name, *texts] for name, texts in settings.items())], colours, left=(0,))
        for name, own in comparison.own_settings().items():
            yield from _words(f"only {name}: " + ", ".join(f"{key} {value}" for key, value in own.items()), width, colours, "muted")
        yield []


def _curves(comparison: Comparison, axis: Axis, width: int, colours: Palette, beside: int) -> Iterator[Row]:
    """The charts, so many `beside` each other."""
    own = (width + GAP) // beside - GAP
    blocks: list[list[Row]] = []
    for metric in comparison.metrics:
        drawn = [f"smoothed {SMOOTHING:g}"] if metric.kind == "training" else []
        if any(source.group for source in comparison.having(metric)):
            drawn.append("median, quartiles, range")
        title = _title(_in_words(metric) + (f" ({'; '.join(drawn)})" if drawn else ""), colours)
        blocks.append([title, *chart(comparison, metric, axis, own, colours)])
    for start in range(0, len(blocks), beside):
        for parts in itertools.zip_longest(*blocks[start : start + beside], fillvalue=[]):
            strips = [Strip(part).adjust_cell_length(own + GAP, colours.blank) for part in parts[:-1]]
            yield [segment for strip in (*strips, Strip(parts[-1]).crop(0, own)) for segment in strip]
        yield []


def _in_words(metric: Metric) -> str:
    """Its name, behind the title of its chart where that says more."""
    name = metric.words
    return f"{metric.title}: {name}" if metric.title and metric.title.split()[-1].lower() not in name else name[:1].upper() + name[1:]


def _tables(comparison: Comparison, width: int, colours: Palette) -> Iterator[Row]:
    """What was reached."""
    for metric in comparison.judged:
        yield from _reached(comparison, metric, width, colours)
        yield []


def _verdicts(comparison: Comparison, width: int, colours: Palette) -> Iterator[Row]:
    """How sure the differences are."""
    lines = [line for metric in comparison.judged for line in verdicts(comparison, metric)]
    if comparison.has_groups:
        for line in lines:
            yield from _words(line, width, colours)
    elif len(comparison.sources) > 1 and comparison.judged:
        yield from _words("One run of each: whether a difference is more than luck takes more seeds.", width, colours, "muted")


def verdicts(comparison: Comparison, metric: Metric) -> list[str]:
    """For every source but the first: which is better, by how much, and how sure that is."""
    counts = {item.source: item for item in comparison.reached(metric)}
    first = next((item.source for item in counts.values() if item.runs), "")
    lines = []
    for name, found in comparison.differences(metric).items():
        lines.append(f"{metric.words}: {_verdict(metric, counts[first], counts[name], found)}")
    for item in counts.values():
        if item.not_finite:
            lines.append(
                f"{metric.words}: {item.not_finite} of {item.runs + item.not_finite} of {item.source} ended without a number, left out"
            )
    return lines


def _verdict(metric: Metric, first: Reached, second: Reached, found: Difference) -> str:
    if found.difference == 0:
        return f"{second.source} and {first.source} are equal ({_value(metric, found.first)}), {_runs(second, first)}"
    up = found.difference > 0
    word, unknown = ("better", "") if metric.direction else ("higher", " (which is better is not known)")
    ahead, behind = (second, first) if up == (metric.direction != "lower") else (first, second)
    probability = found.probability if (ahead is second) == (metric.direction != "lower") else 1 - found.probability
    interval = sorted((abs(found.low), abs(found.high))) if found.low * found.high > 0 else None
    if interval is None:
        sign = 1 if up else -1
        interval = sorted((sign * found.low, sign * found.high))
    if found.sure:
        of_mean = "" if found.statistic == "mean" else f" in the {found.statistic}"
        text = f"{ahead.source} is {word}{unknown} than {behind.source} by {_gap(metric, abs(found.difference))}{of_mean} "
    else:
        text = f"{ahead.source} has a {word} {found.statistic}{unknown} than {behind.source}, by {_gap(metric, abs(found.difference))} "
    text += (
        f"(95 % interval {_gap(metric, interval[0]).removesuffix(POINTS)} to {_gap(metric, interval[1])}; {_runs(ahead, behind)}); "
        f"a run of it is {word} with a probability of {probability:.2f}. "
    )
    if found.sure:
        return text + f"The difference is significant: p = {found.p:.2g}."
    return text + f"That may be chance: {_doubt(found)}; {_more(first, second, found)}."


def _doubt(found: Difference) -> str:
    """Why it is not sure, where an interval and a test were made and may disagree."""
    p, both = f"p = {found.p:.2g} by the permutation test", "a significant difference takes both"
    if found.clear:
        return f"the interval leaves out 0, but {p}, and {both}"
    return f"{p}, but the interval holds 0, and {both}" if found.significant else f"the interval holds 0, and {p}"


def _more(first: Reached, second: Reached, found: Difference) -> str:
    """How many more seeds it would take."""
    if found.needed is None:
        return "one run each says nothing of the spread; try 5 seeds each" if found.statistic == "mean" else "more seeds may tell"
    more = [max(0, found.needed - item.runs) for item in (first, second)]
    if max(more) > MANY:
        return f"it would take more than {MANY:,} seeds each, so take them as equal"
    if not any(more):
        return f"{found.needed} seeds each find such a difference in 4 of 5 experiments, and this was another; add some"
    if more[0] == more[1]:
        return f"about {more[0]} more seed{'s' * (more[0] > 1)} each would tell"
    return (
        " and ".join(f"{count} more of {item.source}" for count, item in zip(more, (first, second), strict=True) if count) + " would tell"
    )


def _runs(one: Reached, other: Reached) -> str:
    return f"{one.runs} run{'s' * (one.runs > 1)} against {other.runs}"


def _sources(comparison: Comparison, colours: Palette) -> Iterator[Row]:
    names = width_of([source.name for source in comparison.sources], NAME)
    for position, source in enumerate(comparison.sources):
        mark = Segment(f"{marker(position)} ", colours.style(str(position % 10), bold=True))
        name = Segment(fit(source.name, names) + "  ", colours.style("text", bold=True))
        yield [mark, name, Segment(_description(source), colours.style("muted"))]


def _description(source: Source) -> str:
    member = source.members[0]
    architecture = member.card.title if member.card else member.architecture
    if source.group:
        states = Counter(item.state for item in source.members)
        found = [", ".join(f"{count} {state}" for state, count in states.items())]
        title = f"{len(source.members)} run{'s' * (len(source.members) > 1)}" + (f" of {architecture}" if architecture else "")
        return f"{title}: {found[0]}, at step {max(item.step for item in source.members):,}"
    kind = {"run": member.state, "checkpoint": "checkpoint", "shipped": "shipped model", "file": "from a file"}[member.kind]
    seconds = f", {member.seconds:,.1f} s" if member.seconds else ""
    return ", ".join(filter(None, [architecture, kind])) + f", at step {member.step:,}{seconds}"


def _reached(comparison: Comparison, metric: Metric, width: int, colours: Palette) -> Iterator[Row]:
    """Final and best values with their baselines, and differences to the first."""
    found = comparison.reached(metric)
    known = f"{metric.direction} is better" if metric.direction else "which values are better is not known"
    means = comparison.has_groups
    yield _title(f"{metric.words} ({known})", colours)
    table = [["", "mean of last" if means else "last", "at step", "against the first", "best", "at step"]]
    for item in found:
        gap = item.final - found[0].final
        table.append(
            [
                item.source,
                _value(metric, item.final),
                " to ".join(f"{step:,}" for step in dict.fromkeys(item.steps)),
                "" if item is found[0] else _gap(metric, gap, sign=True),
                "–" if item.best is None else _value(metric, item.best),
                "–" if item.best_step is None else f"{item.best_step:,}",
            ]
        )
    yield from _table(table, colours, left=(0,))
    shared = [item.baselines for item in found if item.baselines]
    same = all(baselines == shared[0] for baselines in shared)
    for item in found:
        if item.baselines and (not same or item.baselines is shared[0]):
            values = ", ".join(f"{name} {_value(metric, value)}" for name, value in item.baselines.items())
            yield from _words(("baselines" if same else f"baselines of {item.source}") + f": {values}", width, colours, "muted")


def _value(metric: Metric, value: float) -> str:
    return figure(value, metric.percent)


def _gap(metric: Metric, value: float, *, sign: bool = False) -> str:
    """A difference; that of percentages in points."""
    if math.isnan(value):
        return "–"
    plus = "+" if sign and value > 0 else ""
    if metric.percent:
        return f"{plus}{100 * value:.2f}{POINTS}"
    return plus + figure(value)


def _title(text: str, colours: Palette) -> Row:
    return [Segment(text, colours.style("text", bold=True))]


def _words(text: str, width: int, colours: Palette, style: str = "text") -> Iterator[Row]:
    for line in textwrap.wrap(text, width, break_on_hyphens=False) or [""]:
        yield [Segment(line, colours.style(style))]


def _table(table: Sequence[Sequence[str]], colours: Palette, left: Sequence[int]) -> Iterator[Row]:
    """Columns as wide as their widest cell; the first row is the heading."""
    widths = [width_of(list(column), NAME if at == 0 else CELL) for at, column in enumerate(zip(*table, strict=True))]
    for number, row in enumerate(table):
        cells = [fit(cell, width, right=at not in left) for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        yield [Segment("  " + "  ".join(cells).rstrip(), colours.style("muted" if number == 0 else "text"))]
