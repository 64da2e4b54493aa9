"""Names with their values, one below the other."""

from __future__ import annotations

from collections.abc import Mapping

from rich.segment import Segment

from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit, plain, width_of

GAP = 2


class Facts(Surface, can_focus=False):
    """A list in as many columns as it needs to fit its height; the last line counts the facts that still do not fit."""

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.facts: list[tuple[str, str]] = []

    def show(self, facts: Mapping[str, str]) -> None:
        """Show these, in order."""
        self.facts = [(plain(name), plain(value)) for name, value in facts.items()]
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.facts:
            return []
        least = (
            width_of([name for name, _ in self.facts], max(4, width // 2)) + 1 + min(12, width_of([value for _, value in self.facts], 40))
        )
        columns = max(1, min(-(-len(self.facts) // height), (width + GAP) // (least + GAP)))
        lines = min(height, -(-len(self.facts) // columns))
        shown = [self.facts[first : first + lines] for first in range(0, columns * lines, lines)]
        names, values = ([width_of([fact[i] for fact in column], width) for column in shown] for i in (0, 1))
        if sum(names) + sum(values) + columns + GAP * (columns - 1) > width:  # equal columns, whose values are cut
            wide = (width + GAP) // columns - GAP
            names = [min(name, max(4, wide // 2)) for name in names]
            values = [max(1, wide - name - 1) for name in names]
        rows: list[Row] = []
        for line in range(lines):
            row: Row = []
            for column, label, room in zip(shown, names, values, strict=True):
                name, value = column[line] if line < len(column) else ("", "")
                row.append(Segment(fit(name, label) + " ", palette.style("muted")))
                row.append(Segment(fit(value, room) + " " * GAP, palette.style("text")))
            rows.append(row)
        hidden = len(self.facts) - len(rows) * columns
        if hidden > 0:
            rows[-1] = [Segment(fit(f"{hidden + columns} more", width), palette.style("muted"))]
        return rows
