"""What is compared: a member is one training, a source is what was named: one training, or a group of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlplay.engine.card import Card, ChartCard
from dlplay.engine.settings import SettingsError

Floats = NDArray[np.float64]
Axis = Literal["step", "seconds", "examples"]
Kind = Literal["training", "held_out", "unknown"]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one training."""

    kind: Kind
    """`unknown`: of a file that does not say."""
    steps: Floats  # (count,), rising
    values: Floats  # (count,), NaN where a step has none

    @property
    def final(self) -> float:
        """The last value, which may be NaN."""
        return float(self.values[-1])

    def best(self, direction: str) -> tuple[int, float] | None:
        """Step and value of the best one; None where no value is a number."""
        if not len(self.values) or np.isnan(self.values).all():
            return None
        at = int(np.nanargmax(self.values) if direction == "higher" else np.nanargmin(self.values))
        return int(self.steps[at]), float(self.values[at])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Member:
    """One training: a run, a checkpoint, a shipped model, or curves from a file."""

    name: str
    kind: Literal["run", "checkpoint", "shipped", "file"]
    curves: Mapping[str, Measured]
    """By metric; none is empty."""
    card: Card | None = None
    """None for an architecture that is not known here."""
    architecture: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    changed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The settings that were changed while it trained, in words."""
    data: str = ""
    """In words, as the journal has it; empty where it is not known."""
    state: str = ""
    """As in the list of runs."""
    step: int = 0
    seconds: float | None = None
    """Training time so far."""
    baselines: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    clock: tuple[Floats, Floats] | None = None
    """Steps, and the training time in seconds at each."""
    batches: tuple[tuple[int, int], ...] = ()
    """(step, examples): from this step on each step takes so many; empty where it is not known."""

    @property
    def dataset(self) -> str:
        """The data's name."""
        return self.data.partition(":")[0]

    def at(self, steps: Floats, axis: Axis) -> Floats:
        """These steps on an axis. Raises `SettingsError` where that is not known."""
        if axis == "seconds":
            if self.clock is None or not len(self.clock[0]):
                raise SettingsError(f"{self.name} has no times, so --x seconds cannot place it; use --x step")
            times: Floats = np.interp(steps, np.append(0.0, self.clock[0]), np.append(0.0, self.clock[1]))
            return times
        if axis == "examples":
            if not self.batches:
                raise SettingsError(
                    f"{self.name} does not say how many examples a step takes, so --x examples cannot place it; use --x step"
                )
            begins = np.array([step for step, _ in self.batches], np.float64)
            sizes = np.array([size for _, size in self.batches], np.float64)
            before = np.append(0.0, np.cumsum(np.diff(begins) * sizes[:-1]))
            part = np.maximum(np.searchsorted(begins, steps, side="right") - 1, 0)
            seen: Floats = before[part] + (steps - begins[part]) * sizes[part]
            return seen
        return steps

    def chart(self, metric: str) -> ChartCard | None:
        """The chart on the card that draws it."""
        charts = self.card.charts if self.card else ()
        return next((chart for chart in charts if metric in (*chart.held_out, *chart.train)), None)

    def measures_the_same(self, metric: str, other: Member) -> bool:
        """Whether the metric of that name means the same in both: on the same data always; on the same text, read as other tokens, what is
        not a mean over tokens; on other data what is of the same architecture. Where the data are not known, equal names are trusted."""
        if not self.data or not other.data or self.data.partition(";")[0] == other.data.partition(";")[0]:
            return True
        if any(chart.per_token for chart in (self.chart(metric), other.chart(metric)) if chart):
            return False
        return self.dataset == other.dataset or self.architecture == other.architecture


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """What was named on the command line."""

    name: str
    members: tuple[Member, ...]
    group: bool = False
    """The members are the runs of a group."""

    def having(self, metric: str) -> list[Member]:
        """The members that measured it."""
        return [member for member in self.members if metric in member.curves]

    def finals(self, metric: str) -> Floats:
        """The final values that are finite numbers, one of each member that has one."""
        values = np.array([member.curves[metric].final for member in self.having(metric)], np.float64)
        return values[np.isfinite(values)]
