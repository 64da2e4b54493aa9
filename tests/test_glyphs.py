"""Terminals with few characters: what each is sent, and that nothing is lost by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App

from dlplay import architectures, cli
from dlplay.commands import grammar, runs, training
from dlplay.engine.settings import to_dict
from dlplay.runs import directory
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.changed_cells import ChangedCells, SendsChangedCells, ShownCells
from dlplay.widgets import __main__ as gallery
from dlplay.widgets.charts.curves import braille
from dlplay.widgets.charts.legend import GLYPHS
from dlplay.widgets.drawing import glyphs
from dlplay.widgets.drawing.cells import level_rows, rgb_rows
from dlplay.widgets.drawing.glyphs import Characters, replacements
from dlplay.widgets.drawing.palette import MARKERS, palette
from dlplay.widgets.scatter_cells import BOTH
from tests.contract.test_snapshots import PICTURED, ready, still  # noqa: F401
from tests.rooms import facts
from tests.screen_pilot import until
from tests.terminal import Terminal

ROOT = Path(__file__).resolve().parents[1]
ASCII = "".join(map(chr, range(32, 127)))
CONSOLE = ASCII + (
    "☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼⌂"
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
    "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■"
)
"""Code page 437, of which the console's own font consists."""
DRAWN: dict[Characters, str] = {"ascii": ASCII, "console": CONSOLE}
SEQUENCE = re.compile(r"\x1b\[[0-9;:?<>=$ ]*[@-~]|\x1b[\]P_][^\x07\x1b]*(?:\x07|\x1b\\)")
QUICK = ("gan", "gpt")
"""Tabs with pictures and with words; the others are slow."""
FEW = pytest.mark.parametrize("characters", list(DRAWN))


def shown_by(app: App[Any], characters: Characters) -> tuple[str, str]:
    """All cells of the screen: what they hold, and what is sent for them."""
    sent = [
        SEQUENCE.sub("", ChangedCells(app.screen._compositor.render_update(full=True), ShownCells(), which).render_segments(app.console))
        for which in ("all", characters)  # type: ignore[arg-type]
    ]
    return sent[0], sent[1]


def check(app: App[Any], characters: Characters) -> None:
    """Everything is drawn with these characters, and nothing became a question mark."""
    meant, sent = shown_by(app, characters)
    assert len(meant) > 1000
    assert set(sent) - {"\r", "\n"} <= set(DRAWN[characters])
    assert sent.count("?") == meant.count("?")


@FEW
def test_whatever_the_program_draws_has_a_replacement(characters: Characters) -> None:
    folders, kinds = ("playground", "widgets", "checkpoints"), ("*.py", "*.md")
    sources = {path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(kind)} - {Path(glyphs.__file__).resolve()}
    found = {c for path in sources for c in path.read_text() if not c.isascii()}
    assert len(found) > 80
    table = replacements(characters)
    assert {c: table[ord(c)] for c in found if "?" in table[ord(c)] or len(table[ord(c)]) != 1} == {}


@FEW
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_a_text_is_as_wide_as_it_was(characters: Characters, text: str) -> None:
    for character in text:
        after = character.translate(replacements(characters))
        assert cell_len(after) == cell_len(character)
        assert set(after) <= set(DRAWN[characters])


@FEW
def test_what_stands_beside_each_other_differs(characters: Characters) -> None:
    table = replacements(characters)
    for together in (
        MARKERS + BOTH + "◉⊕ ",
        "".join(pair[0] for pair in GLYPHS),
        " ░▒▓█",
        "→↗↑↖←↙↓↘ ",
        "━─",
        "▶‖✗○ ",
        "●▸ ",
        "▶◀[] ",
        "…·",
    ):
        assert len(set(together.translate(table))) == len(together), together


def test_shades_on_either_side_of_zero_differ_in_ascii() -> None:
    for halves in (True, False):
        shades = palette((0, 0, 0), (255, 255, 255), (255, 255, 255), "mono", halves).signed.shades
        assert len(set(shades.translate(replacements("ascii" if not halves else "console")))) == 9


