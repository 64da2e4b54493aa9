"""A passage as it is written on the screen: in words, each with its probability, and its branches in lines."""

from __future__ import annotations

import re
from typing import NamedTuple

from rich.cells import cell_len

from dlplay.engine.panels import Tokens
from dlplay.screen.passage import Line, Passage
from dlplay.widgets.text import plain


class Word(NamedTuple):
    """A word of the passage; `piece` is the position of the piece it begins in."""

    text: str
    value: float | None
    piece: int


def words_of(pieces: Line) -> list[Word]:
    """The words of a passage. What a model writes in parts of words is put together; its probability is the product of the parts'."""
    words: list[Word] = []
    open_word = False
    for position, piece in enumerate(pieces):
        for part in re.findall(r"\s+|\w+|[^\w\s]+", piece.text):
            if part.isspace():
                open_word = False
                continue
            last = words[-1] if words else None
            alike = last is not None and (last.value is None) == (piece.value is None)
            if last is not None and open_word and alike and (piece.value is None or (part[0].isalnum() and last.text[-1].isalnum())):
                same_piece = piece.value is None or last.value is None or last.piece == position
                words[-1] = Word(last.text + part, last.value if same_piece else (last.value or 0.0) * (piece.value or 0.0), last.piece)
            else:
                words.append(Word(part, piece.value, position))
            open_word = True
    return words


def continuation(prompt: str, panel: Tokens) -> tuple[str, float | None]:
    """What an answer adds to the prompt, and how probable its last word was."""
    value = panel.values[-1] if panel.values else None
    text = panel.text or " ".join(panel.words)
    return (text.removeprefix(" ") if prompt[-1:].isspace() else text), value


def branch_lines(passage: Passage, width: int, most: int) -> list[tuple[str, bool, str]]:
    """The branches in at most `most` lines of `width` cells: text, whether it is the present one, its position. None while there is one."""
    branches = passage.branches
    if len(branches) < 2:
        return []
    first = max(0, min(passage.present - most // 2, len(branches) - most))
    lines = []
    for position in range(first, min(len(branches), first + most)):
        chosen = position == passage.present
        head = f"{'▸' if chosen else ' '} {position + 1} "
        lines.append((head + _end(plain(branches[position]), width - cell_len(head)), chosen, str(position)))
    return lines


def _end(text: str, width: int) -> str:
    """The end of a text in at most `width` cells: branches differ at their ends."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) > max(1, width - 1):
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return "…" + text
