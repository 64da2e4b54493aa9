"""Quitting while something is training: keep it running, stop it, or cancel."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from dlplay.screen.dialogs.dialog import Choice, Dialog


class QuitDialog(Dialog[Literal["keep", "stop"] | None]):
    """`runs`: the name and state of each run that is training."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keep", "keep", show=False),
        Binding("s", "stop", "stop", show=False),
        Binding("q", "cancel", "cancel", show=False),
    ]
    heading = "Quit dlplay"

    def __init__(self, runs: list[tuple[str, str]]) -> None:
        super().__init__()
        self.runs = runs
        it = "it" if len(runs) == 1 else "them"
        self.choices = (
            Choice("k", f"keep {it} running in the background", "keep"),
            Choice("s", "stop and save", "stop"),
            Choice("esc", "cancel", "cancel"),
        )

    def body(self) -> ComposeResult:
        lines = [Content.assemble((name, "bold"), f"  {state}") for name, state in self.runs]
        yield Static(Content("\n").join(lines), classes="dialog-text")
        command = f"dlplay attach {self.runs[0][0]}"
        text = Content.assemble(("\nA run that you keep continues without a screen. To come back to it:\n", "$text-muted"), command)
        yield Static(text, classes="dialog-text")

    def action_keep(self) -> None:
        self.dismiss("keep")

    def action_stop(self) -> None:
        self.dismiss("stop")
