"""The names of a chart's guides: in a gutter right of the plot, in order of their values, each beside its line if possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment

from dlplay.widgets.charts.chart import Guide
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.text import figure, fit, narrow

ROOMY = 40
"""Cells of width from which the names have a gutter; in a narrower chart they share one line under the legend."""
MIN_NAME = 6
"""Cells that must be left for a name, with its value behind it."""


@dataclass(frozen=True)
class Entry:
    """One row of the gutter: the row of the guide's line, an arrow if that is out of sight, the name, and its value (and other names)."""

    row: int
    arrow: str
    name: str
    value: str

    @property
    def text(self) -> str:
        """The arrow, the name and the value."""
        return f"{self.arrow} {self.name} {self.value}".lstrip()

    def lines(self, width: int, max_lines: int) -> list[str]:
        """The same in at most `max_lines` (1 or 2) lines of `width` cells: the name is cut before the value."""
        if len(self.text) <= width:
            return [self.text]
        head = f"{self.arrow} " if self.arrow else ""
        if max_lines > 1 and " " in self.name:
            upper, lower = self._halves(width - len(head))
            return [
                head + fit(upper, width - len(head)).rstrip(),
                " " * len(head) + Entry(0, "", lower, self.value).lines(width - len(head), 1)[0],
            ]
        room = width - len(self.value) - 1 - len(head)
        return [f"{head}{fit(self.name, room)} {self.value}" if room >= MIN_NAME else fit(self.text, width)]

    def _halves(self, width: int) -> tuple[str, str]:
        """As many words of the name as fit in a line, all but one at most, and the others."""
        words = self.name.split()
        count = max(i for i in range(1, len(words)) if i == 1 or len(" ".join(words[:i])) <= width)
        return " ".join(words[:count]), " ".join(words[count:])


def name_and_value(guide: Guide, percent: bool) -> str:
    """Name and value of one guide."""
    return narrow(f"{guide.name} {figure(guide.value, percent, short=True)}")


def gutter_width(guides: Sequence[Guide], percent: bool, width: int, height: int) -> int:
    """Cells for the longest name (the two longest, with fewer rows than names), an arrow and a space; at most a third of the chart."""
    lengths = sorted((len(name_and_value(g, percent)) for g in guides if math.isfinite(g.value)), reverse=True)
    if not lengths or width < ROOMY:
        return 0
    return min(lengths[0] + (lengths[1] + 3 if len(lengths) > height else 0) + 3, width // 3)


def one_line(guides: Sequence[Guide], percent: bool, width: int, palette: Palette) -> Row:
    """All names in one row, highest first."""
    finite = sorted((g for g in guides if math.isfinite(g.value)), key=lambda g: -g.value)
    return [Segment(fit("┄ " + " · ".join(name_and_value(g, percent) for g in finite), width), palette.style("guide"))]


def gutter(rows: list[int], guides: Sequence[Guide], percent: bool, width: int, height: int, palette: Palette) -> list[Row]:
    """The gutter's rows. `rows` are those of the guides' lines in the plot; one below 0 or from `height` on is out of sight."""
    entries = []
    for row, guide in zip(rows, guides, strict=True):
        arrow = "↑" if row < 0 else "↓" if row >= height else ""
        value = figure(guide.value, percent, short=True)
        entries.append((guide.value, Entry(min(max(row, 0), height - 1), arrow, narrow(guide.name), value)))
    ordered = _joined([entry for _, entry in sorted(entries, key=lambda pair: -pair[0])], width - 1, height)
    lines = [(entry.row, entry.lines(width - 1, 2)) for entry in ordered]
    if sum(len(parts) for _, parts in lines) > height:
        lines = [(entry.row, entry.lines(width - 1, 1)) for entry in ordered]
    wanted = [row + 1 - len(parts) + i for row, parts in lines for i in range(len(parts))]  # the last line is beside the dashes
    by_row = dict(zip(spread(wanted, height), (part for _, parts in lines for part in parts), strict=True))
    style = palette.style("guide")
    return [[Segment(fit(f" {by_row.get(row, '')}", width), style)] for row in range(height)]


def _joined(entries: list[Entry], width: int, height: int) -> list[Entry]:
    """Join neighbours into one row: those of the same row that fit, then the closest while there are more entries than rows."""
    while len(entries) > 1:
        pairs = [(b.row - a.row, len(a.text) + len(b.text), i) for i, (a, b) in enumerate(zip(entries, entries[1:], strict=False))]
        near = [pair for pair in pairs if pair[0] == 0 and pair[1] + 3 <= width and entries[pair[2]].arrow == entries[pair[2] + 1].arrow]
        if not near and len(entries) <= height:
            break
        _, _, i = min(near or pairs)
        upper, lower = entries[i : i + 2]
        other = f"{upper.name} {upper.value}" if upper.arrow == lower.arrow else upper.text
        entry = Entry(lower.row, lower.arrow, lower.name, f"{lower.value} · {other}")
        entries = [*entries[:i], entry, *entries[i + 2 :]]
    return entries


def spread(rows: list[int], height: int) -> list[int]:
    """A row of its own for each, in the same order and as near to `rows` (ascending) as possible: an isotonic regression."""
    blocks: list[tuple[float, int]] = []  # mean of (row - rank), how many
    for rank, row in enumerate(rows):
        mean, count = float(row - rank), 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean, count = (before * others + mean * count) / (others + count), count + others
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [min(max(math.floor(mean + 0.5), 0), max(0, height - len(rows))) + rank for rank, mean in enumerate(means)]
