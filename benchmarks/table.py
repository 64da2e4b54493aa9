"""Lines of measured figures, with what they were promised to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Line:
    """One figure. `bound` is the target, if there is one, and `within` on which side of it the figure should be."""

    what: str
    value: float
    unit: str = ""
    bound: float | None = None
    within: Literal["least", "most"] = "least"
    spread: str = ""
    """How far the single measurements lie apart, in words."""

    @property
    def met(self) -> bool | None:
        """None where nothing was promised."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.within == "least" else self.value <= self.bound

    @property
    def promised(self) -> str:
        """The target and whether it was met, in words."""
        if self.bound is None:
            return ""
        return f"{'≥' if self.within == 'least' else '≤'} {figure(self.bound)}  {'met' if self.met else 'MISSED'}"


def figure(value: float) -> str:
    """Three significant digits, thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value else "0"


def spread(values: Iterable[float]) -> str:
    """Lowest to highest."""
    found = sorted(values)
    return f"{figure(found[0])} to {figure(found[-1])}"


def render(title: str, lines: Iterable[Line]) -> str:
    """A Markdown table."""
    rows = [("figure", "value", "single measurements", "target")]
    rows += [(line.what, f"{figure(line.value)} {line.unit}".strip(), line.spread, line.promised) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    body = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"### {title}", "", body[0], rule, *body[1:], ""])
