"""The history of a run, from its durable events alone: curves, evaluations, baselines, changes, its state.

Curves are numpy arrays that grow up to a limit, so that an hour of training takes no more memory than a minute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlplay.engine.events import (
    Applied,
    Baselines,
    DurableEvent,
    Evaluated,
    Failed,
    Finished,
    Paused,
    Resumed,
    Saved,
    Started,
    Stepped,
)
from dlplay.engine.settings import show

LIMIT = 65_536
"""Most points of a curve; beyond it neighbouring points are merged into their smallest and largest value."""

Floats = NDArray[np.float64]


class Series:
    """One metric over training steps, in order of steps.

    Once there are more than `LIMIT` points, every block of `width` neighbours keeps its two extremes, so that no spike is lost; `width`
    doubles each time the limit is reached again. Points that do not fill a block yet are kept as they are.
    """

    def __init__(self) -> None:
        self.width = 0
        """Raw points that are merged into two; 0: nothing was merged yet."""
        self._x: Floats = np.empty(256)
        self._y: Floats = np.empty(256)
        self._merged = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def x(self) -> Floats:
        """Steps, as a view that stays valid until the next `append`."""
        return self._x[: self._size]

    @property
    def y(self) -> Floats:
        """Values, NaN where a step has none."""
        return self._y[: self._size]

    @property
    def last(self) -> float | None:
        """The latest value that is not NaN."""
        recent = self.y[-64:]
        known = recent[~np.isnan(recent)]
        return float(known[-1]) if len(known) else None

    def append(self, x: NDArray[Any] | Sequence[float], y: NDArray[Any] | Sequence[float | None]) -> None:
        """Add points; `None` in `y` becomes NaN."""
        start, stop = self._size, self._size + len(x)
        if stop > len(self._x):
            capacity = max(2 * len(self._x), stop)
            self._x, self._y = _grown(self._x, start, capacity), _grown(self._y, start, capacity)
        self._x[start:stop] = x
        self._y[start:stop] = np.asarray(y, dtype=np.float64)
        self._size = stop
        if self.width:
            self._merge(self._merged, self.width)
        while self._size > LIMIT:
            self.width = max(4, 2 * self.width)
            # a copy, since a chart may still hold a view of the old arrays
            self._x, self._y = self._x.copy(), self._y.copy()
            self._merge(0, 4)

    def cut(self, step: float) -> None:
        """Drop every point beyond `step`."""
        self._size = int(np.searchsorted(self.x, step, side="right"))
        self._merged = min(self._merged, self._size)

    def _merge(self, start: int, block: int) -> None:
        """Merge every whole block from `start` on into two points; the points left over follow them."""
        stop = start + (self._size - start) // block * block
        if stop == start:
            return
        x, y = _extremes(self._x[start:stop].reshape(-1, block), self._y[start:stop].reshape(-1, block))
        self._merged = start + len(x)
        size = self._merged + self._size - stop
        self._x[self._merged : size] = self._x[stop : self._size].copy()
        self._y[self._merged : size] = self._y[stop : self._size].copy()
        self._x[start : self._merged], self._y[start : self._merged] = x, y
        self._size = size


@dataclasses.dataclass(frozen=True)
class Columns:
    """The training metrics of many `Stepped` events: the steps and the values of each metric."""

    step: int
    """The last one."""
    seconds: float
    metrics: dict[str, tuple[Floats, Floats]]
    clock: tuple[Floats, Floats]
    """Steps, and the training time at each in seconds: one for each event."""


def joined(events: Iterable[DurableEvent | Columns]) -> Iterator[DurableEvent | Columns]:
    """The events with `Stepped` events joined to `Columns`, since adding a few values at a time takes long."""
    waiting: list[Stepped] = []
    for event in events:
        if isinstance(event, Stepped):
            waiting.append(event)
            continue
        if waiting and not isinstance(event, (Evaluated, Saved, Applied, Baselines)):  # which may as well come before these steps
            yield join(waiting)
            waiting = []
        yield event
    if waiting:
        yield join(waiting)


def join(events: Sequence[Stepped]) -> Columns:
    """The values of `Stepped` events, at least one, as arrays: NaN where a step has none."""
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float | None]] = {}
    for event in events:
        for name, column in event.metrics.items():
            at: Iterable[int] = event.at or range(event.first, event.first + len(column))
            if event.at:  # a step was kept for one metric: the others have no gap there
                kept = [(step, value) for step, value in zip(at, column, strict=False) if value is not None]
                at, column = [step for step, _ in kept], [value for _, value in kept]
            steps.setdefault(name, []).extend(at)
            values.setdefault(name, []).extend(column)
    metrics = {name: (np.array(at, np.float64), np.array(values[name], np.float64)) for name, at in steps.items()}
    clock = np.array([event.step for event in events], np.float64), np.array([event.seconds for event in events], np.float64)
    return Columns(events[-1].step, events[-1].seconds, metrics, clock)


class History:
    """The history of one run. Pass it durable events in order with `add`; `revision` grows with every change."""

    def __init__(self, metric: str = "", better: Literal["higher", "lower"] = "lower") -> None:
        self.metric = metric
        self.better = better
        self.revision = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything, before another run."""
        self.revision += 1
        self.started: Started | None = None
        self.training: dict[str, Series] = {}
        self.held_out: dict[str, Series] = {}
        self.baselines: dict[str, dict[str, float]] = {}
        self.marks: list[tuple[int, str]] = []
        """(step, label) of every change and action."""
        self.settings: dict[str, object] = {}
        """The current settings, with the changes made during the run."""
        self._changes: list[Applied] = []
        """Those changes."""
        self.step = 0
        self.seconds = 0.0
        """Training time."""
        self.clock = Series()
        """The training time in seconds at some of the steps."""
        self.saved_at: float | None = None
        """When the last checkpoint was written, in seconds since the epoch."""
        self.saved_step: int | None = None
        self.paused = False
        self.failure: Failed | None = None
        self.finished: Finished | None = None

    def add(self, events: Iterable[DurableEvent | Columns]) -> bool:
        """Add events; True when there were any."""
        any_event = False
        for event in joined(events):
            any_event = True
            self._take(event)
            if not isinstance(event, Saved):  # which may be of an earlier step: it is written while training continues
                self.step = event.step
        if any_event:
            self.revision += 1
        return any_event

    @property
    def changes(self) -> tuple[Applied, ...]:
        """The settings that were changed while it trained, in order."""
        return tuple(self._changes)

    @property
    def trained_settings(self) -> dict[str, object]:
        """The settings of the last step: without those that were changed after it, with which nothing was trained."""
        found = dict(self.settings)
        for change in reversed(self._changes):
            if change.step < self.step:
                break
            found[change.what] = change.before
        return found

    @property
    def steps(self) -> int | None:
        """The step at which the run is to end."""
        steps = self.settings.get("steps")
        return steps if isinstance(steps, int) else None

    def best(self, metric: str = "", better: Literal["higher", "lower"] | None = None) -> tuple[int, float] | None:
        """(step, value) of the best evaluation, by default of the card's own metric."""
        series = self.held_out.get(metric or self.metric)
        if series is None or not len(series) or np.isnan(series.y).all():
            return None
        at = int(np.nanargmax(series.y) if (better or self.better) == "higher" else np.nanargmin(series.y))
        return int(series.x[at]), float(series.y[at])

    def _take(self, event: DurableEvent | Columns) -> None:
        match event:
            case Columns():
                self._add_steps(event)
            case Evaluated():
                for name, value in event.metrics.items():
                    series = _series(self.held_out, name)
                    series.cut(event.step - 1)  # of two evaluations of one step the newer counts
                    series.append([event.step], [value])
            case Started():
                self._start(event)
            case Baselines():
                self.baselines |= event.values
            case Applied():
                if event.what in self.settings:
                    self.settings[event.what] = event.value
                    self._changes.append(event)
                words = f"{event.what.replace('_', ' ')} {show(event.value)}" if event.value not in (None, {}, "") else event.what
                self.marks.append((event.step, words.strip()))
            case Saved():
                self.saved_at, self.saved_step = event.time, event.step
            case Paused():
                self.paused = True
            case Resumed():
                self.paused, self.finished = False, None
            case Failed():
                self.failure = event
            case Finished():
                self.finished, self.seconds = event, event.seconds
                self.baselines |= event.baselines

    def _add_steps(self, columns: Columns) -> None:
        self.seconds = columns.seconds
        self.clock.append(*columns.clock)
        self.finished = None
        for name, (steps, values) in columns.metrics.items():
            _series(self.training, name).append(steps, values)

    def _start(self, event: Started) -> None:
        """A process started or resumed the run: what was recorded of later steps no longer counts."""
        while self._changes and self._changes[-1].step > event.step:  # a change that is taken back with its step
            taken_back = self._changes.pop()
            self.settings[taken_back.what] = taken_back.before
        known = self.settings if self.started is not None else event.settings
        changed = [name for name, value in event.settings.items() if known.get(name, value) != value]
        self._changes += [Applied(step=event.step, what=name, value=event.settings[name], before=known[name]) for name in changed]
        self.started = event
        self.settings = dict(event.settings)
        self.failure = self.finished = None
        self.paused = False
        for series in (*self.training.values(), *self.held_out.values(), self.clock):
            series.cut(event.step)
        self.marks = [mark for mark in self.marks if mark[0] <= event.step]
        self.marks += [(event.step, f"{name.replace('_', ' ')} {show(event.settings[name])}") for name in changed]


def _series(group: dict[str, Series], name: str) -> Series:
    if name not in group:
        group[name] = Series()
    return group[name]


def _grown(array: Floats, size: int, capacity: int) -> Floats:
    grown = np.empty(capacity)
    grown[:size] = array[:size]
    return grown


def _extremes(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """For each row of `x` and `y` (blocks, width), the points with the smallest and the largest `y`, in order of `x`."""
    low = np.argmin(np.where(np.isnan(y), np.inf, y), axis=1)
    high = np.argmax(np.where(np.isnan(y), -np.inf, y), axis=1)
    # a block whose extremes coincide keeps its first or last point as well, so that each block gives exactly two
    same = low == high
    high = np.where(same, np.where(low == 0, y.shape[1] - 1, 0), high)
    first, second = np.minimum(low, high), np.maximum(low, high)
    rows = np.arange(len(x))
    picked = np.stack([first, second], axis=1)
    return x[rows[:, None], picked].ravel(), y[rows[:, None], picked].ravel()
