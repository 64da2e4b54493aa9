"""What the doctor says of a run: each diagnosis with its evidence and what would help; `t` tries the first advice that can be tried,
a digit another one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from dlplay.doctor.report import drawing, nothing
from dlplay.doctor.rules import written
from dlplay.runs.history import History
from dlplay.screen.dialogs.dialog import TYPING_SECONDS, Choice, Dialog
from dlplay.screen.run.answer import last_answer
from dlplay.widgets import Bars


async def examination(run: str, runs_dir: Path) -> dict[str, Any]:
    """What `dlplay doctor RUN --json` says. Raises `RuntimeError` with its words."""
    found: dict[str, Any] = await last_answer(["doctor", run], runs_dir)
    return found


async def trial(run: str, rule: str, runs_dir: Path) -> dict[str, Any]:
    """What came of the advice. Raises `RuntimeError`."""
    answer: dict[str, Any] = await last_answer(["doctor", run, "--try", "--rule", rule], runs_dir)
    found: dict[str, Any] = answer["trial"]
    return found


class Trial(NamedTuple):
    """An advice that is to be tried."""

    rule: str
    words: str
    """What is trained, such as `--lr 0.1: 6 runs of 75 steps`."""


class DoctorDialog(Dialog[Trial | None]):
    """Returns the advice that is to be tried."""

    DEFAULT_CSS = """
    DoctorDialog .dialog { width: 110; }
    DoctorDialog #diagnoses { height: auto; padding-right: 1; }
    DoctorDialog #diagnoses { scrollbar-size-vertical: 1; scrollbar-color: $foreground 60%; scrollbar-background: $panel; }
    DoctorDialog LineChart { height: 9; margin: 0 2 1 2; }
    DoctorDialog Bars { min-height: 1; margin: 0 2 1 2; }
    """
    scrolled = "#diagnoses"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t,1", "try_it(0)", "try it", show=False),
        *(Binding(str(number), f"try_it({number - 1})", "try it", show=False) for number in range(2, 10)),
    ]

    def __init__(self, found: Mapping[str, Any], history: History) -> None:
        """`history` is that of the run, for the curves on which diagnoses are seen."""
        super().__init__()
        self.found, self.history = found, history
        self._opened = math.inf
        self.heading = f"Doctor: {found['run']} at step {found['step']:,}"
        self.trials = [
            Trial(str(diagnosis["name"]), f"{written(diagnosis['changes'])}: {found['trials'][diagnosis['name']]}")
            for diagnosis in found["diagnoses"]
            if diagnosis["changes"]
        ]
        words = [
            Choice(str(at + 1) if at else "t", f"try {trial.words}" + (", then a page opens" if not at else ""), f"try_it({at})")
            for at, trial in enumerate(self.trials)
        ]
        self.choices = (*words, Choice("esc", "close", "cancel"))

    def body(self) -> ComposeResult:
        with VerticalScroll(id="diagnoses"):
            if not self.found["diagnoses"]:
                said = nothing(self.found["step"], self.found["judged"], len(self.found["rules"]))
                yield Static(f"{said[0].upper()}{said[1:]}.", classes="dialog-text")
            if self.found["layers"]:
                yield Static(Content(f"Its layers could not be examined: {self.found['layers']}"), classes="dialog-text")
            for diagnosis in self.found["diagnoses"]:
                measured = f"{diagnosis['number']:.3g} against {diagnosis['bound']:.3g}: {diagnosis['rule']} ({diagnosis['source']})"
                here = " (on this screen L does it)" if "--find-lr" in diagnosis["advice"] else ""
                lines = [diagnosis["found"], f"measured {measured}", f"what helps: {diagnosis['advice']}{here}", ""]
                yield Static(Content.assemble((diagnosis["title"], "bold $text-warning"), "\n", "\n".join(lines)), classes="dialog-text")
                if (drawn := drawing(diagnosis["curve"], diagnosis["bars"], self.history)) is not None:
                    drawn.can_focus = False
                    if isinstance(drawn, Bars):
                        drawn.styles.height = len(drawn.values)
                    yield drawn

    def on_mount(self) -> None:
        self._opened = time.monotonic()

    @property
    def armed(self) -> bool:
        """Whether a key is a choice: this dialog comes some seconds after it was asked for, and a trial trains for minutes."""
        return time.monotonic() >= self._opened + TYPING_SECONDS

    def action_try_it(self, number: int) -> None:
        if self.armed and number < len(self.trials):
            self.dismiss(self.trials[number])
