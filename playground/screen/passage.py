"""A text that a person and a model write together: pieces with their probabilities, undo, and branches. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

LONGEST = 8_000
"""Characters a passage may hold; a model of this size looks back at a few hundred at the most."""
UNDOS = 200


class Piece(NamedTuple):
    """Some text; `value` is the probability the model gave it, None when a person typed it."""

    text: str
    value: float | None = None


Line = tuple[Piece, ...]


@dataclass(frozen=True)
class _State:
    branches: tuple[Line, ...]
    present: int
    before: str = ""


class Passage:
    """The present text, the branches beside it, and the way back."""

    def __init__(self, text: str = "", before: str = "") -> None:
        self._state = _State(((Piece(clean(text)),) if text else (),), 0, clean(before))
        self._former: list[_State] = []
        self._typing = False

    @property
    def pieces(self) -> Line:
        """The present text in pieces."""
        return self._state.branches[self._state.present]

    @property
    def text(self) -> str:
        """The present text."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def before(self) -> str:
        """What a model with a memory has read before the text."""
        return self._state.before

    @property
    def branches(self) -> list[str]:
        """The text of every branch, the present one among them."""
        return ["".join(piece.text for piece in line) for line in self._state.branches]

    @property
    def present(self) -> int:
        """Position of the present text among the branches."""
        return self._state.present

    @property
    def point(self) -> int:
        """How many pieces stand before the place to branch from: all up to the last one that was typed."""
        return max((position + 1 for position, piece in enumerate(self.pieces) if piece.value is None), default=0)

    @property
    def can_undo(self) -> bool:
        """Whether there is a former text."""
        return any(state != self._state for state in reversed(self._former))

    # --- changes ------------------------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """What follows can be undone as one change."""
        self._typing = False
        if not self._former or self._former[-1] != self._state:
            self._former.append(self._state)
            del self._former[:-UNDOS]

    def typed(self, text: str) -> None:
        """A person made the text this; pieces that were left alone keep their probabilities."""
        text = text[:LONGEST]
        if text == self.text:
            return
        if not self._typing:
            self.keep()
            self._typing = True
        kept: list[Piece] = []
        at = 0
        for piece in self.pieces:
            if not text.startswith(piece.text, at):
                break
            kept.append(piece)
            at += len(piece.text)
        rest = text[at:]
        if rest and kept and kept[-1].value is None:
            rest = kept.pop().text + rest
        self._write((*kept, Piece(rest)) if rest else tuple(kept))

    def append(self, text: str, value: float | None) -> bool:
        """The model's next words. False when the passage is full."""
        if len(self.text) + len(text) > LONGEST:
            return False
        if text:
            self._typing = False
            self._write((*self.pieces, Piece(text, value if value is not None else 0.0)))
        return True

    def undo(self) -> bool:
        """The former text and its branches. False when there is none."""
        while self._former:
            state = self._former.pop()
            if state != self._state:
                self._state, self._typing = state, False
                return True
        return False

    def read_on(self) -> bool:
        """The text becomes part of what was read before, and the next part is begun. False when there is none, or no room for it."""
        gap = "" if not self.before or self.before[-1].isspace() or self.text[:1].isspace() else " "
        read = self.before + gap + self.text
        if not self.text.strip() or len(read) > LONGEST:
            return False
        self.keep()
        self._state = _State(((),), 0, read)
        return True

    def remember(self, before: str) -> bool:
        """Something else was read before; nothing, for one. False when it was that already."""
        if before == self.before:
            return False
        self.keep()
        self._state = replace(self._state, before=clean(before))
        return True

    def show_instead(self, text: str, before: str) -> None:
        """Texts that nobody has typed; there is no way back to those in their place."""
        self._write((Piece(text),) if text else ())
        self._state = replace(self._state, before=before)

    def branch(self, point: int | None = None) -> bool:
        """Keep the present text as a branch and go back to `point` (pieces from the start). False when nothing stands behind it."""
        point = self.point if point is None else point
        if point >= len(self.pieces):
            return False
        self.keep()
        root = self.pieces[:point]
        branches = (*self._state.branches, root)
        self._state = replace(self._state, branches=branches, present=len(branches) - 1)
        return True

    def switch(self, position: int) -> bool:
        """Make another branch the present text. False when it is that already."""
        if position == self._state.present or not 0 <= position < len(self._state.branches):
            return False
        self._typing = False
        self._state = replace(self._state, present=position)
        return True

    def _write(self, line: Line) -> None:
        branches = list(self._state.branches)
        branches[self._state.present] = line
        self._state = replace(self._state, branches=tuple(branches))


def clean(text: str) -> str:
    """Pasted or loaded text as one line without control characters, at most `LONGEST` characters of it."""
    start = text[: 4 * LONGEST]
    line = "".join(character if character.isprintable() else " " for character in start)
    return line[:LONGEST]