@FEW
def test_a_curve_rises_and_falls_where_it_did(characters: Characters) -> None:
    def drawn(*rows: str) -> str:
        grid = np.array([[dot == "x" for dot in row] for row in rows])
        return "".join(chr(0x2800 + pattern) for pattern in braille(grid)[0]).translate(replacements(characters))

    flat = [drawn(*("xx" if row == at else "  " for row in range(4))) for at in range(4)]
    assert flat == (['"', "-", "-", "_"] if characters == "ascii" else ["▀", "▀", "▄", "▄"])
    rising, falling = drawn(" x", " x", "x ", "x "), drawn("x ", "x ", " x", " x")
    assert rising + falling == ("/\\" if characters == "ascii" else "██")
    assert drawn("  ", "  ", "  ", "  ") == " "
    assert drawn("xx", "xx", "xx", "xx") == ("#" if characters == "ascii" else "█")
    dashes = [drawn(*[" " * 4] * 2, "x  x", " " * 4), drawn(*[" " * 4] * 2, "xx  ", " " * 4)]
    assert dashes[0] != dashes[1]


def test_without_half_blocks_a_cell_is_the_mean_of_two_pixels() -> None:
    scene = palette((0, 0, 0), (255, 255, 255), (255, 255, 255), "full", False)
    levels = np.array([[0, 31, 31], [31, 31, scene.levels.nothing]])
    (row,) = level_rows(levels, scene.levels, scene)
    assert {segment.text.strip() for segment in row} == {""}
    assert [segment.style for segment in row for _ in segment.text] == [scene.levels.pair(n, n) for n in (15, 31, 31)]
    pixels = np.array([[[0, 0, 0]], [[200, 100, 0]]], np.uint8)
    (row,) = rgb_rows(pixels, scene)
    style = row[0].style
    assert row[0].text == " "
    assert style is not None
    assert style.bgcolor is not None
    assert style.bgcolor.triplet == (99, 49, 0)


class Gallery(SendsChangedCells, gallery.Gallery):
    """Every widget."""


@FEW
@pytest.mark.parametrize("colours", ["truecolor", "256color", "", "none"])
async def test_every_widget_is_drawn_with_few_characters(characters: Characters, colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", f"xterm-{colours}" if colours == "256color" else "linux")
    if colours in ("truecolor", "none"):
        monkeypatch.setenv("COLORTERM" if colours == "truecolor" else "NO_COLOR", "truecolor")
    app = Gallery()
    app.characters = characters
    async with app.run_test(size=(160, 60)) as pilot:
        await pilot.press("tab")
        await until(lambda: "cat" in shown_by(app, "all")[0])
        check(app, characters)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PICTURED])
async def test_every_tab_is_drawn_with_few_characters(still: Callable[[str], PlaygroundApp], name: str) -> None:  # noqa: F811
    app = still(name)
    app.characters = "ascii"
    async with app.run_test(size=(140, 42)) as pilot:
        await ready(words=facts(name).waits_for)(pilot)
        for characters in DRAWN:
            check(app, characters)
        await pilot.press("f1")
        await until(lambda: len(app.screen_stack) == 2)
        for characters in DRAWN:
            check(app, characters)


@pytest.mark.parametrize(
    ("environment", "flag", "characters"), [({}, ["--ascii"], "ascii"), ({"TERM": "linux", "COLORTERM": ""}, [], "console")]
)
def test_a_terminal_is_sent_nothing_else(
    environment: dict[str, str], flag: list[str], characters: Characters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[bytes] = []
    with Terminal("gpt", *flag, "--runs-dir", str(tmp_path), environment=environment) as terminal:
        feed = terminal._drawn.feed
        monkeypatch.setattr(terminal._drawn, "feed", lambda data: (received.append(data), feed(data)))
        terminal.until("gpt-reference")
        terminal.until("quit")
        terminal.until("%")
    text = SEQUENCE.sub("", b"".join(received).decode(errors="ignore")).rpartition("\x1b")[0] or SEQUENCE.sub(
        "", b"".join(received).decode()
    )
    assert set(text) - set("\r\n\x1b") <= set(DRAWN[characters])


def test_the_flag_goes_to_what_opens_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bool] = []
    for module in (grammar, training, runs):
        monkeypatch.setattr(module, "open_screen", lambda **given: asked.append(given.get("plain", False)) or 0)
    directory.create(tmp_path, "gpt", to_dict(architectures.card("gpt").settings()), name="gpt-1")
    where = ["--runs-dir", str(tmp_path)]
    for arguments in (["--ascii"], ["gpt", "--ascii"], ["attach", "gpt-1", "--ascii"], [], ["gpt"], ["attach", "gpt-1"]):
        assert cli.run([*arguments, *where]) == 0, capsys.readouterr().err
    assert asked == [True, True, True, False, False, False]
    assert cli.run(["gpt", "--headless", "--ascii", *where]) == 2
    assert "--ascii is for the screen" in capsys.readouterr().err


def test_there_are_three_kinds_of_terminals() -> None:
    assert set(get_args(Characters)) == {"all", *DRAWN}
    assert not replacements("all")
