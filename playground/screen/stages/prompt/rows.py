"""The lines around the prompt: the memory above it, the actions below it, and the branches."""

from __future__ import annotations

import re

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from dlplay.screen.flow import Flow, Group, Piece
from dlplay.screen.stages.prompt.passage import Passage
from dlplay.widgets.drawing.text import plain

ACTIONS = (
    ("generate", "enter", "generate", "Generate word by word, or stop"),
    ("most_likely", "ctrl+n", "most likely", "Append the most likely word"),
    ("sample", "ctrl+o", "sample", "Append one word, sampled from the probabilities"),
    ("read_into_memory", "ctrl+l", "read into memory", "Move the line into the memory, and type what follows it"),
    ("clear_memory", "esc, x", "clear memory", "Empty the memory, and see the prediction change"),
    ("undo", "ctrl+z", "undo", "Go back to the previous text"),
    ("branch", "ctrl+y", "branch", "Keep this continuation, and try another from where it began"),
)
"""Action of the stage, its key in the line, its label, and a line of help."""


REPEATED = re.compile(r"(\S)(?: ?\1){5,}")
"""A character that is repeated so often that it is counted."""


class MemoryLine(Widget):
    """The end of the text that is in the model's memory; a character that is repeated many times stands once, with the number."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def show_text(self, text: str) -> None:
        """Show another text."""
        self.text = text
        self.refresh()

    def render(self) -> Content:
        if not self.text:
            return Content("the memory is empty: type a part, read it into the memory, type the next")
        text = REPEATED.sub(lambda run: f"{run[1]} ×{run[0].count(run[1])}", plain(self.text))
        head = f"in memory ({len(self.text):,} characters)  "
        room = max(8, self.content_size.width - len(head))
        return Content(head + (text if len(text) <= room else "…" + text[1 - room :]))


class ActionRow(Flow):
    """The actions; those that are not possible now are dim."""

    def show_for(self, passage: Passage, *, can_generate: bool, generating: bool, memory: str | None) -> None:
        """`memory` is the text in the memory, None for a model without one."""
        groups: list[Group] = []
        possible = {
            "undo": passage.can_undo,
            "branch": passage.branch_point < len(passage.pieces),
            "read_into_memory": bool(passage.text.strip()),
            "clear_memory": bool(memory),
        }
        for name, key, label, _ in self.available(can_generate=can_generate, has_memory=memory is not None):
            label = "stop".ljust(len(label)) if name == "generate" and generating else label
            style = "flow--plain" if possible.get(name, True) else "flow--quiet"
            groups.append((Piece(key + " ", "flow--quiet", name), Piece(label, style, name)))
        self.show(groups)

    @staticmethod
    def available(*, can_generate: bool, has_memory: bool) -> list[tuple[str, str, str, str]]:
        """Those of `ACTIONS` that this model has."""
        missing = (set() if can_generate else {"generate", "sample"}) | (set() if has_memory else {"read_into_memory", "clear_memory"})
        return [action for action in ACTIONS if action[0] not in missing]


class BranchRows(Flow):
    """One line for each branch, once there are two."""

    def show_for(self, passage: Passage, max_lines: int) -> None:
        """Show the branches around the current one, in at most `max_lines` lines."""
        lines = branch_lines(passage, max(8, self.size.width or 40), max(1, max_lines))
        self.display = bool(lines)
        self.show([(Piece(text, "flow--strong" if current else "flow--quiet", target),) for text, current, target in lines])


def branch_lines(passage: Passage, width: int, max_lines: int) -> list[tuple[str, bool, str]]:
    """The branches in at most `max_lines` lines of `width` cells: text, whether it is the current one, and its position as a target.

    Empty when there is only one branch.
    """
    branches = passage.branches
    if len(branches) < 2:
        return []
    first = max(0, min(passage.current - max_lines // 2, len(branches) - max_lines))
    lines = []
    for position in range(first, min(len(branches), first + max_lines)):
        current = position == passage.current
        head = f"{'▸' if current else ' '} {position + 1} "
        lines.append((head + _end(plain(branches[position]), width - cell_len(head)), current, str(position)))
    return lines


def _end(text: str, width: int) -> str:
    """The end of a text in at most `width` cells: branches differ at their ends."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) > max(1, width - 1):
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return "…" + text
