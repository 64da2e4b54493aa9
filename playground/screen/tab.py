"""One architecture's tab: settings and runs, the stage, curves and panels side by side; in a small window, pages."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.commands import View
from dlplay.engine.events import Failed
from dlplay.engine.interventions import parse
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import SettingsError, code, show
from dlplay.runs import saved_interventions
from dlplay.runs.client import RunError
from dlplay.screen.charts import ChartColumn
from dlplay.screen.curve_strip import CurveStrip
from dlplay.screen.form.form import SettingsForm
from dlplay.screen.navigation import PageBar
from dlplay.screen.numbers import measure, words
from dlplay.screen.panels.inspector import Inspector
from dlplay.screen.panels.options_bar import filter_options
from dlplay.screen.panels.panel_view import EMPTY
from dlplay.screen.recent_runs import RecentRuns
from dlplay.screen.run.controls import Offer, RunControls
from dlplay.screen.run.run_bar import RunBar, RunBarState
from dlplay.screen.run.run_link import RunLink
from dlplay.screen.stages.prompt_line import PromptLine
from dlplay.screen.stages.stage import ActionStage
from dlplay.screen.touches import Touches
from dlplay.widgets import LineChart, Note

LAYOUTS = (("huge", 200, 46), ("wide", 120, 28), ("medium", 100, 26), ("stack", 60, 46))
"""Columns and rows of a tab from which its parts stand so, the first that fits; where none does, they are pages.

    huge    settings and runs │ stage │ curves │ panels
    wide    settings and runs │ stage │ curves above panels
    medium  stage │ curves above panels
    stack   settings in a line, stage, curves, panels one below the other
