"""Quitting while there is a run: leave it as it is, stop it, or cancel."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from dlplay.screen.dialogs.dialog import Choice, Dialog


class QuitDialog(Dialog[Literal["keep", "stop"] | None]):
    """`runs`: the name and state of each run, and at which step it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keep", "keep", show=False),
        Binding("s", "stop", "stop", show=False),
        Binding("q", "cancel", "cancel", show=False),
        Binding("ctrl+q,f10", "cancel", "cancel", show=False, priority=True),
    ]
    heading = "Quit dlplay"

    def __init__(self, runs: list[tuple[str, str, int]]) -> None:
        super().__init__()
        self.runs = runs
        it = "it" if len(runs) == 1 else "them"
        paused = sum(state == "paused" for _, state, _ in runs)
        left = f"keep {it} running" if not paused else f"leave {it} paused" if paused == len(runs) else f"leave {it} running or paused"
        self._all_paused = paused == len(runs)
        self.choices = (
            Choice("k", f"{left} in the background", "keep"),
            Choice("s", "stop and save", "stop"),
            Choice("esc", "cancel", "cancel"),
        )

    def body(self) -> ComposeResult:
        lines = [Content.assemble((name, "bold"), f"  {state} at step {step:,}") for name, state, step in self.runs]
        yield Static(Content("\n").join(lines), classes="dialog-text")
        command = f"dlplay attach {self.runs[0][0]}"
        goes_on = "Its process waits until the run is resumed." if self._all_paused else "A run that you keep continues without a screen."
        text = Content.assemble((f"\n{goes_on} To come back to it:\n", "$text-muted"), command)
        yield Static(text, classes="dialog-text")

    def action_keep(self) -> None:
        self.dismiss("keep")

    def action_stop(self) -> None:
        self.dismiss("stop")
