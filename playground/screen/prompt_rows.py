"""The prompt's rows that can be clicked: what can be done with the text, and its branches."""

from __future__ import annotations

from dlplay.screen.flow import Flow, Group, Piece
from dlplay.screen.passage import Passage
from dlplay.screen.prompt_words import branch_lines

ACTIONS = (
    ("generate", "enter", "generate", "Write on word by word, or stop"),
    ("likeliest", "ctrl+n", "likeliest", "Append the likeliest word"),
    ("sampled", "ctrl+o", "sampled", "Append one word, drawn by its probability"),
    ("read_on", "ctrl+l", "read into the memory", "The line becomes part of what was read before; type the next part"),
    ("empty", "esc x", "empty the memory", "Forget what was read before, and see the prediction change"),
    ("undo", "ctrl+z", "undo", "The former text"),
    ("branch", "ctrl+y", "branch", "Keep this continuation and go on from where it began"),
)
"""Action of the stage, its key in the line, the word for it, and a line of help."""


class ActionRow(Flow):
    """What can be done; what cannot be done just now is quiet."""

    def show_for(self, passage: Passage, *, can_write: bool, writing: bool, memory: str | None) -> None:
        """As it stands now; `memory` is the text that was read before, None where there is no memory."""
        groups: list[Group] = []
        usable = {
            "undo": passage.can_undo,
            "branch": passage.point < len(passage.pieces),
            "read_on": bool(passage.text.strip()),
            "empty": bool(memory),
        }
        for name, key, words, _ in self.doings(can_write=can_write, remembers=memory is not None):
            words = "stop".ljust(len(words)) if name == "generate" and writing else words
            style = "flow--plain" if usable.get(name, True) else "flow--quiet"
            groups.append((Piece(key + " ", "flow--quiet", name), Piece(words, style, name)))
        self.show(groups)

    @staticmethod
    def doings(*, can_write: bool, remembers: bool) -> list[tuple[str, str, str, str]]:
        """Those of `ACTIONS` that this model has."""
        missing = ({"generate", "sampled"} if not can_write else set()) | ({"read_on", "empty"} if not remembers else set())
        return [doing for doing in ACTIONS if doing[0] not in missing]


class BranchRows(Flow):
    """One line for each branch, as soon as there are two."""

    def show_for(self, passage: Passage, most: int) -> None:
        """The branches around the present one, in at most `most` lines."""
        lines = branch_lines(passage, max(8, self.size.width or 40), max(1, most))
        self.display = bool(lines)
        self.show([(Piece(text, "flow--strong" if chosen else "flow--quiet", target),) for text, chosen, target in lines])
