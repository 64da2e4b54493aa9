"""How well a colour can be told from what it stands on: contrast as WCAG 2.2 defines it, and colours moved until they have enough."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rich.color import Color, ColorSystem

RGB = tuple[int, int, int]

TEXT = 4.5
"""Contrast that text needs (WCAG 2.2, 1.4.3)."""
LINE = 3.0
"""Contrast that a line needs, or anything else that is looked for (WCAG 2.2, 1.4.11)."""
_STEPS = 50


def brightness(colour: RGB) -> float:
    """Relative luminance, 0 (black) to 1 (white)."""
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (c / 255 for c in colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: RGB, other: RGB) -> float:
    """1 (alike) to 21 (black and white)."""
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


def of_256(colour: RGB) -> RGB:
    """The colour as a terminal with 256 of them shows it."""
    shown = Color.from_rgb(*colour).downgrade(ColorSystem.EIGHT_BIT).get_truecolor()
    return shown.red, shown.green, shown.blue


def readable(colour: RGB, grounds: Sequence[RGB], least: float, few: bool = False) -> RGB:
    """The colour, moved towards white or black as little as gives it this contrast on every one of the grounds.

    Where none has, white or black, whichever comes nearer. `few`: in a terminal with 256 colours.
    """
    return _readable(colour, tuple(grounds), least, few)


@lru_cache(maxsize=4096)
def _readable(colour: RGB, grounds: tuple[RGB, ...], least: float, few: bool) -> RGB:
    behind = [of_256(ground) for ground in grounds] if few else grounds

    def worst(candidate: RGB) -> float:
        candidate = of_256(candidate) if few else candidate
        return min(contrast(candidate, ground) for ground in behind)

    end: RGB = max(((0, 0, 0), (255, 255, 255)), key=worst)
    for step in range(_STEPS):
        share = step / _STEPS
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, end, strict=True))
        if worst((red, green, blue)) >= least:
            return red, green, blue
    return end


def lightness(colour: RGB) -> float:
    """CIE L*, 0 (black) to 100 (white): even steps of it look even."""
    share = brightness(colour)
    return 116 * share ** (1 / 3) - 16 if share > 216 / 24389 else share * 24389 / 27


def blend(a: RGB, b: RGB, share: float) -> RGB:
    """`a` mixed with `share` (0..1) of `b`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]
