"""The prompt's rows that can be clicked: what can be done with the text, and its branches."""

from __future__ import annotations

from playground.screen.flow import Flow, Group, Piece
from playground.screen.passage import Passage
from playground.screen.prompt_words import branch_lines

ACTIONS = (
    ("generate", "enter", "generate"),
    ("likeliest", "ctrl+n", "likeliest"),
    ("sampled", "ctrl+o", "sampled"),
    ("undo", "ctrl+z", "undo"),
    ("branch", "ctrl+y", "branch"),
)
"""Action of the stage, its key in the line, and the word for it."""


class ActionRow(Flow):
    """What can be done; what cannot be done just now is quiet."""

    def show_for(self, passage: Passage, *, can_write: bool, writing: bool) -> None:
        """As it stands now."""
        groups: list[Group] = []
        usable = {"undo": passage.can_undo, "branch": passage.point < len(passage.pieces)}
        for name, key, words in ACTIONS:
            if can_write or name not in ("generate", "sampled"):
                words = "stop".ljust(len(words)) if name == "generate" and writing else words
                style = "flow--plain" if usable.get(name, True) else "flow--quiet"
                groups.append((Piece(key + " ", "flow--quiet", name), Piece(words, style, name)))
        self.show(groups)


class BranchRows(Flow):
    """One line for each branch, as soon as there are two."""

    def show_for(self, passage: Passage, most: int) -> None:
        """The branches around the present one, in at most `most` lines."""
        lines = branch_lines(passage, max(8, self.size.width or 40), max(1, most))
        self.display = bool(lines)
        self.show([(Piece(text, "flow--strong" if chosen else "flow--quiet", target),) for text, chosen, target in lines])
