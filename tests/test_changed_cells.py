"""What is sent to the terminal: the changed cells alone, and yet the terminal shows the same as if it were sent everything."""

from __future__ import annotations

import random

import pyte
import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from dlplay.screen.changed_cells import Look, ShownCells, look_of

WIDTH, HEIGHT = 24, 6
COLOURS = (None, "default", "red", "bright_blue", "color(200)", "#1b2029", "#ff8800", "#00ff88")
CHARACTERS = "  ab▀⣿─字é●"


def styles(pen: random.Random) -> list[Style | None]:
    found: list[Style | None] = [None]
    for _ in range(8):
        flags = {name: True for name in ("bold", "italic", "underline", "reverse", "strike") if pen.random() < 0.3}
        found.append(Style(color=pen.choice(COLOURS), bgcolor=pen.choice(COLOURS), **flags))
    return found


def a_strip(pen: random.Random, known: list[Style | None], width: int) -> Strip:
    segments: list[Segment] = []
    while width:
        text = "".join(pen.choice(CHARACTERS) for _ in range(pen.randint(1, 5)))
        segment, _ = Segment(text, pen.choice(known)).split_cells(width)
        segments.append(segment)
        width -= segment.cell_length
    return Strip(segments)


def a_change(pen: random.Random, known: list[Style | None], before: list[Strip]) -> ChopsUpdate:
    """Some lines anew, in one or two parts; most cells of a line are often what they were."""
    chops: list[dict[int, Strip | None]] = [{} for _ in range(HEIGHT)]
    ends: list[list[int]] = [[] for _ in range(HEIGHT)]
    spans = []
    for y in sorted(pen.sample(range(HEIGHT), pen.randint(1, HEIGHT))):
        cut = pen.randint(1, WIDTH - 1)
        new = a_strip(pen, known, cut), a_strip(pen, known, WIDTH - cut)
        if pen.random() < 0.5:
            new = before[y].crop(0, cut), new[1]
        before[y] = Strip.join(new)
        chops[y], ends[y] = dict(zip((0, cut), new, strict=True)), [cut, WIDTH]
        spans.append((y, 0, WIDTH))
    return ChopsUpdate(chops, spans, ends)


def a_console(system: ColorSystem = ColorSystem.TRUECOLOR) -> Console:
    console = Console(force_terminal=True, width=WIDTH)
    console._color_system = system
    return console


@pytest.mark.parametrize("seed", range(12))
def test_a_terminal_shows_the_same_as_if_it_were_sent_everything(seed: int) -> None:
    pen, console = random.Random(seed), a_console()
    screens = [pyte.Screen(WIDTH, HEIGHT) for _ in range(2)]
    streams = [pyte.Stream(screen) for screen in screens]
    shown, sent = ShownCells(), [0, 0]
    known = styles(pen)
    for number in range(30):
        if number % 10 == 0:
            before = [a_strip(pen, known, WIDTH) for _ in range(HEIGHT)]
            update = LayoutUpdate([[strip] for strip in before], Region(0, 0, WIDTH, HEIGHT))
        else:
            update = a_change(pen, known, before)
        whole = not number or number == 20
        for side, text in enumerate((update.render_segments(console), shown.take(update, console, whole=whole))):
            streams[side].feed(text)
            sent[side] += len(text)
        for y in range(HEIGHT):
            assert [screens[1].buffer[y][x] for x in range(WIDTH)] == [screens[0].buffer[y][x] for x in range(WIDTH)], (number, y)
    assert sent[1] < sent[0]


def test_what_has_not_changed_is_not_sent() -> None:
    console = a_console()
    shown, red = ShownCells(), Style(color="#ff0000", bgcolor="#000000")
    line = Strip([Segment("a chart, and ", red), Segment("its figure", red)])
    shown.take(LayoutUpdate([[line]], Region(0, 0, 23, 1)), console)
    assert shown.take(ChopsUpdate([{0: line}], [(0, 0, 23)], [[23]]), console) == ""
    assert shown.take(LayoutUpdate([[line]], Region(0, 0, 23, 1)), console, whole=False) == ""
    other = Strip(
        [
            Segment("a chart, and ", red),
            Segment("its ", red),
            Segment("f", Style(color="#ff0000", bgcolor="#000011")),
            Segment("igure", red),
        ]
    )
    assert shown.take(ChopsUpdate([{0: other}], [(0, 0, 23)], [[23]]), console) == "\x1b[1;18H\x1b[38;2;255;0;0;48;2;0;0;17mf\x1b[0m"


@pytest.mark.parametrize(("sequence", "look"), [
    ("", Look()),
    ("1;4;38;2;1;2;3;101", Look("1;4", "38;2;1;2;3", "101")),
    ("38;5;201;48;5;17", Look("", "38;5;201", "48;5;17")),
    ("39;48;5;18", Look("", "39", "48;5;18")),
    ("7;9;31;42", Look("7;9", "31", "42")),
])  # fmt: skip
def test_a_sequence_is_its_attributes_and_two_colours(sequence: str, look: Look) -> None:
    assert look_of(sequence) == look
