"""What claims are about: the histories of a lesson's runs, and the numbers that were read from panels."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from dlplay.engine.panels import AnyPanel, Array, Bars, HeatMap, Lines, Table, Tokens
from dlplay.lessons.condition import Quantity, Verdict
from dlplay.lessons.found import conditions, resolved
from dlplay.lessons.lesson import Lesson, Step
from dlplay.runs.history import History, Series
from dlplay.runs.journal import JournalReader

AVERAGED = 50
"""Steps over which a training metric is averaged: one step's value is that of one batch."""


@dataclasses.dataclass
class Evidence:
    """All that was seen so far in one playing of a lesson."""

    lesson: Lesson
    histories: dict[str, list[History]] = dataclasses.field(default_factory=dict)
    """Of each run that was trained, one for each seed."""
    read: dict[str, float] = dataclasses.field(default_factory=dict)
    """From panels, by the name it was given."""

    def look(self, quantity: Quantity, after: int | None) -> Sequence[float] | None:
        """The values of a quantity, one for each seed; None while one of them is missing."""
        known = resolved(self.lesson, quantity)
        if not known.run:
            return [self.read[known.metric]] if known.metric in self.read else None
        values = [_value(history, known, after) for history in self.histories.get(known.run, ())]
        found = [value for value in values if value is not None]
        return found if len(found) == len(values) else None

    def judge(self, step: Step) -> list[Verdict]:
        """What became of each of a step's claims."""
        return [one.judge(self.look) for one in conditions(step)]


def _value(history: History, quantity: Quantity, after: int | None) -> float | None:
    if quantity.baseline:
        return history.baselines.get(quantity.metric, {}).get(quantity.baseline)
    if after is not None and history.step < after:
        return None
    if (series := history.held_out.get(quantity.metric)) is not None:
        values = _up_to(series, after)
        return values[-1] if values else None
    if (series := history.training.get(quantity.metric)) is not None:
        known = [value for value in _up_to(series, after)[-AVERAGED:] if not math.isnan(value)]
        return statistics.fmean(known) if known else None
    return None


def _up_to(series: Series, step: int | None) -> list[float]:
    end = len(series) if step is None else int(np.searchsorted(series.x, step, side="right"))
    values: list[float] = series.y[max(0, end - AVERAGED) : end].tolist()
    return values


def history_of(reader: JournalReader) -> History:
    """What a journal says by now. Raises `OSError`."""
    history = History()
    history.add(reader.read())
    return history


def shown(verdict: Verdict) -> str:
    """The values that a verdict came from, in one line."""
    return ", ".join(f"{_words(name)} {value:.4g}" for name, value in verdict.values.items())


def _words(name: str) -> str:
    run, dot, metric = name.partition(".")
    return (f"{metric} of {run}" if dot and "(" not in run and "[" not in run else name).replace("_", " ")


# --- panels -------------------------------------------------------------------------------------------------------------------------


class ReadError(ValueError):
    """What a step wants to read is not in the panel."""


def read(panel: AnyPanel, what: str) -> float:
    """`min`, `max`, `sum` or `mean` of a panel's numbers, or the number of one label: of a line its last one, of a table `ROW, COLUMN`.

    Raises `ReadError`.
    """
    labels, values = _numbers(panel)
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        raise ReadError(f"there are no numbers in the panel: {panel.caption or type(panel).__name__}")
    match what:
        case "min":
            return min(known)
        case "max":
            return max(known)
        case "sum":
            return sum(known)
        case "mean":
            return statistics.fmean(known)
    found = dict(zip(labels, values, strict=False)).get(what)
    if found is None:
        raise ReadError(f"there is no {what!r} in the panel; there are min, max, sum, mean and {', '.join(labels[:20]) or 'no labels'}")
    return found


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
"""In a cell of a table, of which the last number counts: a word before it may hold others."""


def reads(panel: AnyPanel, wanted: Mapping[str, str]) -> dict[str, float]:
    """Every wanted number by its name. Raises `ReadError`."""
    return {name: read(panel, what) for name, what in wanted.items()}


def _numbers(panel: AnyPanel) -> tuple[list[str], Sequence[float | None]]:
    match panel:
        case Bars():
            return panel.labels, panel.values
        case HeatMap():
            rows = [f"{row}, {column}" for row in panel.rows for column in panel.columns]
            return rows, _floats(panel.values)
        case Lines():
            return list(panel.series), [line[-1] if line else None for line in panel.series.values()]
        case Tokens():
            others = panel.alternatives or Bars(labels=[], values=[])
            return [*panel.words, *others.labels], [*panel.values, *others.values]
        case Table():
            cells = [(f"{row[0]}, {column}", cell) for row in panel.rows for column, cell in zip(panel.columns[1:], row[1:], strict=False)]
            return [label for label, _ in cells], [float(found[-1]) if (found := _NUMBER.findall(cell)) else None for _, cell in cells]
        case _:
            return [], []


def _floats(array: Array) -> list[float]:
    values: list[float] = array.numpy().astype(float).ravel().tolist()
    return values
