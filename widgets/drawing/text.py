"""Labels and numbers of a fixed width: cut with an ellipsis, without control characters, with at most four significant digits."""

from __future__ import annotations

import math
import unicodedata

from rich.cells import cell_len, set_cell_size

_VISIBLE = {"\n": "↵", "\r": "↵", "\t": "⇥"}


def plain(text: str) -> str:
    """Text that is safe to print: line breaks and tabs become arrows, other control characters a middle dot."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_VISIBLE.get(c, "·") if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def narrow(text: str) -> str:
    """Plain text with one cell per character: a wider character becomes □, one without width is left out."""
    text = plain(text)
    if text.isascii():
        return text
    return "".join(c if cell_len(c) == 1 else "□" for c in text if cell_len(c))


def fit(text: str, width: int, right: bool = False) -> str:
    """Exactly `width` cells of text: padded (to the left when `right`), or cut with `…`."""
    text = plain(text)
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def width_of(texts: list[str], limit: int) -> int:
    """Cells that the widest text takes, at most `limit`."""
    return min(limit, max((cell_len(plain(text)) for text in texts), default=0))


def figure(value: float | None, percent: bool = False, unit: str = "", short: bool = False) -> str:
    """A number with at most four significant digits; NaN and None become a dash. `percent` takes a fraction (0..1).

    `short` leaves out zeros at the end, for numbers that do not change.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value * 100:,.1f}" if percent else _digits(value)
    if short and "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} %" if percent else f"{text} {unit}" if unit else text


def _digits(value: float) -> str:
    rounded = float(f"{value:.4g}")
    size = abs(rounded)
    if size >= 1e7 or 0 < size < 1e-4:
        return _power(value, 2)
    if size >= 1000 or size == round(size):
        return f"{value:,.0f}"
    return f"{rounded:.{min(6, 3 - math.floor(math.log10(size)))}f}"


def _power(value: float, places: int) -> str:
    mantissa, exponent = f"{value:.{places}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def aligned(values: list[float], percent: bool = False) -> list[str]:
    """Numbers for one column: all with the same number of decimals, as many as the largest allows within four significant digits."""
    finite = [abs(v) * (100 if percent else 1) for v in values if math.isfinite(v)]
    largest = max(finite, default=0.0)
    if percent:
        return [figure(v, percent=True) for v in values]
    if largest and (largest >= 1e7 or largest < 1e-3):
        return [figure(v) if not math.isfinite(v) else _power(v, 2) if v else "0" for v in values]
    whole = all(v == round(v) for v in finite)
    places = 0 if whole or largest >= 1000 else 3 - (int(math.log10(largest)) if largest >= 1 else 0)
    return [figure(v) if not math.isfinite(v) else f"{v:,.{places}f}" for v in values]
