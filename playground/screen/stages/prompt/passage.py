"""A text that a person and a model write together: pieces with their probabilities, undo and branches. Draws nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from dlplay.screen.stages.prompt_line import MAX_LENGTH, clean

MAX_UNDOS = 200


class Piece(NamedTuple):
    """Some text; `value` is the probability that the model gave it, None when a person typed it."""

    text: str
    value: float | None = None


Branch = tuple[Piece, ...]


class Word(NamedTuple):
    """A word of the passage; `piece` is the position of the piece in which it begins."""

    text: str
    value: float | None
    piece: int


@dataclass(frozen=True)
class _State:
    branches: tuple[Branch, ...]
    current: int
    memory: str = ""


class Passage:
    """The current text, the other branches, and the history for undo."""

    def __init__(self, text: str = "", memory: str = "") -> None:
        self._state = _State(((Piece(clean(text)),) if text else (),), 0, clean(memory))
        self._history: list[_State] = []
        self._typing = False

    @property
    def pieces(self) -> Branch:
        """The current text in pieces."""
        return self._state.branches[self._state.current]

    @property
    def text(self) -> str:
        """The current text."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def memory(self) -> str:
        """What a model with a memory has read before the text."""
        return self._state.memory

    @property
    def branches(self) -> list[str]:
        """The text of every branch, the current one among them."""
        return ["".join(piece.text for piece in branch) for branch in self._state.branches]

    @property
    def current(self) -> int:
        """Position of the current text among the branches."""
        return self._state.current

    @property
    def branch_point(self) -> int:
        """How many pieces a new branch keeps: all up to the last one that was typed."""
        return max((position + 1 for position, piece in enumerate(self.pieces) if piece.value is None), default=0)

    @property
    def can_undo(self) -> bool:
        """Whether there is another state to go back to."""
        return any(state != self._state for state in reversed(self._history))

    # --- changes ------------------------------------------------------------------------------------------------------------------

    def begin_change(self) -> None:
        """What follows can be undone as one change."""
        self._typing = False
        if not self._history or self._history[-1] != self._state:
            self._history.append(self._state)
            del self._history[:-MAX_UNDOS]

    def typed(self, text: str) -> None:
        """A person changed the text to this; pieces that were left alone keep their probabilities."""
        text = text[:MAX_LENGTH]
        if text == self.text:
            return
        if not self._typing:
            self.begin_change()
            self._typing = True
        kept: list[Piece] = []
        length = 0
        for piece in self.pieces:
            if not text.startswith(piece.text, length):
                break
            kept.append(piece)
            length += len(piece.text)
        rest = text[length:]
        if rest and kept and kept[-1].value is None:
            rest = kept.pop().text + rest
        self._replace_current((*kept, Piece(rest)) if rest else tuple(kept))

    def append(self, text: str, value: float | None) -> bool:
        """Append what the model generated, with its probability. False when the passage is full."""
        if len(self.text) + len(text) > MAX_LENGTH:
            return False
        if text:
            self._typing = False
            self._replace_current((*self.pieces, Piece(text, value if value is not None else 0.0)))
        return True

    def undo(self) -> bool:
        """Go back to the previous state. False when there is none."""
        while self._history:
            state = self._history.pop()
            if state != self._state:
                self._state, self._typing = state, False
                return True
        return False

    def read_into_memory(self) -> bool:
        """Move the text to the end of the memory, and start an empty one. False when there is no text, or no room for it."""
        gap = "" if not self.memory or self.memory[-1].isspace() or self.text[:1].isspace() else " "
        memory = self.memory + gap + self.text
        if not self.text.strip() or len(memory) > MAX_LENGTH:
            return False
        self.begin_change()
        self._state = _State(((),), 0, memory)
        return True

    def set_memory(self, memory: str) -> bool:
        """Replace the memory. False when it is that already."""
        if memory == self.memory:
            return False
        self.begin_change()
        self._state = replace(self._state, memory=clean(memory))
        return True

    def show_default(self, text: str, memory: str) -> None:
        """Show a model's own default text and memory, which nobody typed, so that they replace what is shown without undo."""
        self._replace_current((Piece(text),) if text else ())
        self._state = replace(self._state, memory=memory)

    def branch(self, point: int | None = None) -> bool:
        """Keep the current text as a branch, and start another from its first `point` pieces. False when nothing follows them."""
        point = self.branch_point if point is None else point
        if point >= len(self.pieces):
            return False
        self.begin_change()
        root = self.pieces[:point]
        branches = (*self._state.branches, root)
        self._state = replace(self._state, branches=branches, current=len(branches) - 1)
        return True

    def switch(self, position: int) -> bool:
        """Make another branch the current text. False when it is that already."""
        if position == self._state.current or not 0 <= position < len(self._state.branches):
            return False
        self._typing = False
        self._state = replace(self._state, current=position)
        return True

    def _replace_current(self, branch: Branch) -> None:
        branches = list(self._state.branches)
        branches[self._state.current] = branch
        self._state = replace(self._state, branches=tuple(branches))


def words_of(pieces: Branch) -> list[Word]:
    """The words of a text. Tokens that are parts of a word are joined; the word's probability is the product of theirs."""
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
