"""What the machine did while a run trained: samples that are taken once a second, and thinned so that they never grow without end.

Once there are more than `LIMIT` samples, every two neighbours become one of twice the length, and from then on samples of that length are
kept. So the whole span stays, its beginning and its end alike, in no more than `LIMIT` samples. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

LIMIT = 2048
"""Most samples of a run."""
MOST_TRACED = 200
"""Most steps of a trace: each takes up to a few megabytes."""
SECONDS = 1.0
"""Length of a sample before any are merged."""

PARTS = ("data", "forward", "backward", "optimiser")
"""Of a training step, as they are timed."""

Amount = Annotated[float, Meta(ge=0, le=1e18)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10**15)]
Word = Annotated[str, Meta(max_length=80)]
Seconds = Annotated[dict[Word, Amount], Meta(max_length=16)]

THROTTLING = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal, by the driver",
    0x40: "thermal, by the hardware",
    0x80: "power brake",
}
"""Why a card's clocks are held down, by the driver's bits; that it idles, or that a person set its clocks, is no throttling."""


class CardSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU; what the driver does not tell is None."""

    index: Annotated[int, Meta(ge=0, le=1023)]
    """As in cuda:0."""
    utilisation: Share | None = None
    """Share of the time in which a kernel ran."""
    memory: Count | None = None
    """Bytes in use, by all processes."""
    of_memory: Count | None = None
    """Bytes that it has."""
    temperature: Annotated[float, Meta(ge=-300, le=10_000)] | None = None
    """Degrees Celsius."""
    power: Amount | None = None
    """Watts."""
    throttling: Count | None = None
    """The driver's bits (`THROTTLING`)."""
    processes: Count | None = None
    """That compute on it."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A second of a run, or several."""

    time: Annotated[float, Meta(ge=0, le=1e11)]
    """When it ended, in seconds since the epoch."""
    span: Annotated[float, Meta(gt=0, le=1e9)]
    """Seconds that it is about."""
    first: Count
    """Training step at its beginning."""
    step: Count
    """Training step at its end."""
    examples: Amount = 0.0
    """That training saw."""
    tokens: Amount = 0.0
    """That they had, where examples are of tokens and all of one length."""
    cpu: Share | None = None
    """Utilisation of all the machine's processors by all programs."""
    own_cpu: Amount | None = None
    """Processors that this process kept busy, such as 1.8."""
    memory: Count | None = None
    """Bytes of memory that this process takes."""
    written: Count | None = None
    """Bytes that this process has sent to the disk since it began."""
    cards: Annotated[tuple[CardSample, ...], Meta(max_length=64)] = ()
    times: Seconds = {}
    """Seconds by the clock of the loop: training, evaluation, saving."""
    parts: Seconds = {}
    """Seconds of the steps that were timed part by part: data, forward, backward, optimiser."""
    timed: Count = 0
    """How many steps were timed so."""


def merged(one: Sample, other: Sample) -> Sample:
    """Two neighbours as one: means over time of utilisation and power, the larger of memory and temperature, all reasons, sums of times."""
    before = {card.index: card for card in one.cards}
    cards = tuple(_merged_card(before[card.index], one.span, card, other.span) if card.index in before else card for card in other.cards)
    return Sample(
        time=other.time,
        span=one.span + other.span,
        first=one.first,
        step=other.step,
        examples=one.examples + other.examples,
        tokens=one.tokens + other.tokens,
        cpu=_mean(one.cpu, one.span, other.cpu, other.span),
        own_cpu=_mean(one.own_cpu, one.span, other.own_cpu, other.span),
        memory=_most(one.memory, other.memory),
        written=_most(one.written, other.written),
        cards=cards,
        times=_sums(one.times, other.times),
        parts=_sums(one.parts, other.parts),
        timed=one.timed + other.timed,
    )


def thinned(samples: Sequence[Sample], most: int = LIMIT) -> list[Sample]:
    """No more than `most` samples, by merging neighbours, two and two."""
    found = list(samples)
    while len(found) > most:
        found = [merged(*found[at : at + 2]) if at + 1 < len(found) else found[at] for at in range(0, len(found), 2)]
    return found


def card_of(sample: Sample, index: int) -> CardSample | None:
    """The card of this number in the sample."""
    cards = sample.cards
    if index < len(cards) and cards[index].index == index:  # as nearly always
        return cards[index]
    return next((card for card in cards if card.index == index), None)


def rate(sample: Sample, of: float) -> float | None:
    """So many a second of training time; None while nothing trained."""
    seconds = sample.times.get("training", 0.0)
    return of / seconds if seconds > 0 and sample.step > sample.first else None


def from_step(samples: Sequence[Sample], step: int) -> list[Sample]:
    """What counts when a run goes on from this step: samples of later ones do not."""
    return [sample for sample in samples if sample.step <= step]


def _merged_card(one: CardSample, span: float, other: CardSample, other_span: float) -> CardSample:
    throttling = None if one.throttling is None and other.throttling is None else (one.throttling or 0) | (other.throttling or 0)
    return CardSample(
        index=other.index,
        utilisation=_mean(one.utilisation, span, other.utilisation, other_span),
        memory=_most(one.memory, other.memory),
        of_memory=_most(one.of_memory, other.of_memory),
        temperature=_most(one.temperature, other.temperature),
        power=_mean(one.power, span, other.power, other_span),
        throttling=throttling,
        processes=_most(one.processes, other.processes),
    )


def _mean(one: float | None, span: float, other: float | None, other_span: float) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return (one * span + other * other_span) / (span + other_span)


def _most(one: Any, other: Any) -> Any:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _sums(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}
