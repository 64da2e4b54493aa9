"""The answers of the panels about the machine, from what was recorded of the run. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dlplay.engine.machine import Sample, card_of, from_step, rate
from dlplay.engine.panels import AnyPanel, Bars, Lines
from dlplay.engine.settings import Options
from dlplay.system.figures import figures
from dlplay.system.options import System
from dlplay.system.shares import shares, timed

if TYPE_CHECKING:
    from dlplay.engine.task import Task

POINTS = 400
"""Of a curve at most; beyond that neighbours are joined: their mean, of memory and temperature the most."""
NOTHING = "nothing is recorded of this model's training: a run records a sample a second while it trains"


class SystemPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: Task[Any]) -> None:
        self._samples = from_step(task.machine(), task.step)

    def system(self, options: System) -> AnyPanel:
        """What the machine did over the steps."""
        return drawn(self._samples, options)

    def time_shares(self, options: Options) -> Bars:
        """Where the time went."""
        return time_shares(self._samples)


class _Gauge(NamedTuple):
    """A value of a sample: of the machine, and of each card."""

    title: str
    of_machine: Callable[[Sample], float | None] = lambda sample: None
    of_card: Callable[[Any], float | None] = lambda card: None
    name: str = ""
    """Of the machine's curve."""
    form: Callable[[float], str] = "{:,.4g}".format
    percent: bool = False
    join: Callable[[Sequence[float]], float] = statistics.fmean


GAUGES = {
    "utilisation": _Gauge(
        "share of the time",
        lambda sample: sample.cpu,
        lambda card: card.utilisation,
        "processors",
        lambda value: f"{100 * value:.0f} %",
        percent=True,
    ),
    "memory": _Gauge(
        "GB",
        lambda sample: _scaled(sample.memory, 1e9),
        lambda card: _scaled(card.memory, 1e9),
        "this process",
        lambda value: f"{value:.3g} GB",
        join=max,
    ),
    "temperature": _Gauge("°C", of_card=lambda card: card.temperature, form=lambda value: f"{value:.0f} °C", join=max),
    "power": _Gauge("W", of_card=lambda card: card.power, form=lambda value: f"{value:.0f} W"),
    "speed": _Gauge("steps/s", lambda sample: rate(sample, sample.step - sample.first), name="steps/s"),
    "throughput": _Gauge("examples/s", lambda sample: rate(sample, sample.examples), name="examples/s"),
}


def drawn(samples: Sequence[Sample], options: System) -> AnyPanel:
    """One gauge over the steps, or the figures of all."""
    if options.gauge == "figures":
        return figures(samples)
    gauge = GAUGES[options.gauge]
    if options.gauge == "throughput" and any(sample.tokens for sample in samples):
        gauge = _Gauge("tokens/s", lambda sample: rate(sample, sample.tokens), name="tokens/s")
    found: dict[str, list[float | None]] = {}
    if any(gauge.of_machine(sample) is not None for sample in samples):
        found[gauge.name] = [gauge.of_machine(sample) for sample in samples]
    for index in sorted({card.index for sample in samples for card in sample.cards}):
        cards = [card_of(sample, index) for sample in samples]
        values = [None if card is None else gauge.of_card(card) for card in cards]
        if any(value is not None for value in values):
            found[f"cuda:{index}"] = values
    block = -(-len(samples) // POINTS)
    curves = {name: [_joined(values[at : at + block], gauge) for at in range(0, len(values), block)] for name, values in found.items()}
    if not curves:
        missing = "no card was read: that takes a run on one, and the extra nvidia" if samples else NOTHING
        return Lines(x=[], series={}, x_title="step", caption=missing)
    known = {name: next((value for value in reversed(values) if value is not None), None) for name, values in curves.items()}
    said = [f"{name} {gauge.form(value)}" for name, value in known.items() if value is not None]
    return Lines(
        x=[float(samples[min(at + block, len(samples)) - 1].step) for at in range(0, len(samples), block)],
        series=curves,
        x_title="step",
        percent=gauge.percent,
        least=(0.0, 1.0) if gauge.percent else None,
        figure=said[-1] if len(said) == 1 else "",
        caption=f"{gauge.title} over the steps · {', '.join(said[:6])}" if len(said) > 1 else f"{gauge.title} over the steps",
    )


def time_shares(samples: Sequence[Sample]) -> Bars:
    """Shares of the time, which sum to 1."""
    found = shares(samples)
    if not found:
        return Bars(labels=[], values=[], caption=NOTHING)
    most = max(range(len(found)), key=list(found.values()).__getitem__)
    return Bars(labels=list(found), values=list(found.values()), percent=True, high=1.0, chosen=most, caption=timed(samples))


def _joined(values: Sequence[float | None], gauge: _Gauge) -> float | None:
    known = [value for value in values if value is not None]
    return gauge.join(known) if known else None


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by
