"""What a doctor of runs is told and what it says. A room may have rules of its own: `Card.doctor` names them. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCKS = 20
"""A curve is judged by the means of so many parts of equal length."""
MAD_TO_DEVIATION = 1.4826
"""The standard deviation of normal values over their median absolute deviation."""
SPIKE = 10
"""Deviations from the median beyond which a value of a curve says nothing of how the others scatter."""


class LayerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the panel `anatomy` with columns health; None for what it does not tell."""

    address: str
    kind: str
    """Class of the module."""
    leaf: bool
    """It has no parts."""
    deviation: float | None = None
    """Of its output over held-out data."""
    dead: float | None = None
    """Units that are 0 for every example."""
    saturated: float | None = None
    """Values at the bounds of a tanh or a sigmoid."""
    one_hot: float | None = None
    """Of an attention's rows of softmax, those with nearly all their weight on one key. Shares, from 0 to 1."""
    weights: float | None = None
    gradients: float | None = None
    """Norms."""
    ratio: float | None = None
    """Of the optimiser's next update to the weights, at the rate that is set."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric over steps."""

    steps: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def blocks(self, count: int = BLOCKS) -> Floats:
        """Means of `count` parts of equal length, in order; fewer where there are fewer values."""
        return np.array([part.mean() for part in np.array_split(self.values, min(count, len(self.values)))])

    def medians(self, count: int = BLOCKS) -> Floats:
        """Like `blocks`, and single spikes leave no trace in them."""
        return np.array([np.median(part) for part in np.array_split(self.values, min(count, len(self.values)))])

    def errors(self, count: int = BLOCKS) -> Floats:
        """Standard errors of `medians`, as if the values scattered normally about them; a single spike counts as `SPIKE` deviations."""
        found = []
        for part in np.array_split(self.values, min(count, len(self.values))):
            middle = np.median(part)
            reach = SPIKE * MAD_TO_DEVIATION * np.median(np.abs(part - middle)) or np.inf  # most of them are equal
            found.append(1.253 * part.clip(middle - reach, middle + reach).std() / np.sqrt(len(part)))
        return np.array(found)

    def blocks_at(self, count: int = BLOCKS) -> Floats:
        """The mean step of each of them."""
        return np.array([part.mean() for part in np.array_split(self.steps, min(count, len(self.values)))])

    @property
    def every_step(self) -> bool:
        """Whether it has each step: of a long run the smallest and the largest value of many steps are kept."""
        return len(self) > 1 and bool((np.diff(self.steps) < 1.5).all())

    def after(self, step: float) -> Curve:
        """What it has of later steps."""
        kept = self.steps > step
        return Curve(self.steps[kept], self.values[kept])

    def tail(self, share: float = 0.1) -> float:
        """Mean of the last part."""
        return float(self.values[-max(1, int(share * len(self.values))) :].mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run has recorded, and how its model fares. Curves hold finite values alone."""

    settings: Mapping[str, Any]
    live: frozenset[str] = frozenset()
    """Settings that may change in a run."""
    training: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    held_out: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    metric: str = ""
    better: Literal["lower", "higher"] = "lower"
    loss: str = ""
    """The training metric that falls while it learns; empty where there is none, as in a GAN."""
    pair: tuple[str, str] | None = None
    """A loss in training and the same on held-out data."""
    usual_rate: float | None = None
    """The learning rate that the architecture has where nobody sets one."""
    range_test: str = ""
    """The command that tries which rate to take, with the run's settings; empty where there is no such test."""
    bounds: frozenset[str] = frozenset()
    """Baselines that can only be reached."""
    data: str = ""
    """The data in words."""
    step: int = 0
    done: float = 0.0
    """Share of its steps that are done; 0 where it has no last one."""
    fresh: bool = True
    """It began with fresh weights."""
    changed: int = 0
    """The last step at which something other than the learning rate was changed while it trained."""
    not_finite: bool = False
    layers: tuple[LayerHealth, ...] = ()
    """Of the last checkpoint, the updates at the learning rate as it was set."""

    @property
    def ended(self) -> bool:
        return self.done >= 1

    @property
    def from_scratch(self) -> bool:
        """Whether its curves, as far as they are judged, begin with fresh weights."""
        return self.fresh and not self.changed

    @property
    def has_had_time(self) -> bool:
        """At least half of its steps are done: what it has not learnt by now may be held against it."""
        return self.done >= 0.5

    def final(self, name: str) -> float | None:
        """The last value on held-out data."""
        curve = self.held_out.get(name)
        return float(curve.values[-1]) if curve else None

    def number(self, name: str) -> float | None:
        """A setting that is a number."""
        value = self.settings.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    @property
    def ratio(self) -> float | None:
        """Update against weight of the whole model, of several the largest."""
        roots = [layer.ratio for layer in self.layers if "." not in layer.address and not layer.leaf and layer.ratio is not None]
        return max(roots, default=None)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a run, and what would help."""

    name: str
    """Of the rule that found it."""
    title: str
    found: str
    """The evidence in one sentence."""
    number: float
    """What was measured."""
    bound: float
    """What it was held against."""
    rule: str
    """When this is said."""
    source: str
    """Paper or textbook."""
    advice: str
    changes: dict[str, Any] = {}
    """Settings that do it; empty where none does."""
    anew: bool = False
    """The harm is in the weights: a trial of the advice begins without them."""
    curve: str = ""
    """The metric on whose curve it can be seen."""
    bars: dict[str, float] = {}
    """What was measured by name, such as layers' addresses, where it is seen on no curve."""


class Unjudged:
    """What a rule returns that lacks what it needs."""


UNJUDGED = Unjudged()
Judgement = Diagnosis | Unjudged | None
"""None: what the rule looks for is not there."""
Rule = Callable[[Evidence], Judgement]
