"""The names of a chart's baselines: in a gutter right of the plot, in the order of their values, each beside its line if it can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment

from dlplay.widgets.chart_parts import Guide
from dlplay.widgets.palette import Palette
from dlplay.widgets.surface import Row
from dlplay.widgets.text import figure, fit, narrow

ROOMY = 40
"""Cells of width from which names have a gutter of their own; in a narrower chart they share one line under the legend."""
LEAST_OF_A_NAME = 6
"""Cells that are left of a name so that its value stands behind it."""


@dataclass(frozen=True)
class Name:
    """One row of the gutter: the row it belongs to, an arrow when that lies out of sight, a name, and its value (and other names)."""

    row: int
    arrow: str
    words: str
    value: str

    @property
    def text(self) -> str:
        """The arrow, the words and the value."""
        return f"{self.arrow} {self.words} {self.value}".lstrip()

    def lines(self, width: int, most: int) -> list[str]:
        """The same in at most `most` (1 or 2) lines of `width` cells: the name is cut before the value."""
        if len(self.text) <= width:
            return [self.text]
        head = f"{self.arrow} " if self.arrow else ""
        if most > 1 and " " in self.words:
            upper, lower = self._halves(width - len(head))
            return [
                head + fit(upper, width - len(head)).rstrip(),
                " " * len(head) + Name(0, "", lower, self.value).lines(width - len(head), 1)[0],
            ]
        room = width - len(self.value) - 1 - len(head)
        return [f"{head}{fit(self.words, room)} {self.value}" if room >= LEAST_OF_A_NAME else fit(self.text, width)]

    def _halves(self, width: int) -> tuple[str, str]:
        """As many of the words as fit in a line, but one, and the others."""
        words = self.words.split()
        count = max(i for i in range(1, len(words)) if i == 1 or len(" ".join(words[:i])) <= width)
        return " ".join(words[:count]), " ".join(words[count:])


def words(guide: Guide, percent: bool) -> str:
    """Name and value of one baseline."""
    return narrow(f"{guide.name} {figure(guide.value, percent, short=True)}")


def gutter_width(guides: Sequence[Guide], percent: bool, width: int, height: int) -> int:
    """Cells for the longest name (two, with fewer rows than names), an arrow and a space; at most a third of the chart."""
    lengths = sorted((len(words(g, percent)) for g in guides if math.isfinite(g.value)), reverse=True)
    if not lengths or width < ROOMY:
        return 0
    return min(lengths[0] + (lengths[1] + 3 if len(lengths) > height else 0) + 3, width // 3)


def one_line(guides: Sequence[Guide], percent: bool, width: int, palette: Palette) -> Row:
    """All names in one row, highest first."""
    known = sorted((g for g in guides if math.isfinite(g.value)), key=lambda g: -g.value)
    return [Segment(fit("┄ " + " · ".join(words(g, percent) for g in known), width), palette.style("guide"))]


def gutter(rows: list[int], guides: Sequence[Guide], percent: bool, width: int, height: int, palette: Palette) -> list[Row]:
    """The gutter's rows: `rows` says in which row of the plot each guide's line runs; below 0 or from `height` on it is out of sight."""
    names = []
    for row, guide in zip(rows, guides, strict=True):
        arrow = "↑" if row < 0 else "↓" if row >= height else ""
        value = figure(guide.value, percent, short=True)
        names.append((guide.value, Name(min(max(row, 0), height - 1), arrow, narrow(guide.name), value)))
    ordered = _joined([name for _, name in sorted(names, key=lambda pair: -pair[0])], width - 1, height)
    lines = [(name.row, name.lines(width - 1, 2)) for name in ordered]
    if sum(len(parts) for _, parts in lines) > height:
        lines = [(name.row, name.lines(width - 1, 1)) for name in ordered]
    wanted = [row + 1 - len(parts) + i for row, parts in lines for i in range(len(parts))]  # the last line beside the dashes
    by_row = dict(zip(spread(wanted, height), (part for _, parts in lines for part in parts), strict=True))
    style = palette.style("guide")
    return [[Segment(fit(f" {by_row.get(row, '')}", width), style)] for row in range(height)]


def _joined(names: list[Name], width: int, height: int) -> list[Name]:
    """Neighbours put into one row: those of the same row that fit, then the closest while there are more names than rows."""
    while len(names) > 1:
        pairs = [(b.row - a.row, len(a.text) + len(b.text), i) for i, (a, b) in enumerate(zip(names, names[1:], strict=False))]
        near = [pair for pair in pairs if pair[0] == 0 and pair[1] + 3 <= width and names[pair[2]].arrow == names[pair[2] + 1].arrow]
        if not near and len(names) <= height:
            break
        _, _, i = min(near or pairs)
        upper, lower = names[i : i + 2]
        other = f"{upper.words} {upper.value}" if upper.arrow == lower.arrow else upper.text
        name = Name(lower.row, lower.arrow, lower.words, f"{lower.value} · {other}")
        names = [*names[:i], name, *names[i + 2 :]]
    return names


def spread(rows: list[int], height: int) -> list[int]:
    """Rows of their own, in the same order and as near to these (ascending) as can be: an isotonic regression."""
    blocks: list[tuple[float, int]] = []  # mean of (row - rank), how many
    for rank, row in enumerate(rows):
        mean, count = float(row - rank), 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean, count = (before * others + mean * count) / (others + count), count + others
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [min(max(math.floor(mean + 0.5), 0), max(0, height - len(rows))) + rank for rank, mean in enumerate(means)]
