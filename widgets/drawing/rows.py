"""Rows of styled segments, which every widget is painted in: text over them, messages, status lines."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.text import fit

Row = list[Segment]
"""One line of a widget."""


def message_rows(message: str, width: int, height: int, palette: Palette) -> list[Row]:
    """A muted message in the middle, wrapped at words."""
    lines: list[str] = []
    line = ""
    for word in message.split():
        if line and cell_len(line) + 1 + cell_len(word) > max(1, width - 2):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines = [*lines, line][:height]
    style = palette.style("muted")
    top: list[Row] = [[] for _ in range((height - len(lines)) // 2)]
    return top + [[Segment(fit(" " * max(0, (width - len(line)) // 2) + line, width), style)] for line in lines]


def status_row(left: str, width: int, palette: Palette, right: str = "", strong: bool = False) -> Row:
    """The line under a widget: a readout at the left, how much is out of sight at the right."""
    right = fit(f" {right}", min(width, cell_len(right) + 1)) if right else ""
    room = max(0, width - cell_len(right))
    return [Segment(fit(left, room), palette.style("text" if strong else "muted")), Segment(right, palette.style("muted"))]


def out_of_sight(above: int, below: int, what: str = "") -> str:
    """How much scrolling would show: `3 above ↑  12 more ↓`, or where `what` names one of them, `3 lines above ↑`."""

    def counted(count: int) -> str:
        return f"{count} {what}{'s' * (count > 1)}" if what else str(count)

    parts = (f"{counted(above)} above ↑" if above > 0 else "", f"{counted(below)} more ↓" if below > 0 else "")
    return "  ".join(part for part in parts if part)


def overlay(row: Row, start: int, text: str, style: Style) -> Row:
    """The row with text written over it from cell `start` on; unchanged when the text does not fit."""
    strip = Strip(row)
    end = start + cell_len(text)
    if start < 0 or end > strip.cell_length:
        return row
    return [*(strip.crop(0, start) if start else ()), Segment(text, style), *(strip.crop(end) if end < strip.cell_length else ())]


def pieces(segments: list[tuple[int, str, str]], width: int, palette: Palette) -> Row:
    """A row made from `(column, text, colour name)`, with spaces between; a piece that would overlap the one before is left out."""
    row: Row = []
    end = 0
    for column, text, name in sorted(segments):
        if column < end or column >= width:
            continue
        if column > end:
            row.append(Segment(" " * (column - end), palette.blank))
        row.append(Segment(text, palette.style(name)))
        end = column + len(text)
    return row
