"""Limits and ticks of an axis: round numbers, chosen so that they rarely change while the data grows."""

from __future__ import annotations

import math
from itertools import pairwise

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ENDS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def nice_step(span: float, max_parts: int) -> float:
    """The smallest round step that divides `span` into at most `max_parts` parts."""
    raw = span / max(1, max_parts)
    if not raw > 0 or not math.isfinite(raw):
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next((step * power for step in _STEPS if step * power >= raw * (1 - 1e-9)), 10 * power)


def nice_end(value: float) -> float:
    """The smallest round number that is not below a positive value: 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten."""
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((end * power for end in _ENDS if end * power >= value * (1 - 1e-9)), 10 * power)


def linear_limits(low: float, high: float, parts: int = 4) -> tuple[float, float]:
    """Limits around `low..high` on multiples of a round step; they do not go below zero for data that does not."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad if low else 0.0, high + pad
    step = nice_step(high - low, parts)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def log_limits(low: float, high: float) -> tuple[float, float]:
    """Limits around `low..high` (both positive) at 1, 2 or 5 times a power of ten."""

    def snap(value: float, up: bool) -> float:
        power = 10.0 ** math.floor(math.log10(value))
        ends = [end * power for end in (1, 2, 5, 10)]
        if up:
            return next((end for end in ends if end >= value * (1 - 1e-9)), ends[-1])
        return next((end for end in reversed(ends) if end <= value * (1 + 1e-9)), power)

    bottom, top = snap(low, False), snap(high, True)
    return (bottom, top) if top > bottom else (bottom / 2, top * 2)


def linear_ticks(low: float, high: float, max_parts: int) -> list[float]:
    """Round numbers within the limits, at most `max_parts` + 1 of them."""
    step = nice_step(high - low, max_parts)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [i * step for i in range(first, min(last, first + 100) + 1)]


def log_ticks(low: float, high: float, max_ticks: int) -> list[float]:
    """Powers of ten within the limits (every second, third … if there are many), with 2 and 5 between if there are few."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = range(first, last + 1)
    if len(decades) > max_ticks:
        stride = -(-len(decades) // max(1, max_ticks))
        return [10.0**e for e in decades if e % stride == 0]
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**e for e in range(first - 1, last + 1) for f in factors]
        ticks = [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
        if len(ticks) <= max(2, max_ticks):
            return ticks
    return ticks


def tick_labels(ticks: list[float], percent: bool = False, even: bool = True) -> list[str]:
    """A label for each tick, with the decimals that the step between them needs and at most four significant digits."""
    values = [t * 100 if percent else t for t in ticks]
    if not values:
        return []
    largest = max(abs(v) for v in values)
    steps = [b - a for a, b in pairwise(values)]
    step = min((abs(s) for s in steps if s), default=largest or 1.0)
    if largest >= 1e6 or (0 < largest < 1e-3):
        return [_scientific(v) for v in values]
    even = even and bool(steps) and max(steps) - min(steps) < step * 1e-3
    if not even:
        return [_bare(v) + (" %" if percent else "") for v in values]
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    if round(step * 10**places, 6) != int(round(step * 10**places, 6)):
        places += 1
    return [f"{v + 0.0:,.{min(places, 6)}f}" + (" %" if percent else "") for v in values]


def _bare(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return _scientific(value)
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def _scientific(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
