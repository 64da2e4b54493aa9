"""What stands in the terminal, cell by cell, so that of a part that is drawn anew only the cells that changed are sent.

Textual sends every line of a part that was refreshed, whole, and every style in full. Of a chart or a plane, most cells are what they were
a moment ago, and neighbours differ in one colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.control import Control
from rich.segment import Segment
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.geometry import Size
from textual.screen import Screen
from textual.strip import Strip

from dlplay.widgets.drawing.glyphs import Characters, replacements


class Look(NamedTuple):
    """A style as the numbers of SGR sequences (ECMA-48, 8.3.117), each empty where the terminal's own is meant."""

    attributes: str = ""
    foreground: str = ""
    background: str = ""


PLAIN = Look()
Cell = tuple[str, Look]
BEHIND: Cell = ("", PLAIN)
"""The cell behind a wide character."""
UNKNOWN: Cell = ("\0", PLAIN)
WORTH_A_MOVE = 4
"""So many unchanged cells in a row are passed over; fewer are sent again, which takes fewer bytes."""


class ShownCells:
    """What the terminal was sent. What is to be sent `whole` is, which heals a terminal that others wrote to."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Cell]] = {}
        self._looks: dict[str, Look] = {}
        """By the style's SGR sequence: styles themselves also differ in what is no look, such as the offset of a selection."""

    def take(self, update: CompositorUpdate, console: Console, *, whole: bool = True) -> str:
        """Remember the update; returns what has to be sent, so that the terminal shows it."""
        if isinstance(update, ChopsUpdate):
            return "".join(self._changes(_pieces(update), console))
        if isinstance(update, LayoutUpdate) and not whole:
            return "".join(self._changes(_lines(update), console))
        self._rows.clear()
        if isinstance(update, LayoutUpdate):
            for x, y, segments in _lines(update):
                self._changed(x, y, self._cells(segments, console))
        return update.render_segments(console)

    def _changes(self, pieces: Iterable[tuple[int, int, Iterable[Segment]]], console: Console) -> Iterator[str]:
        look = PLAIN
        for x, y, segments in pieces:
            new = self._cells(segments, console)
            for start, stop in self._changed(x, y, new):
                yield Control.move_to(x + start, y).segment.text
                for character, its in new[start:stop]:
                    if character and its != look:
                        yield _to(its, look)
                        look = its
                    yield character
        if look != PLAIN:
            yield "\x1b[0m"

    def _changed(self, x: int, y: int, new: list[Cell]) -> list[tuple[int, int]]:
        """Remember a line's new cells from column x on; returns where they differ from those before, from and to."""
        row = self._rows.setdefault(y, [])
        row += [UNKNOWN] * (x + len(new) - len(row))
        runs = list(_runs(row[x : x + len(new)], new))
        row[x : x + len(new)] = new
        return runs

    def _cells(self, segments: Iterable[Segment], console: Console) -> list[Cell]:
        cells: list[Cell] = []
        for text, style, _ in segments:
            ansi = "" if style is None else style._ansi or Strip.render_ansi(style, console._color_system or ColorSystem.TRUECOLOR)
            if (look := self._looks.get(ansi)) is None:
                look = self._looks[ansi] = look_of(ansi)
            if text.isascii():
                cells += [(character, look) for character in text]
                continue
            for character in text:
                width = get_character_cell_size(character)
                if width or not cells:
                    cells.append((character, look))
                    cells += [BEHIND] * (width - 1)
                else:  # a mark on the character before
                    at = len(cells) - 1 - (cells[-1] is BEHIND)
                    cells[at] = (cells[at][0] + character, cells[at][1])
        return cells


class ChangedCells(CompositorUpdate):
    """An update of which only the changed cells are sent, in characters that the terminal has. What is not sent is not remembered."""

    def __init__(self, update: CompositorUpdate, shown: ShownCells, characters: Characters = "all", *, whole: bool = True) -> None:
        self.update, self.shown, self.characters, self.whole = update, shown, characters, whole

    def render_segments(self, console: Console) -> str:
        text = self.shown.take(self.update, console, whole=self.whole)
        return text if self.characters == "all" else text.translate(replacements(self.characters))


class SendsChangedCells(App[None]):
    """A mixin for the app."""

    characters: Characters = "all"
    """What the terminal can draw."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = ShownCells()
        self._drawn: tuple[Screen[Any], Size] | None = None
        """The last screen that nothing shows through, and the window's size."""

    def on_resize(self) -> None:
        """It may be of the same size, and come from the driver: then the process was stopped, and the terminal used by others."""
        self._drawn = None

    def send_everything(self) -> None:
        """Send every cell anew: the terminal is another one, or missed something."""
        self._shown, self._drawn = ShownCells(), None
        if self.screen_stack:
            self.screen.refresh()

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if isinstance(renderable, CompositorUpdate) and not self.is_inline:
            # where the same screen is laid out anew, or one that it shows through comes or goes, most cells are what they were
            through = screen.styles.background.a < 1 and self._drawn is not None
            drawn = (self._drawn[0] if through and self._drawn else screen, self.size)
            renderable = ChangedCells(renderable, self._shown, self.characters, whole=drawn != self._drawn)
            self._drawn = drawn
        super()._display(screen, renderable)


def _pieces(update: ChopsUpdate) -> Iterator[tuple[int, int, Iterable[Segment]]]:
    """The column, the line and the content of each part of the update, as `ChopsUpdate.render_segments` sends them."""
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x <= x2 and end > x1:
                yield x, y, strip if x2 > x >= x1 and end <= x2 else strip.crop(0, min(end, x2) - x)


def _lines(update: LayoutUpdate) -> Iterator[tuple[int, int, Iterable[Segment]]]:
    """The column, the line and the content of each line of the update."""
    for y, line in enumerate(update.strips, update.region.y):
        yield update.region.x, y, (segment for strip in line for segment in strip)


def _runs(old: list[Cell], new: list[Cell]) -> Iterator[tuple[int, int]]:
    """Where they differ, from and to; two such places that are close to each other as one."""
    start = stop = -1
    for at, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            if start < 0:
                start = at
            elif at - stop >= WORTH_A_MOVE:
                yield start, stop
                start = at
            stop = at + 1
    if start >= 0:
        yield start, stop


def look_of(sequence: str) -> Look:
    """The parts of an SGR sequence such as `1;38;5;201`."""
    numbers = sequence.split(";")
    kinds: dict[str, list[str]] = {"attributes": [], "foreground": [], "background": []}
    while numbers != [""] and numbers:
        first = numbers.pop(0)
        kind = "foreground" if first[:-1] in ("3", "9") else "background" if first[:-1] in ("4", "10") else "attributes"
        count = {"2": 4, "5": 2}[numbers[0]] if first in ("38", "48") else 0
        kinds[kind] += [first, *numbers[:count]]
        del numbers[:count]
    return Look(**{kind: ";".join(found) for kind, found in kinds.items()})


def _to(look: Look, before: Look) -> str:
    """The sequence that changes one look to another: what differs, or everything anew where something is to go."""
    ends = look.attributes != before.attributes or any(had and not has for has, had in zip(look, before, strict=True))
    parts = ["0", *look] if ends else [has for has, had in zip(look, before, strict=True) if has != had]
    return f"\x1b[{';'.join(filter(None, parts))}m"
