"""Amounts in words."""

from __future__ import annotations


def size(amount: float) -> str:
    """Bytes: 1.2 GB, 64 MB; in powers of 1,000, as the tools of disks and devices count."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= scale:
            return f"{amount / scale:.{1 if amount < 10 * scale else 0}f} {unit}"
    return f"{amount:.0f} B"


def numbered(what: str, number: int, count: int) -> str:
    """Which of several that is, and which there are: layer 2 (0–3). Of one there is nothing to say: layer 0."""
    return f"{what} {number:,} (0–{count - 1:,})" if count > 1 else f"{what} {number:,}"