"""
TRY_IT, CURVES, INSPECT, SETTINGS = "1", "2", "3", "4"
"""Keys of the pages."""
CHART_SECONDS = 0.5
"""Between two drawings of the curves while training; they are most of what is sent to the terminal."""
MAX_WAITING = 8
"""Actions that may wait for the one before; a key that was held down must not go on acting long after it was released."""
FILM_SECONDS = 0.4
"""For which a film shows each checkpoint."""
NO_MOMENTS = "this run kept no checkpoints to look back at (see the setting history)"
AGAIN = "r"
"""The key that starts a run anew."""
FORWARD = "forward"
"""The panel that shows a forward pass."""
ASKING = "asking the model …"
"""What a panel says until the first answer."""
SMALLEST = (60, 14)
"""Columns and rows of a tab below which nothing useful can be drawn."""


class ArchitectureTab(Vertical):
    """Everything of one architecture. `link` is the connection to its run; the app's one timer calls `draw_changes`."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()

    page = reactive(CURVES)
    """In a small window: the page that is shown."""

    @dataclasses.dataclass
    class StatusChanged(Message):
        """The run's state or its device changed."""

        tab: ArchitectureTab

    @dataclasses.dataclass
    class ActionChosen(Message):
        """One of the architecture's actions was clicked."""

        tab: ArchitectureTab
        name: str

    @dataclasses.dataclass
    class RunChosen(Message):
        """This one of its runs is to be opened."""

        tab: ArchitectureTab
        name: str

    @dataclasses.dataclass
    class LookedBack(Message):
        """While looking back the cursor was moved to this step, or taken away."""

        tab: ArchitectureTab
        step: float | None

    @dataclasses.dataclass
    class Problem(Message):
        """Something a person has to know about."""

        title: str
        why: str
        remedy: str
        offers: Sequence[Offer] = ()

    def __init__(
        self,
        card: Card,
        runs_dir: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        origin: str = "",
        options: Mapping[str, Any] | None = None,
        run_name: str = "",
    ) -> None:
        super().__init__(id=f"tab-{card.name}", classes="tab")
        self.card = card
        self.set_class(card.stage is not None and card.stage.below[:1] != ("forward",), "-samples")
        self.set_class(isinstance(card.stage, stages.Pad), "-pad")
        self.set_class(isinstance(card.stage, (stages.Prompt, stages.TokenLine)), "-text")
        self.link = RunLink(card, runs_dir, self)
        self.options: dict[str, Any] = dict(options or {})
        self.touches = Touches()
        with contextlib.suppress(SettingsError):  # which every panel will say
            self.touches.put(parse(str(self.options.get("do", ""))))
        self._new_panels: dict[str, tuple[View, AnyPanel | str, int]] = {}
        """Those that arrived since the last drawing, by name."""
        self._answering: object = None
        self._answered_by: object = None
        """Who answers the panels; what they show until then is of the model before."""
        self._act_lock = asyncio.Lock()
        self._acting = 0
        self._pages = [(CURVES, "Curves"), (INSPECT, "Inspect"), (SETTINGS, "Settings")]
        self._pages[:0] = [(TRY_IT, "Try it")] if card.stage is not None else []
        self._page_bar = PageBar(self._pages)
        self.form = SettingsForm(card, settings)
        self.link.code = lambda: code(card.settings, self.form.values)
        self.controls = RunControls(self.link, self.form, lambda text: self.app.notify(text, timeout=4), self.problem)
        self.controls.origin, self.controls.run_name = origin, run_name
        self.controls.begin = self._take_touches_off
        self.runs = RecentRuns(card, runs_dir)
        self._charts = ChartColumn(card)
        self._strip = CurveStrip(card)
        self.inspector = Inspector(card)
        self.stage = _stage(card, self.options) if card.stage is not None else None
        self.below = Inspector(card, card.stage.below, id="below") if card.stage is not None and card.stage.below else None
        self._too_small = Static(id="too-small")
        self._run_bar = RunBar()
        self._charts_due = 0.0
        self._looking_back = False
        self._film: object = None
        """The film that is being played; None while none is."""
        self._stage_step: tuple[int | None, int] = (None, -1)
        """The step at which the stage last asked the model: of the checkpoint that is looked back at, and of the run."""
        self._reported: Failed | None = None
        self._page_to_focus = ""
        self._to_type = False
        """Whether a line of text may take the focus: a person has asked to type."""
        self._beside: list[str] = []
        """What is done beside the run of this tab, in words; the last one is told."""
        self.attaches = False
        """A run is about to be shown: its curves come before the stage where only one page fits."""
        self._turned = False
        """Whether a page was asked for; a tab that has just opened then turns to none by itself."""
        self._focus_before: Widget | None = None
        """What had the focus before the window became too small."""

    def compose(self) -> ComposeResult:
        yield self._page_bar
        with Container(id="body"):
            with Vertical(id="left"):
                yield self.form
                yield self.runs
            if self.stage is not None:
                with Vertical(id="middle"):
                    yield self.stage
                    if self.below is not None:
                        yield self.below
            with Container(id="right"):
                yield self._charts
                yield self.inspector
        yield self._strip
        yield self._too_small
        yield self._run_bar

    def on_mount(self) -> None:
        self._charts.show(self.link.history, self.link.companions)
        self._watch_page()

    # --- size, pages and focus ----------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self.fit(*self.size)
        self.call_after_refresh(self._watch_views)

    def fit(self, columns: int, rows: int) -> None:
        """Arrange the parts for a tab of this size."""
        small = columns < SMALLEST[0] or rows < SMALLEST[1]
        layout = next((name for name, least_columns, least_rows in LAYOUTS if columns >= least_columns and rows >= least_rows), "pages")
        if layout == "pages" and not self.paged:
            self.page = self._focused_page() or self.page
        for name in ("pages", *(name for name, _, _ in LAYOUTS)):
            self.set_class(name == layout, f"-{name}")
        if small and not self.has_class("-small") and self.is_attached:
            self._focus_before = self.screen.focused
        elif not small and self.has_class("-small"):
            self.call_after_refresh(self._restore_focus)
        self.set_class(small, "-small")
        self._fold_settings()
        if self.stage is not None:
            self.stage.set_digit_keys(not self.paged)
        if small:
            has = f"This window has {columns} columns and {rows + 2} rows."
            self._too_small.update(f"{has}\nThe playground needs {SMALLEST[0]} columns and {SMALLEST[1] + 2} rows.")

    @property
    def paged(self) -> bool:
        """Whether one part is shown at a time."""
        return self.has_class("-pages")

    def _focus_if_visible(self, target: Widget, to_type: bool = False) -> None:
        """The window may have become too small since this was asked for: then it gets the focus afterwards."""
        if self.has_class("-small"):
            self._focus_before = target
        else:
            target.focus()
            if to_type and isinstance(target, PromptLine):
                target.select_text()

    def _restore_focus(self) -> None:
        """A hidden part loses the focus; it gets it back when the window is large enough again."""
        before, self._focus_before = self._focus_before, None
        if before is not None and before.is_attached and self.screen.focused is None:
            before.focus()

    def _focused_page(self) -> str:
        """The page of the part that has the focus."""
        parts = {TRY_IT: self.stage, CURVES: self._charts, INSPECT: self.inspector, SETTINGS: self.form}
        return next((number for number, part in parts.items() if part is not None and part.has_focus_within), "")

    def watch_page(self) -> None:
        if self.is_mounted:
            self._watch_page()

    def _watch_page(self) -> None:
        for number, _ in self._pages:
            self.set_class(self.page == number, f"-page-{number}")
        self._page_bar.page = self.page
        self.call_after_refresh(self._watch_views)

    def show_page(self, number: str, *, to_type: bool = False) -> None:
        """Turn to a page and focus it, its line of text only `to_type`; where all are shown, only focus that part.
        Settings unfold, or fold when they are shown. A part that fills the window gives it back."""
        if number not in dict(self._pages):
            return
        if self.screen.maximized is not None:
            self.screen.minimize()
        if not self.paged and number == SETTINGS and self.has_class("-settings"):
            self.show_all_settings(False)
            if self.stage is not None:
                self.show_page(TRY_IT)
            return
        if number == SETTINGS:
            self.show_all_settings(True)
        self._turned = True
        self.page = number
        self._page_to_focus, self._to_type = number, to_type
        self._focus_page()

    def place_of_page(self, number: str) -> Offset | None:
        """Where a page's title stands on the screen; None where all parts are shown."""
        return self._page_bar.place(number)

    def focus_part(self, number: str) -> None:
        """Focus the part of this page as it stands."""
        self._page_to_focus, self._to_type = number, False
        self._focus_page()

    def show_all_settings(self, shown: bool) -> None:
        """Show every setting, or, in a window that is not small, only those that differ from the defaults."""
        self.set_class(shown, "-settings")
        self._fold_settings()

    def _fold_settings(self) -> None:
        folded = not self.paged and not self.has_class("-settings")
        self.form.fold(folded, in_a_line=folded and self.has_class("-stack"))

    @on(SettingsForm.Unfold)
    def _unfold(self) -> None:
        self.show_page(SETTINGS)

    def show_setting(self, name: str) -> None:
        """Unfold the settings, with the cursor on this one."""
        self.show_all_settings(True)
        self.form.go_to(name)
        self._turned = True
        self.page = SETTINGS
        self._page_to_focus, self._to_type = SETTINGS, False
        self._focus_page()

    def show_panel(self, name: str) -> None:
        """Turn to the panels, this one first."""
        names = [panel.name for panel in self.inspector.panels]
        if name in names:
            self.inspector.choose(names.index(name))
        self.show_page(INSPECT)

    def focus_first(self, new: bool) -> None:
        """Focus what a person is likely to use first.

        In a `new` tab with a model that can answer, that is the stage, its page in a small window. Nothing that a person types into takes
        the focus by itself.
        """
        has_run = self.attaches or self.link.run is not None
        if new and not self._turned and self.stage is not None and not has_run and self.link.pretrained:
            self.page = TRY_IT
        focused = self.screen.focused
        if focused is None or self not in focused.ancestors:
            self._page_to_focus = self.page if self.paged else TRY_IT if self.stage is not None else CURVES
            self._to_type = False
            self._focus_page()

    def _focus_page(self) -> None:
        """Focus the part that was turned to. Panels that are mounted when their page is first shown get the focus then."""
        part = {TRY_IT: "ActionStage", CURVES: "LineChart", INSPECT: "#right PanelView", SETTINGS: "#form-scroll"}.get(self._page_to_focus)
        for widget in self.query(part) if part is not None else ():
            if widget.display:
                parts = [widget, *widget.query("*")]
                targets = [part for part in parts if part.focusable]
                wanted = [part for part in targets if isinstance(part, Input) == self._to_type]
                target = next(iter([*wanted, *targets]), None)
                if target is not None:
                    self._page_to_focus = ""
                    self.call_after_refresh(self._focus_if_visible, target, self._to_type)
                    return

    @on(PageBar.Chosen)
    def _page_chosen(self, event: PageBar.Chosen) -> None:
        event.stop()
        self.show_page(event.number)

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def draw_changes(self) -> None:
        """Draw what has changed since the last call."""
        if not self._run_bar.is_attached:
            return
        link, history = self.link, self.link.history
        link.poll()
        now = time.monotonic()
        variant = self._variant()
        self._charts.set_card(variant)
        for inspector in self.inspectors:
            inspector.set_card(variant)
        if link.state != "training" or now >= self._charts_due:
            self._charts_due = now + CHART_SECONDS - 0.05
            link.companions.poll()
            self._charts.set_note(self._failure_note())
            self._charts.show(history, link.companions)
            if self.paged:
                self._strip.set_card(variant)
                self._strip.show(history)
        self.set_class(link.busy or link.state == "paused", "-training")
        settings = self.form.values | (history.settings if history.started else {})
        self._charts.set_settings(settings)
        self._run_bar.show(self.run_bar_state())
        self.runs.compare(variant, self._others(variant, settings))
        measured = history.held_out.get(variant.metric)
        value = measured.last if measured is not None else None
        self.runs.poll(link.run.name if link.run is not None else "", link.state, math.nan if value is None else value)
        if link.answering is not self._answered_by:
            self._answered_by = link.answering
            for inspector in self.inspectors:
                inspector.another_model()
        panels, self._new_panels = self._new_panels, {}
        training = link.run is None or link.state in ("starting", "training")
        for inspector in self.inspectors:
            for view, panel, step in panels.values():
                if isinstance(panel, str):
                    inspector.fail(view, panel)
                else:
                    inspector.show(view, panel, step)
            inspector.set_unavailable(ASKING if link.answering is not None else EMPTY if link.state == "empty" else link.unavailable)
            inspector.set_step(None if training and link.past is None else history.step)
            inspector.look_back(link.past)
        if (link.wanted is not None) != self._looking_back:
            self._looking_back = link.wanted is not None
            self.app.refresh_bindings()
            if not self._looking_back:
                self._charts.look_back(None)
        if history.failure is not None and history.failure != self._reported:
            self._reported = history.failure
            self._report_failure(history.failure)
        self.form.show_running(history.settings if history.started and link.run is not None else None)
        stage = self.stage
        if stage is not None:
            stage.set_unavailable(ASKING if link.answering is not None else link.unavailable)
            stage.show_model(link.model)
            if (answering := link.answering) is not self._answering:
                self._answering = answering
                stage.act = link.act if answering is not None else None
                stage.ask = link.ask if answering is not None else None
            if (answers := (link.past, 0 if link.past is not None else history.step)) != self._stage_step:
                self._stage_step = answers
                stage.model_changed()

    @property
    def train_again(self) -> Offer | None:
        """Of a run that failed and is shown: to train again as the failure advises, unless somebody has chosen other settings since."""
        failure, settings = self.link.history.failure, self.link.history.settings
        if failure is None or self.link.state != "failed":
            return None
        if any(show(self.form.values.get(name)) != show(settings.get(name)) for name in failure.settings):
            return None
        return next((offer for offer in self.controls.ways_out(failure) if offer.key == AGAIN), None)

    def _failure_note(self) -> Note | None:
        """Where the run failed: what happened, and the key that does what is advised."""
        failure = self.link.history.failure
        if failure is None or self.link.state != "failed":
            return None
        again = self.train_again
        return Note(float(failure.step), f"✗ {failure.what}", f"{again.key}  {again.words}" if again is not None else "")

    def _report_failure(self, failure: Failed) -> None:
        offers = self.controls.ways_out(failure)
        self.post_message(self.Problem(f"The run failed: {failure.what}", failure.why, failure.remedy, offers))

    def _variant(self) -> Card:
        """The card for the run's settings, or for those that a run would start with."""
        history = self.link.history
        return self.card.of(history.settings if history.started else self.form.values)

    def _others(self, card: Card, settings: Mapping[str, Any]) -> dict[str, float]:
        """What the card's metric is of a pretrained model that was measured on the same data, and of the baselines there."""
        model, own = self.link.companions.pretrained.comparable(settings), self.link.history.baselines
        reached = {"pretrained": model.metrics[card.metric]} if model is not None and card.metric in model.metrics else {}
        known = own if own or model is None else model.baselines
        return reached | dict(known.get(card.metric, {}))

    def run_bar_state(self) -> RunBarState:
        """What the run bar shows."""
        link, history, status, card = self.link, self.link.history, self.link.status, self._variant()
        chart = next((chart for chart in card.charts if card.metric in chart.held_out), card.charts[0])
        first = next((chart for chart in card.charts if chart.train), chart)
        loss = next(iter(first.train), "")
        train, held_out = history.training.get(loss), history.held_out.get(card.metric)
        problem = status.problem if status is not None else ""
        if not problem and history.failure is not None:
            problem = history.failure.what
        return RunBarState(
            state=link.state,
            name=link.run.name if link.run is not None else "",
            phase=link.phase,
            beside=self._beside[-1] if self._beside else "",
            reason=history.finished.reason if history.finished is not None else "",
            showing=link.showing if link.run is None else "",
            from_checkpoint=bool(self.controls.origin),
            past=link.past,
            interventions=len(self.touches.now),
            step=max(history.step, status.step if status is not None and link.attached else 0),
            steps=history.steps,
            steps_per_second=status.steps_per_second if status is not None else 0.0,
            limit=link.limit,
            train=(words(loss), measure(train.last, percent=first.percent)) if train is not None else ("", ""),
            held_out=(words(card.metric), measure(held_out.last, percent=chart.percent)) if held_out is not None else ("", ""),
            saved_at=history.saved_at,
            problem=problem,
        )

    # --- what the link reports (`Listener`) ---------------------------------------------------------------------------------------

    def panel_received(self, view: View, panel: AnyPanel | str, step: int) -> None:
        self._new_panels[view.panel] = (view, panel, step)
        if self.link.past is not None:  # a person scrubs: the next frame of the app's timer would be late
            self.call_later(self.draw_changes)

    def panel_working(self, view: View, doing: str) -> None:
        for inspector in self.inspectors:
            inspector.working(view, doing)

    def status_changed(self) -> None:
        self.post_message(self.StatusChanged(self))

    def problem(self, title: str, why: str, remedy: str, *, ended: bool = False) -> None:
        self.post_message(self.Problem(title, why, remedy, self.controls.ways_on() if ended else ()))

    @contextlib.contextmanager
    def meanwhile(self, words: str) -> Iterator[None]:
        """Until it is left the run bar tells what is done beside the run; its words up to their first comma where there is little room."""
        self._beside.append(words)
        try:
            yield
        finally:
            self._beside.remove(words)

    # --- an earlier time of the run -----------------------------------------------------------------------------------------------

    def _moments(self) -> list[int]:
        """The steps that can be looked back at; where there are none, or a model that is open has one alone, that is told."""
        link = self.link
        moments, model = link.moments(), link.showing.partition(" (")[0] if link.run is None else ""
        if not moments or (model and len(moments) < 2):
            self.app.notify(f"{model} has no earlier checkpoints" if model else NO_MOMENTS, timeout=4)
            return []
        return moments

    async def look_back(self, step: float | None = None) -> None:
        """Let every panel answer from the run's last checkpoint at or before `step`, by default where the cursor of the curves stands."""
        if not (moments := self._moments()):
            return
        at = step if step is not None else self._charts.cursor
        if at is None and self.link.run is None:
            at = self.link.opened
        chosen = moments[-1] if at is None else moments[max(bisect.bisect_right(moments, at) - 1, 0)]
        if not self.paged or self.page == CURVES:
            self._charts.focus_chart()
        await self._show_moment(chosen)

    async def _show_moment(self, step: int | None) -> None:
        self._charts.look_back(step, self.link.moments() if step is not None else ())
        await self.link.rewind(step)
        if self.link.wanted is None:  # that failed, which was told
            self._charts.look_back(None)

    async def go(self, by: int) -> None:
        """To the checkpoint before or after the one that is shown."""
        self._film = None
        moments, past = self.link.moments(), self.link.wanted
        if past is not None and moments:
            place = bisect.bisect_left(moments, past) - 1 if by < 0 else bisect.bisect_right(moments, past)
            await self._show_moment(moments[min(max(place, 0), len(moments) - 1)])

    async def return_to_now(self) -> None:
        """Let every panel answer from the model as it is now."""
        self._film = None
        await self._show_moment(None)

    async def play_film(self) -> None:
        """Show one checkpoint after the other, from the one that is shown or from the first; while that is going on: stop."""
        if self._film is not None:
            self._film = None
            return
        film = self._film = object()
        moments, past = self._moments(), self.link.past
        for step in [one for one in moments if past is None or past >= moments[-1] or one > past]:
            if self._film is not film:
                return
            await self._show_moment(step)
            await asyncio.sleep(FILM_SECONDS)
        if self._film is film:
            self._film = None

    async def branch(self) -> None:
        """Start a new run from the checkpoint that is shown, or from the one at the cursor of the curves, or from the last."""
        moments, cursor = self.link.moments(), self._charts.cursor
        at = self.link.past if self.link.past is not None else cursor if cursor is not None else max(moments, default=0)
        await self.controls.branch(int(at))

    @on(LineChart.Moved)
    async def _cursor_moved(self, event: LineChart.Moved) -> None:
        event.stop()
        if self.link.wanted is None or event.chart not in self._charts.walk_children():
            return
        self._film = None
        self.post_message(self.LookedBack(self, event.x))

    # --- what a person does -------------------------------------------------------------------------------------------------------

    @on(RecentRuns.Chosen)
    def _run_chosen(self, event: RecentRuns.Chosen) -> None:
        event.stop()
        self.post_message(self.RunChosen(self, event.name))

    @on(SettingsForm.Changed)
    async def _setting_changed(self, event: SettingsForm.Changed) -> None:
        event.stop()
        if event.live and self.link.attached:
            await self.link.set(event.name, event.value)

    @on(Inspector.ViewsChanged)
    def _other_views(self, event: Inspector.ViewsChanged) -> None:
        event.stop()
        if self.below is not None:
            below = [card.name for card in self.below.visible_panels()]
            if self.screen.maximized is None:  # a part that fills the window hides the others, and they come back as they were
                self.inspector.leave_out(() if self.paged else below)
            if self.stage is not None:
                self.stage.set_forward_pass(FORWARD in below)
        self._watch_views()
        if self._page_to_focus == INSPECT:
            self._focus_page()

    @on(Inspector.OptionChanged)
    def _option_changed(self, event: Inspector.OptionChanged) -> None:
        event.stop()
        self.options[event.name] = event.value
        if (stage := self.stage) is not None:
            stage.set_options({event.name: event.value})
        self._watch_views()

    @on(ActionStage.OptionsChanged)
    def _stage_options_changed(self, event: ActionStage.OptionsChanged) -> None:
        event.stop()
        self._watch_views()  # the stage changes the tab's own dictionary of options, which may be newer than the event

    @on(ActionStage.ActionChosen)
    def _action_chosen(self, event: ActionStage.ActionChosen) -> None:
        event.stop()
        self.post_message(self.ActionChosen(self, event.name))

    async def act(self, name: str) -> None:
        """Do one of the architecture's own actions with those of the tab's options that it takes; actions wait for each other."""
        stage = self.stage
        if self._acting >= MAX_WAITING or (stage is not None and stage.handles(name)):
            return
        action = next(action for action in self.card.actions if action.name == name)
        self._acting += 1
        try:
            async with self._act_lock:
                panel = await self.link.act(name, filter_options(action.options, self.options), urgent=True)
        except (RunError, OSError) as error:
            if stage is not None:
                stage.show_problem(str(error))
            self._notify_unless_seen(str(error))
        else:
            if stage is not None:
                stage.after_action(action, panel)
            self._notify_unless_seen(f"{action.title}: done" + (", and marked on the curves" if action.lasting else ""))
        finally:
            self._acting -= 1

    def show_touches(self) -> None:
        """Ask every panel anew under the interventions of now, and save them with the run."""
        self.options["do"] = self.touches.text
        if self.stage is not None:
            self.stage.ask_question()
        self._watch_views()
        if (run := self.link.run) is not None:
            try:
                saved_interventions.write(run, self.touches.now)
            except OSError as error:
                self.app.notify(f"the interventions were not saved: {error.strerror or error}", timeout=4)

    def _take_touches_off(self) -> None:
        """A new run begins without interventions. Those of the run before stay saved with it."""
        if count := len(self.touches.now):
            self.touches.put(())
            self.options["do"] = ""
            self._watch_views()
            them = "the intervention is" if count == 1 else f"the {count} interventions are"
            self.app.notify(f"{them} off for the new run; T, then ctrl+z puts {'it' if count == 1 else 'them'} on again", timeout=6)

    async def train_with_touches(self, text: str) -> str:
        """Put them into the setting `train_with`, of the run that trains or else of the form. Returns what became of it, in words.

        Raises `SettingsError`.
        """
        if not self.form.put("train_with", text):
            raise SettingsError(self.form.problem, "train_with")
        if not self.link.attached:
            return "in the form now: the next run trains with them" if text else "the next run trains without interventions"
        await self.link.set("train_with", text)
        return "asked for: the change is marked on the curves" if text else "it trains without interventions from now on"

    def _notify_unless_seen(self, text: str) -> None:
        """Show a text that the stage's message line shows as well, if the stage is not in view."""
        if self.stage is None or not self.stage.can_be_seen():
            self.app.notify(text, timeout=4)

    @property
    def inspectors(self) -> list[Inspector]:
        """The parts with panels: the one on the page Inspect, and the one below the stage."""
        return [self.inspector] + ([self.below] if self.below is not None else [])

    def _watch_views(self) -> None:
        if self.is_attached:
            self.link.watch([view for inspector in self.inspectors for view in inspector.views(self.options)])


def _stage(card: Card, options: dict[str, Any]) -> ActionStage:
    """The stage of this kind; only its own module is imported."""
    match card.stage:
        case stages.Prompt():
            from dlplay.screen.stages.prompt.stage import PromptStage

            return PromptStage(card, options)
        case stages.TokenLine():
            from dlplay.screen.stages.token_line import TokenLineStage

            return TokenLineStage(card, options)
        case stages.Plane():
            from dlplay.screen.stages.plane import PlaneStage

            return PlaneStage(card, options)
        case stages.Environment():
            from dlplay.screen.stages.environment.stage import EnvironmentStage

            return EnvironmentStage(card, options)
        case stages.Pad():
            from dlplay.screen.stages.pad import PadStage

            return PadStage(card, options)
    raise TypeError(f"there is no stage for {card.stage!r}")
