"""Characters for terminals with few: each is replaced by one that the terminal has, as wide as it was.

The console of Linux draws with the characters of code page 437, of which its own font consists.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

from rich.cells import get_character_cell_size

Characters = Literal["all", "console", "ascii"]
"""What a terminal can draw."""

CONSOLE = frozenset(bytes(range(128, 255)).decode("cp437") + "☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼⌂")
"""Beside ASCII; those at the end have the codes of control characters."""


def _pairs(text: str) -> dict[str, str]:
    return {pair[0]: pair[1] for pair in text.split()}


# what stands beside each other differs: shapes of groups, lines of a legend, shades, what a run does, directions of arrows
_ASCII = _pairs(
    "…~ ·- •* ’' ‘' “\" ”\" –- —- −- ×x °o ²2 ≈~ ≡& ∞I ‖| ✓V ✗x ↵$ ␍$ ⏎$ ⇥> ␣_ ⌫< ∅/ ⌈[ ⌉] "
    "→> ←< ↑^ ↓v ↗' ↖` ↙, ↘. ⇒> ⇐< ⇑^ ⇓v ⇗' ⇖` ⇙, ⇘. ›> ‹< ▸> ▷> ▶> ►> ◂< ◀< ◄< ▾v ▴^ "
    "●* ▲^ ■# ◆% ▼v ✚+ ○o △A □[ ◇& ◈$ ◉@ ⊕X ◌. ◦o ⭘o "
    '━= ╍~ ┅: ┈. ┄- ╌- ┊: ╎: ┃| ╸- ╺- ░. ▒: ▓% █# ▀" ▄_ ▌| ▐| ▁_ ▂_ ▃_ ▅# ▆# ▇# ▉# ▊# ▋# ▍| ▎| ▏| ▔^ ▕| '
    "αa βb γy δd εe ζz ηn θO κk λl μm µm ξx πp ρp ςs σs τt φf χx ψy ωw ΔD ΘO ΛL ΣS ΦF ΩO ßs ıi ⁻- ∙- «< »> ±~ √V"
)
_ON_CONSOLE = _pairs(
    "‖║ ✓√ ↵¶ ␍¶ ⏎¶ ⇥→ ⌫← ∅φ ⌈┌ ⌉┐ ⇒→ ⇐← ⇑↑ ⇓↓ ›» ‹« ▸► ▷► ▶► ◂◄ ◀◄ ▾▼ ▴▲ ●• ◆♦ △⌂ □◙ ◇♣ ◈☻ ◉☼ ⊕◘ ⭘○ ━═ ┈· ┄- ╌- ┊│ ╎│ ┃║ ╸─ ╺─ "
    "▁_ ▂▄ ▃▄ ▅█ ▆█ ▇█ ▉█ ▊█ ▋▌ ▍▌ ▎▌ ▏│ ▔▀ ▕│ θΘ"
)
_ARMS = {"UP": "u", "DOWN": "d", "LEFT": "l", "RIGHT": "r", "HORIZONTAL": "lr", "VERTICAL": "du"}
_LINES = {"lr": "─", "du": "│", "dr": "┌", "dl": "┐", "ru": "└", "lu": "┘", "dru": "├", "dlu": "┤", "dlr": "┬", "lru": "┴", "dlru": "┼"}


class _Table(dict[int, str]):
    """For `str.translate`; what is not in it is looked up once."""

    def __init__(self, replaced: Callable[[str], str]) -> None:
        super().__init__()
        self._replaced = replaced

    def __missing__(self, code: int) -> str:
        self[code] = found = self._replaced(chr(code))
        return found


@cache
def replacements(characters: Characters) -> Mapping[int, str]:
    """A table for `str.translate`, after which a text has only characters that such a terminal draws, and is as wide as before."""
    if characters == "all":
        return {}
    return _Table(_in_ascii if characters == "ascii" else _on_console)


def _in_ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in _ASCII:
        return _ASCII[character]
    if "\u2800" <= character < "\u2900":
        return _dots(ord(character) - 0x2800)
    if line := _line(character):
        return {"─": "-", "│": "|"}.get(line, "+")
    return _letter(character, "")


def _on_console(character: str) -> str:
    if character.isascii() or character in CONSOLE:
        return character
    if character in _ON_CONSOLE:
        return _ON_CONSOLE[character]
    if "\u2800" <= character < "\u2900":
        return _blocks(ord(character) - 0x2800)
    return _ASCII.get(character) or _line(character) or _letter(character, "".join(CONSOLE))


def _letter(character: str, also: str) -> str:
    """The letter without its accent, or question marks."""
    width = get_character_cell_size(character)
    found = "".join(c for c in unicodedata.normalize("NFKD", character) if (c.isascii() and c.isprintable()) or c in also)
    return found.ljust(width) if 0 < len(found) <= width else "?" * width


def _line(character: str) -> str:
    """A line of a box as a thin one; empty for another character."""
    name = unicodedata.name(character, "")
    if not name.startswith("BOX DRAWINGS ") or "DIAGONAL" in name:
        return ""
    arms = "".join(sorted({arm for word in name.split() for arm in _ARMS.get(word, "")}))
    return _LINES.get(arms) or ("─" if arms in "lr" else "│")


def _sides(pattern: int) -> tuple[list[int], list[int]]:
    """The rows of dots, 0 at the top, in the left and in the right column of a braille character."""
    left = [row for row, bit in enumerate((0x01, 0x02, 0x04, 0x40)) if pattern & bit]
    right = [row for row, bit in enumerate((0x08, 0x10, 0x20, 0x80)) if pattern & bit]
    return left, right


def _dots(pattern: int) -> str:
    """The stroke of a pen that goes through these dots."""
    left, right = _sides(pattern)
    rows = {*left, *right}
    if not rows:
        return " "
    if not left or not right:
        return "|" if len(rows) > 2 else "'" if max(rows) < 2 else "." if min(rows) > 1 else ":"
    if len(rows) == 1:
        return '"--_'[rows.pop()]
    if len(left) > 2 and len(right) > 2:
        return "#"
    slope = sum(left) / len(left) - sum(right) / len(right)
    if abs(slope) >= 1:
        return "/" if slope > 0 else "\\"
    return "|" if len(rows) > 2 else '"-_'[min(rows)]


def _blocks(pattern: int) -> str:
    """The halves of a cell that hold dots; of a dot alone, a point."""
    left, right = _sides(pattern)
    rows = {*left, *right}
    if len(left) + len(right) == 1:
        return "'" if rows.pop() < 2 else "."
    upper, lower = min(rows, default=9) < 2, max(rows, default=-1) > 1
    if upper and lower and not (left and right):
        return "▌" if left else "▐"
    return "█" if upper and lower else "▀" if upper else "▄" if lower else " "
