"""The learning-rate range test from the screen: the loss over rising rates, and a choice of rates for the form."""

from __future__ import annotations

import json
import os
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
from dlplay.runs.directory import explore_path
from dlplay.runs.files import open_regular
from dlplay.runs.launch import launch
from dlplay.screen.dialogs.dialog import Choice, Dialog
from dlplay.widgets import Curve, LineChart, Mark

ANSWER_BYTES = 1 << 20


async def range_test(card: Card, settings: Mapping[str, Any], origin: str, runs_dir: Path) -> dict[str, Any]:
    """What `dlplay ARCH --headless --find-lr --json` says of these settings. Raises `RuntimeError` with its words."""
    own_code = code(card.settings, settings)
    folder = explore_path(runs_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="find-lr-", dir=folder) as place:
        file = Path(place) / "settings.json"
        file.write_text(json.dumps({name: value for name, value in settings.items() if name not in own_code}))
        command = [card.name, "--headless", "--find-lr", "--json", "--set-file", str(file), "--runs-dir", str(runs_dir)]
        command += [word for name, value in own_code.items() for word in ("--" + name.replace("_", "-"), show(value))]
        process = await launch([*command, *(("--from", origin) if origin else ())], Path(place) / "answer.txt")
        if await process.wait() != 0:
            raise RuntimeError(process.last_words(1).removeprefix("dlplay: ") or "the range test ended without an answer")
        with os.fdopen(open_regular(process.log_path, os.O_RDONLY), "rb") as answer:
            found: dict[str, Any] = json.loads(answer.read(ANSWER_BYTES).splitlines()[-1])
        return found


class FindRateDialog(Dialog[float | None]):
    """Returns the rate that was chosen."""

    DEFAULT_CSS = """
    FindRateDialog .dialog { width: 96; }
    FindRateDialog LineChart { height: 14; margin: 0 0 1 0; }
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
        chart = LineChart(x_title="lr, 10^x")
        marks = [Mark(float(np.log10(rate)), name) for name, rate in self.found["suggestions"].items() if rate is not None]
        chart.show([Curve("loss, averaged", x, np.array(self.found["smoothed"], np.float64), smoothed=False)], marks=marks)
        yield chart
        end = f"it diverged at {self.found['rates'][-1]:.2g}" if self.found["diverged"] else "it did not diverge"
        yield Static(Content(f"{len(x)} steps at rising rates, on a copy of the weights; {end}"), classes="dialog-text")

    def action_take(self, name: str) -> None:
        rate = self.found["suggestions"][name]
        if rate is not None:
            self.dismiss(float(f"{rate:.2g}"))
