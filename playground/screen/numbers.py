"""Numbers as the screen shows them: at most four significant digits, of constant width, with their units; and names in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlplay.engine.events import RankStatus

WORDS = {"top1": "top-1 accuracy", "mse": "squared error", "q": "Q", "td": "TD", "grad": "gradient"}
"""What parts of names say, where that is no word."""


def words(name: str) -> str:
    """A metric or a setting in words: `val_top1` is `val top-1 accuracy`."""
    return " ".join(WORDS.get(part, part) for part in name.split("_"))


def measure(value: float | None, *, percent: bool = False) -> str:
    """Four significant digits in six to eight characters: 0.0312, 12.41, 1,240, 3.1e-05; 98.61 % with `percent`."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if percent:
        return f"{100 * value:.2f} %"
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        return f"{value:.2e}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{3 if size < 10 else 2 if size < 100 else 1}f}" if size >= 0.1 or size == 0 else f"{value:.4f}"


def count(value: int) -> str:
    """With thousands separators: 1,240."""
    return f"{value:,}"


def rate(per_second: float) -> str:
    """Steps per second: 412, 3.1, 12,400."""
    if per_second >= 100:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}"


def ago(seconds: float) -> str:
    """12 s, 3 min, 2 h, 4 d: how long ago, in the largest unit of which there are at least two."""
    seconds = max(0.0, seconds)
    for unit, scale in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * scale:
            return f"{seconds / scale:.0f} {unit}"
    return f"{seconds:.0f} s"


def of_ranks(ranks: Sequence[RankStatus]) -> list[str]:
    """How several ranks do, in a few words: the use of each one's device, and how long the one that waits most waits for the slowest."""
    if not ranks:
        return []
    known = [100 * rank.utilisation for rank in ranks if rank.utilisation is not None]
    shown = " ".join(f"{value:.0f}" for value in known) if len(known) <= 4 else f"{min(known):.0f} to {max(known):.0f}"
    busy = f" {shown} %" if known else ""
    return [f"{len(ranks)} ranks{busy}", f"waiting {100 * max(rank.waiting for rank in ranks):.0f} %"]
