"""A sweep on the screen, while it runs and afterwards: its trials, the best so far, value against each setting, parallel coordinates."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from dlplay import architectures
from dlplay.runs.directory import disk_space, explore_path, members, sweeps_dir
from dlplay.runs.launch import Launched, launch
from dlplay.screen.dialogs.dialog import Choice, ChoiceRow, Dialog, Modal
from dlplay.screen.dialogs.palette import Options
from dlplay.screen.keys import KeyHints
from dlplay.screen.numbers import measure
from dlplay.screen.run.answer import last_answer
from dlplay.screen.runs.new_sweep import Begun
from dlplay.screen.runs.parallel import ParallelCoordinates, positions, shown
from dlplay.widgets import Curve, LineChart, TableView

BEST, PARALLEL = "best so far", "parallel coordinates"
STATES = {"complete": ("held_out", "•"), "pruned": ("3", "×"), "training": ("train", "○")}
"""Colour and marker of the trials in this state."""
WITHOUT_VALUE = "no trial has a value yet"
PICTURE_COLUMNS = 65
"""Cells that a picture needs, to stand beside another one."""
MOST_PICTURES = 3
LIVE_SECONDS = 3.0
"""Between two looks at a sweep that goes on."""
USAGE = 2
"""Exit status of a command that was refused."""
Floats = NDArray[np.float64]
Report = Mapping[str, Any]
"""As `dlplay sweep show --json` prints it."""


NEW = ""
"""In the place of a sweep's name: one that is still to be begun."""


class SweepsDialog(Dialog[str | None]):
    """Which of several sweeps to open, if there are any; returns its name, or `NEW`."""

    DEFAULT_CSS = "SweepsDialog OptionList { height: auto; background: transparent; border: none; padding: 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("n", "begin", "new sweep", show=False)]
    heading = "Sweeps"
    scrolled = "OptionList"

    def __init__(self, sweeps: Sequence[Report], title: str) -> None:
        """`title` is that of the open tab."""
        super().__init__()
        self.sweeps = sweeps
        new = Choice("n", f"new sweep of {title} with the form's settings", "begin")
        self.choices = (*([Choice("enter", "open", "open")] if sweeps else []), new, Choice("esc", "close", "cancel"))

    def body(self) -> ComposeResult:
        if not self.sweeps:
            words = "There is no sweep yet: a search for the settings with the best held-out metric, every trial of which is a run."
            yield Static(words, classes="dialog-text")
            return
        rows = [f"{item['name']:<28.28} {item.get('architecture', ''):<16} {item.get('metric', '')}" for item in self.sweeps]
        yield Options(*(Option(row, id=item["name"]) for row, item in zip(rows, self.sweeps, strict=True)))

    def on_mount(self) -> None:
        self.query(Options if self.sweeps else ChoiceRow).first().focus()

    def action_begin(self) -> None:
        self.dismiss(NEW)

    def action_open(self) -> None:
        option = self.query_one(Options).highlighted_option
        self.dismiss(option.id if option is not None else None)

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option.id)


