"""A sweep on the screen, while it runs and afterwards: its trials, the best so far, value against each setting, parallel coordinates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from dlplay.runs.console import format_number
from dlplay.runs.launch import launch
from dlplay.screen.dialogs.dialog import Choice, Dialog, Modal
from dlplay.screen.dialogs.palette import Options
from dlplay.screen.run.answer import last_answer
from dlplay.screen.runs.parallel import ParallelCoordinates, positions, shown
from dlplay.widgets import Curve, LineChart, TableView

LIVE_SECONDS = 3.0
"""Between two looks at a sweep that goes on."""
USAGE = 2
"""Exit status of a command that was refused."""
Report = Mapping[str, Any]
"""As `dlplay sweep show --json` prints it."""


class SweepsDialog(Dialog[str | None]):
    """Which of several sweeps to open; returns its name."""

    DEFAULT_CSS = "SweepsDialog OptionList { height: auto; max-height: 16; background: transparent; border: none; padding: 0; }"
    heading = "Sweeps"
    choices = (Choice("enter", "open", "open"), Choice("esc", "close", "cancel"))

    def __init__(self, sweeps: Sequence[Report]) -> None:
        super().__init__()
        self.sweeps = sweeps

    def body(self) -> ComposeResult:
        rows = [f"{item['name']:<28.28} {item.get('architecture', ''):<16} {item.get('metric', '')}" for item in self.sweeps]
        yield Options(*(Option(row, id=item["name"]) for row, item in zip(rows, self.sweeps, strict=True)))

    def on_mount(self) -> None:
        self.query_one(Options).focus()

    def action_open(self) -> None:
        option = self.query_one(Options).highlighted_option
        self.dismiss(option.id if option is not None else None)

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option.id)


class SweepScreen(Modal[tuple[str, dict[str, Any]] | None]):
    """Returns `("open", {"run": …})` for a trial to open in its tab, or `("adopt", settings)` for the form."""

    DEFAULT_CSS = Path(__file__).with_name("sweeps.tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "close"),
        Binding("v", "view(1)", "next picture"),
        Binding("V", "view(-1)", "picture before"),
        Binding("a", "adopt", "adopt"),
        Binding("s", "stop", "stop"),
        Binding("g", "resume", "go on"),
    ]

    def __init__(self, name: str, runs_dir: Path) -> None:
        super().__init__()
        self.sweep, self.runs_dir = name, runs_dir
        self.report: Report = {}
        self._view = 0

    def compose(self) -> ComposeResult:
        with Vertical(id="sweep"):
            yield Static(id="sweep-title")
            yield Static(id="sweep-picture-title")
            yield LineChart(id="sweep-chart", empty="")
            yield ParallelCoordinates(id="sweep-parallel")
            yield TableView(id="sweep-trials", empty=f"reading the trials of {self.sweep} …")
            yield Static(
                "enter opens a trial in its tab   a adopts its settings   v the next picture   s stops the sweep   g goes on   esc close",
                id="sweep-keys",
            )

    def on_mount(self) -> None:
        self.query_one(ParallelCoordinates).display = False
        self.query_one(TableView).focus()
        self._follow()

    @work(group="sweep", exclusive=True)
    async def _follow(self) -> None:
        """Ask again and again until every trial has ended."""
        while self.is_attached:
            try:
                self.report = await last_answer(["sweep", "show", self.sweep], self.runs_dir)
            except (RuntimeError, OSError) as error:
                self.notify(str(error), severity="error", timeout=8)
                return
            self.query_one(LineChart).empty, self.query_one(TableView).empty = "no trial has told a value yet", "no trials yet"
            self._draw()
            ended = sum(self.report["counts"].get(state, 0) for state in ("complete", "pruned", "failed"))
            if ended >= self.report["wanted"]:
                return
            await asyncio.sleep(LIVE_SECONDS)

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    @property
    def views(self) -> list[str]:
        """The pictures: the best so far, the value against each setting, and all of them at once."""
        return ["best so far", *(f"value against {name}" for name in self.report.get("search", {})), "parallel coordinates"]

    def _draw(self) -> None:
        report = self.report
        counts = ", ".join(f"{number} {state}" for state, number in report["counts"].items()) or "none begun"
        best = f"   best {format_number(report['best_value'])} ({report['best']})" if report["best"] else ""
        words = f"  {report['metric']}, {report['better']} is better   {counts} of {report['wanted']} trials{best}"
        self.query_one("#sweep-title", Static).update(Content.assemble((report["name"], "bold $text-accent"), words))
        shares = "   ".join(f"{name} {share:.0%}" for name, share in report["importance"].items())
        importance = f"   importance (fANOVA): {shares}" if shares else ""
        view = self._view % len(self.views)
        self.query_one("#sweep-picture-title", Static).update(Content.assemble((self.views[view], "bold"), importance))
        parallel = view == len(self.views) - 1
        self.query_one(ParallelCoordinates).display, self.query_one(LineChart).display = parallel, not parallel
        if parallel:
            self.query_one(ParallelCoordinates).show(list(report["search"]), report["metric"], report["trials"], report["better"])
        elif view == 0:
            self._draw_best()
        else:
            self._draw_against(list(report["search"])[view - 1])
        self._draw_trials()

    def _told(self) -> list[Report]:
        """The trials with a value, in the order of their numbers."""
        return sorted((trial for trial in self.report["trials"] if trial["value"] is not None), key=lambda trial: trial["number"])

    def _draw_best(self) -> None:
        trials = [trial for trial in self._told() if trial["state"] == "complete"]
        x = np.array([trial["number"] for trial in trials], np.float64)
        y = np.array([trial["value"] for trial in trials], np.float64)
        best = np.maximum.accumulate(y) if self.report["better"] == "higher" else np.minimum.accumulate(y)
        chart = self.query_one(LineChart)
        chart.x_title = "trial"
        curves = [Curve("best so far", x, best, smoothed=False), Curve("trial", x, y, colour="held_out", style="dots", smoothed=False)]
        chart.show(curves if len(x) else [])

    def _draw_against(self, name: str) -> None:
        """Choices that are no numbers stand side by side."""
        trials = [trial for trial in self._told() if name in trial["settings"]]
        values = [trial["settings"][name] for trial in trials]
        log = ":log" in self.report["search"][name]
        x, title = positions(values, log)
        chart = self.query_one(LineChart)
        chart.x_title = f"{name}{title}"
        curves = []
        for state, colour in (("complete", "held_out"), ("pruned", "3"), ("training", "train")):
            at = [index for index, trial in enumerate(trials) if trial["state"] == state]
            if at:
                y = np.array([trials[index]["value"] for index in at], np.float64)
                curves.append(Curve(state, x[at], y, colour=colour, style="dots", smoothed=False))
        chart.show(curves)

    def _draw_trials(self) -> None:
        names = list(self.report["search"])
        rows = []
        for trial in self.report["trials"]:
            value = "–" if trial["value"] is None else format_number(trial["value"])
            settings = [shown(trial["settings"].get(name)) for name in names]
            rows.append([trial["run"], trial["state"], f"{trial['step']:,}", value, *settings, trial["why"]])
        right = (2, 3, *range(4, 4 + len(names)))
        self.query_one(TableView).show(["run", "state", "step", self.report["metric"], *names, "why"], rows, right=right)

    # --- keys ---------------------------------------------------------------------------------------------------------------------

    def action_view(self, by: int) -> None:
        if self.report:
            self._view = (self._view + by) % len(self.views)
            self._draw()

    @property
    def under(self) -> Report | None:
        """The trial under the cursor."""
        at = self.query_one(TableView).cursor
        trials = self.report.get("trials", [])
        return trials[at] if at < len(trials) else None

    @work(group="stop")
    async def action_stop(self) -> None:
        """By the command that a person could have typed, as `action_resume`."""
        try:
            stopped = await last_answer(["sweep", "stop", self.sweep], self.runs_dir)
        except (RuntimeError, OSError) as error:
            self.notify(str(error), severity="error", timeout=8)
            return
        self.notify(f"stopped; {stopped['ended']} of {stopped['trials']} trials have ended, {stopped['begun']} begun and saved")
        self._follow()

    @work(group="resume")
    async def action_resume(self) -> None:
        log = self.runs_dir / ".sweeps" / self.sweep / "log.txt"
        try:
            worker = await launch(["sweep", "resume", self.sweep, "--runs-dir", str(self.runs_dir)], log)
        except OSError as error:
            self.notify(str(error), severity="error", timeout=8)
            return
        self._follow()
        if await worker.wait() == USAGE:
            self.notify(worker.last_words(1).removeprefix("dlplay: "), severity="error", timeout=8)

    @on(TableView.Selected)
    def _opened(self) -> None:
        if self.under is not None:
            self.dismiss(("open", {"run": self.under["run"]}))

    def action_adopt(self) -> None:
        if self.under is not None:
            self.dismiss(("adopt", dict(self.under["settings"])))
