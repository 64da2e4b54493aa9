"""Leaving while something trains: keep it, stop it, or stay. Asked once."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from dlplay.screen.dialogs.dialog import Choice, Dialog

Leaving = Literal["keep", "stop"]


class LeaveDialog(Dialog[Leaving | None]):
    """`runs`: a name and how it stands, for each run that would be left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keep", "keep", show=False),
        Binding("s", "stop", "stop", show=False),
        Binding("q", "dismiss_none", "stay", show=False),
    ]
    heading = "Leave the playground"

    def __init__(self, runs: list[tuple[str, str]]) -> None:
        super().__init__()
        self.runs = runs
        one = len(runs) == 1
        self.choices = (
            Choice("k", f"keep {'it' if one else 'them'} going in the background", "keep"),
            Choice("s", "stop and save", "stop"),
            Choice("esc", "stay", "dismiss_none"),
        )

    def body(self) -> ComposeResult:
        lines = [Content.assemble((name, "bold"), f"  {stands}") for name, stands in self.runs]
        back = f"dlplay attach {self.runs[0][0]}"
        yield Static(Content("\n").join(lines), classes="dialog-words")
        words = Content.assemble(("\nWhat is kept goes on without a screen. Come back with\n", "$foreground 60%"), back)
        yield Static(words, classes="dialog-words")

    def action_keep(self) -> None:
        self.dismiss("keep")

    def action_stop(self) -> None:
        self.dismiss("stop")
