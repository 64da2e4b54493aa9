"""The learning-rate range test from the screen: the loss over rising rates, and a choice of rates for the form."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from dlplay.engine.card import Card
from dlplay.engine.settings import code, show
from dlplay.screen.dialogs.dialog import Choice, Dialog
from dlplay.screen.run.answer import last_answer
from dlplay.widgets import Curve, LineChart, Mark


async def range_test(card: Card, settings: Mapping[str, Any], origin: str, runs_dir: Path) -> dict[str, Any]:
    """What `dlplay ARCH --headless --find-lr --json` says of these settings. Raises `RuntimeError` with its words."""
    own_code = code(card.settings, settings)
    with tempfile.NamedTemporaryFile("w", prefix="dlplay-", suffix=".json") as file:
        json.dump({name: value for name, value in settings.items() if name not in own_code}, file)
        file.flush()
        flags = [word for name, value in own_code.items() for word in ("--" + name.replace("_", "-"), show(value))]
        command = [card.name, "--headless", "--find-lr", "--set-file", file.name, *flags, *(("--from", origin) if origin else ())]
        found: dict[str, Any] = await last_answer(command, runs_dir)
        return found


class FindRateDialog(Dialog[float | None]):
    """Returns the rate that was chosen."""

    DEFAULT_CSS = """
    FindRateDialog .dialog { width: 96; height: 26; }
    FindRateDialog LineChart { height: 1fr; margin: 0 0 1 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "take('valley')", "valley", show=False),
        Binding("s", "take('steepest')", "steepest", show=False),
    ]
    heading = "Learning-rate range test"

    def __init__(self, found: Mapping[str, Any]) -> None:
        super().__init__()
        self.found = found
        words = {"valley": "half-way down the longest fall of the loss", "steepest": "where the loss falls fastest"}
        rates = {name: rate for name, rate in found["suggestions"].items() if rate is not None}
        self.choices = (
            *(
                Choice(name[0], f"take {name}, {show(float(f'{rate:.2g}'))}: {words[name]}", f"take('{name}')")
                for name, rate in rates.items()
            ),
            Choice("esc", f"keep {found['lr']:g}", "cancel"),
        )

    def body(self) -> ComposeResult:
        x = np.log10(np.array(self.found["rates"], np.float64))
        chart = LineChart(x_title="lr")
        chart.x_powers = True
        marks = [Mark(float(np.log10(rate)), name) for name, rate in self.found["suggestions"].items() if rate is not None]
        chart.show([Curve("loss, averaged", x, np.array(self.found["smoothed"], np.float64), smoothed=False)], marks=marks)
        yield chart
        end = f"it diverged at {self.found['rates'][-1]:.2g}" if self.found["diverged"] else "it did not diverge"
        yield Static(Content(f"{len(x)} steps at rising rates, on a copy of the weights; {end}"), classes="dialog-text")

    def action_take(self, name: str) -> None:
        rate = self.found["suggestions"][name]
        if rate is not None:
            self.dismiss(float(f"{rate:.2g}"))
