"""What the machine did over a whole run, as a table. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dlplay.engine.machine import THROTTLING, CardSample, Sample, card_of, rate
from dlplay.engine.panels import Table
from dlplay.engine.units import size

COLUMNS = ["", "mean", "most", "last"]
Value = Callable[[Sample], float | None]


def figures(samples: Sequence[Sample]) -> Table:
    """A row for each thing that was measured: its mean over time, the most, and the last."""
    if not samples:
        return Table(columns=COLUMNS, rows=[], caption="nothing is recorded: a run records a sample a second while it trains")
    rows: list[list[str]] = []

    def row(name: str, value: Value, form: Callable[[float], str]) -> None:
        known = [(found, sample.span) for sample in samples if (found := value(sample)) is not None]
        if known:
            mean = sum(found * span for found, span in known) / sum(span for _, span in known)
            rows.append([name, form(mean), form(max(found for found, _ in known)), form(known[-1][0])])

    row("steps per second", lambda sample: rate(sample, sample.step - sample.first), _number)
    row("examples per second", lambda sample: rate(sample, sample.examples), _number)
    if any(sample.tokens for sample in samples):
        row("tokens per second", lambda sample: rate(sample, sample.tokens), _number)
    row("processors, all programs", lambda sample: sample.cpu, _percent)
    row("processors that this run kept busy", lambda sample: sample.own_cpu, "{:.2f}".format)
    row("memory of this process", lambda sample: sample.memory, size)
    for index in sorted({card.index for sample in samples for card in sample.cards}):
        _card_rows(row, samples, index)
        rows += _throttling(samples, index)
    if (written := samples[-1].written) is not None:
        rows.append(["written to the disk by its last process", "", "", size(written)])
    seconds = sum(sample.span for sample in samples)
    last = samples[-1].step
    return Table(columns=COLUMNS, rows=rows, right=[1, 2, 3], caption=f"{len(samples):,} samples of {duration(seconds)}, to step {last:,}")


def _card_rows(row: Callable[[str, Value, Callable[[float], str]], None], samples: Sequence[Sample], index: int) -> None:
    def of(value: Callable[[CardSample], float | None]) -> Value:
        return lambda sample: None if (card := card_of(sample, index)) is None else value(card)

    name = f"cuda:{index}"
    sizes = [card.of_memory for sample in samples for card in sample.cards if card.index == index and card.of_memory]
    row(f"{name} utilisation", of(lambda card: card.utilisation), _percent)
    row(f"{name} memory" + (f" of {size(sizes[-1])}" if sizes else ""), of(lambda card: card.memory), size)
    row(f"{name} temperature", of(lambda card: card.temperature), "{:.0f} °C".format)
    row(f"{name} power", of(lambda card: card.power), "{:.0f} W".format)
    row(f"{name} processes", of(lambda card: card.processes), "{:.0f}".format)


def _throttling(samples: Sequence[Sample], index: int) -> Iterable[list[str]]:
    """For how much of the time the clocks of a card were held down, and why."""
    told = [(card.throttling, sample.span) for sample in samples for card in sample.cards if card.index == index]
    known = [(bits, span) for bits, span in told if bits is not None]
    if not known:
        return
    total = sum(span for _, span in known)
    held = [(words, sum(span for bits, span in known if bits & bit) / total) for bit, words in THROTTLING.items()]
    last = known[-1][0]
    for words, share in held:
        if share:
            now = any(words == other and last & bit for bit, other in THROTTLING.items())
            yield [f"cuda:{index} throttled: {words}", f"{_percent(share)} of the time", "", "yes" if now else "no"]
    if not any(share for _, share in held):
        yield [f"cuda:{index} throttled", "never", "", ""]


def duration(seconds: float) -> str:
    """In its largest unit, such as 3.2 min."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
