"""Text with SGR colours as styled rows; every other control sequence is dropped."""

from __future__ import annotations

import re
import unicodedata

from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row

# an SGR colour, which is kept; any other CSI sequence, a string for the terminal, or another two-character sequence, which is dropped
_SEQUENCE = re.compile(r"(?P<colour>\x1b\[[0-9;:]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|\x1b")
MAX_LENGTH = 20_000
"""Characters of a text that are shown."""


def sanitise(text: str) -> str:
    """The text with its colours and line breaks, and no other control character."""
    kept = _SEQUENCE.sub(lambda match: match["colour"] or "", text[:MAX_LENGTH].replace("\r\n", "\n").expandtabs(8))
    return "".join(c for c in kept if c in "\n\x1b" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def lines(text: str) -> list[Text]:
    """The lines of a text with their colours, without empty ones at either end."""
    found = [Text.from_ansi(line) if line else Text() for line in sanitise(text).split("\n")]
    while found and not found[0].plain.strip():
        del found[0]
    while found and not found[-1].plain.strip():
        del found[-1]
    return found


def rows(text: str, width: int, height: int, palette: Palette) -> list[Row]:
    """The text in the middle of `height` x `width` cells, each character enlarged as far as fits, up to three times."""
    drawn = lines(text)
    if not drawn or width < 1 or height < 1:
        return []
    longest = max(line.cell_len for line in drawn)
    scale = max(1, min(3, width // max(1, 2 * longest), height // len(drawn)))
    wide = 2 * scale if width >= 2 * longest else 1
    left = Segment(" " * max(0, (width - wide * longest) // 2), palette.blank)
    result: list[Row] = [[] for _ in range(max(0, (height - scale * len(drawn)) // 2))]
    for line in drawn:
        for below in range(scale):
            result.append([left, *_enlarged(line, wide, below == (scale - 1) // 2, palette)])
    return result[:height]


def _enlarged(line: Text, wide: int, with_characters: bool, palette: Palette) -> Row:
    row: Row = []
    before = (wide - 1) // 2
    for text, style in _runs(line):
        shown = "".join(" " * before + c + " " * (wide - 1 - before) for c in text) if with_characters else " " * (wide * len(text))
        row.append(Segment(shown, _visible(style, palette)))
    return row


def _runs(line: Text) -> list[tuple[str, Style]]:
    """The text in runs of one style."""
    styles = [Style()] * len(line.plain)
    for span in line.spans:
        if isinstance(span.style, Style):
            for at in range(span.start, min(span.end, len(styles))):
                styles[at] = styles[at] + span.style
    runs: list[tuple[str, Style]] = []
    for character, style in zip(line.plain, styles, strict=True):
        if runs and runs[-1][1] == style:
            runs[-1] = (runs[-1][0] + character, style)
        else:
            runs.append((character, style))
    return runs


def _visible(style: Style, palette: Palette) -> Style:
    """The style on the widget's background; without colours, text on a coloured background is reversed."""
    if palette.mode == "mono":
        return palette.style("text", bold=bool(style.bold), reverse=style.bgcolor is not None or bool(style.reverse))
    return palette.blank + style