class Trials(TableView):
    """The trials; the pictures show where the one under the cursor is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "open in its tab", key_display="enter")]


class Picture(Vertical):
    """One picture of a sweep under its title."""

    def compose(self) -> ComposeResult:
        yield Static(classes="picture-title")
        yield LineChart(empty=WITHOUT_VALUE)
        yield ParallelCoordinates()

    def show(self, view: str, report: Report, under: Report | None, percent: bool) -> None:
        """`view` is one of `SweepScreen.views`; the trial `under` the cursor stands out."""
        shares = {name: f"{100 * share:.0f} %" for name, share in report["importance"].items()}
        words, explained = view, ", ".join(f"{_spaced(name)} {share}" for name, share in shares.items())
        if view in report["search"]:
            words, explained = f"{_spaced(report['metric'])} against {_spaced(view)}", shares.get(view, "")
        title = Content.assemble((words, "bold"), f"  importance (fANOVA): {explained}" if explained else "")
        self.query_one(".picture-title", Static).update(title)
        chart, parallel = self.query_one(LineChart), self.query_one(ParallelCoordinates)
        parallel.display, chart.display = view == PARALLEL, view != PARALLEL
        if view == PARALLEL:
            parallel.show(list(report["search"]), report["metric"], report["trials"], report["better"], under)
            return
        trials = sorted((trial for trial in report["trials"] if trial["value"] is not None), key=lambda trial: trial["number"])
        chart.percent = percent
        if view == BEST:
            chart.x_title, chart.x_powers, chart.x_names = "trial", False, ()
            places = np.array([trial["number"] for trial in trials], np.float64)
            curves = _best_so_far([trial for trial in trials if trial["state"] == "complete"], report["better"], places[-1:])
        else:
            trials = [trial for trial in trials if view in trial["settings"]]
            chart.x_title = _spaced(view)
            places, chart.x_powers, chart.x_names = positions(
                [trial["settings"][view] for trial in trials], ":log" in report["search"][view]
            )
            curves = []
        groups = [(state, [at for at, trial in enumerate(trials) if trial["state"] == state], *STATES[state]) for state in STATES]
        if under is not None:
            groups.append((under["run"], [at for at, trial in enumerate(trials) if trial["number"] == under["number"]], "text", "◆"))
        values = np.array([trial["value"] for trial in trials], np.float64)
        for name, at, colour, marker in groups:
            if at:
                curves.append(Curve(name, places[at], values[at], colour=colour, style="dots", smoothed=False, marker=marker))
        chart.show(curves)


class SweepScreen(Modal[tuple[str, dict[str, Any]] | None]):
    """Returns `("open", {"run": …})` for a trial to open in its tab, or `("adopt", settings)` for the form.

    `begin` opens the dialog for a new sweep, which is then shown here; `worker` is that of one that has just begun.
    """

    DEFAULT_CSS = Path(__file__).with_name("sweeps.tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "adopt", "adopt settings", tooltip="Take the settings of the trial under the cursor into the form"),
        Binding("v", "view(1)", "next picture"),
        Binding("V", "view(-1)", "previous picture", show=False),
        Binding("s", "stop", "stop", tooltip="Stop the sweep; its runs are saved"),
        Binding("g", "resume", "resume", tooltip="Resume the sweep"),
        Binding("n", "begin", "new sweep", tooltip="New sweep of the open tab's settings"),
        Binding("d", "delete", "delete", tooltip="Delete the sweep with all its runs, after asking"),
        Binding("escape,q", "dismiss(None)", "close", key_display="esc"),
        Binding("ctrl+p", "app.command_palette", "palette", show=False),
    ]

    def __init__(self, name: str, runs_dir: Path, begin: Callable[[], Awaitable[Begun | None]], worker: Launched | None = None) -> None:
        super().__init__()
        self.sweep, self.runs_dir = name, runs_dir
        self._begin, self._worker = begin, worker
        self.report: Report = {}
        self._view = 0
        self._percent = False

    def compose(self) -> ComposeResult:
        with Vertical(id="sweep"):
            yield Static(id="sweep-title")
            yield Static(id="sweep-note")
            with Horizontal(id="sweep-pictures"):
                for _ in range(MOST_PICTURES):
                    yield Picture()
            yield Trials(empty="", click_moves=True, id="sweep-trials")
            yield KeyHints()

    def on_mount(self) -> None:
        self.query_one(Trials).focus()
        self._open(self.sweep, self._worker)

    def _open(self, name: str, worker: Launched | None) -> None:
        """Show this sweep, and tell when its `worker` is refused."""
        self.sweep, self.report, self._view = name, {}, 0
        self.query_one("#sweep-title", Static).update(Content.assemble((name, "bold $text-accent"), "  reading its trials …"))
        self.query_one("#sweep-pictures").visible = self.query_one("#sweep-note").display = False
        self.query_one(Trials).show([], [])
        self._follow()
        if worker is not None:
            self._watch(worker)

    @work(group="sweep", exclusive=True)
    async def _follow(self) -> None:
        """Ask again and again until every trial has ended."""
        while self.is_attached:
            try:
                self.report = await last_answer(["sweep", "show", self.sweep], self.runs_dir)
            except (RuntimeError, OSError) as error:
                self.notify(str(error), severity="error", timeout=8)
                return
            self._draw()
            ended = sum(self.report["counts"].get(state, 0) for state in ("complete", "pruned", "failed"))
            if ended >= self.report["wanted"]:
                return
            await asyncio.sleep(LIVE_SECONDS)

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    @property
    def views(self) -> list[str]:
        """The pictures: the best so far, the value against each setting, the most important first, and all of them at once."""
        shares = self.report.get("importance", {})
        return [BEST, *sorted(self.report.get("search", {}), key=lambda name: -shares.get(name, 0.0)), PARALLEL]

    def on_resize(self) -> None:
        if self.report:
            self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        if not self.query(Trials):  # the screen is being taken down
            return
        report = self.report
        card = architectures.cards().get(report["architecture"])
        charts = card.all_charts if card is not None else ()
        self._percent = any(chart.percent and report["metric"] in chart.held_out for chart in charts)
        counts = ", ".join(f"{number} {state}" for state, number in report["counts"].items()) or "none started"
        best = f"   best {measure(report['best_value'], percent=self._percent)} ({report['best']})" if report["best"] else ""
        words = f"  {counts} of {report['wanted']} trials{best}   {_spaced(report['metric'])}, {report['better']} is better"
        self.query_one("#sweep-title", Static).update(Content.assemble((report["name"], "bold $text-accent"), words))
        note = self.query_one("#sweep-note", Static)
        note.display = bool(report["note"])
        note.update(Content.styled(report["note"], "$text-warning"))
        self._draw_trials()
        self._draw_pictures()

    @on(TableView.Moved)
    def _draw_pictures(self) -> None:
        """As many pictures side by side as there is room for."""
        views = self.views
        fit = min(max(self.size.width // PICTURE_COLUMNS, 1), MOST_PICTURES, len(views))
        self.query_one("#sweep-pictures").visible = bool(self.report)
        for number, picture in enumerate(self.query(Picture)):
            picture.display = number < fit
            if picture.display and self.report:
                picture.show(views[(self._view + number) % len(views)], self.report, self.under, self._percent)

    def _draw_trials(self) -> None:
        names = list(self.report["search"])
        rows = []
        for trial in self.report["trials"]:
            value = measure(trial["value"], percent=self._percent)
            settings = [shown(trial["settings"].get(name)) for name in names]
            why = re.sub(rf"^{re.escape(self.report['metric'])} \S+ ", "", trial["why"])  # the table has it already
            rows.append([trial["run"], trial["state"], f"{trial['step']:,}", value, *settings, why])
        right = (2, 3, *range(4, 4 + len(names)))
        table = self.query_one(Trials)
        table.empty = "no trials yet"
        table.show(["run", "state", "step", _spaced(self.report["metric"]), *map(_spaced, names), "why"], rows, right=right)
        table.styles.height = len(rows) + 3  # the names of the columns, and a line at its end that tells of hidden ones

    # --- keys ---------------------------------------------------------------------------------------------------------------------

    def action_view(self, by: int) -> None:
        if self.report:
            self._view = (self._view + by) % len(self.views)
            self._draw_pictures()

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
        self.notify(f"stopped; {stopped['ended']} of {stopped['trials']} trials have ended, {stopped['begun']} started and saved")
        self._follow()

    @work(group="resume")
    async def action_resume(self) -> None:
        log = sweeps_dir(self.runs_dir) / self.sweep / "log.txt"
        try:
            worker = await launch(["sweep", "resume", self.sweep, "--runs-dir", str(self.runs_dir)], log)
        except OSError as error:
            self.notify(str(error), severity="error", timeout=8)
            return
        self._follow()
        self._watch(worker)

    @work(group="watch")
    async def _watch(self, worker: Launched) -> None:
        if await worker.wait() == USAGE:
            self.notify(worker.last_words(1).removeprefix("dlplay: "), severity="error", timeout=8)

    @work(group="begin", exclusive=True)
    async def action_begin(self) -> None:
        begun = await self._begin()
        if begun is not None:
            self._open(begun.name, begun.worker)

    @work(group="delete", exclusive=True)
    async def action_delete(self) -> None:
        from dlplay.screen.runs.screen import DeleteDialog

        runs = await asyncio.to_thread(members, self.runs_dir, self.sweep)
        taken = sum(await asyncio.gather(*(asyncio.to_thread(disk_space, run.path) for run in runs)))
        if not await self.app.push_screen_wait(DeleteDialog([self.sweep], taken)):
            return
        try:
            removed = await launch(["rm", self.sweep, "--runs-dir", str(self.runs_dir)], explore_path(self.runs_dir) / "rm.txt")
        except OSError as error:
            self.notify(str(error), severity="error", timeout=8)
            return
        status, words = await removed.wait(), removed.last_words(1).removeprefix("dlplay: ")
        self.notify(words, severity="error" if status else "information", timeout=8)
        if not status:
            self.dismiss(None)

    @on(TableView.Selected)
    def _opened(self) -> None:
        if self.under is not None:
            self.dismiss(("open", {"run": self.under["run"]}))

    def action_adopt(self) -> None:
        if self.under is not None:
            self.dismiss(("adopt", dict(self.under["settings"])))


def _best_so_far(trials: Sequence[Report], better: str, last: Floats) -> list[Curve]:
    """A line that steps up or down at each complete trial that is better than all before it, up to the `last` trial."""
    if not trials:
        return []
    x = np.array([trial["number"] for trial in trials], np.float64)
    y = np.array([trial["value"] for trial in trials], np.float64)
    best = np.maximum.accumulate(y) if better == "higher" else np.minimum.accumulate(y)
    return [Curve("best so far", np.append(np.repeat(x, 2)[1:], last), np.repeat(best, 2), smoothed=False)]


def _spaced(name: str) -> str:
    return name.replace("_", " ")
