"""One architecture's tab: settings, curves and the inside above, the action and the run bar below; pages of it in a small window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.commands import View
from dlplay.engine.events import Failed
from dlplay.engine.panels import AnyPanel
from dlplay.runs.client import RunError
from dlplay.screen.charts import ChartColumn
from dlplay.screen.form import SettingsForm
from dlplay.screen.inside import Inside
from dlplay.screen.numbers import measure
from dlplay.screen.options_bar import known
from dlplay.screen.page_bar import PageBar
from dlplay.screen.run_bar import RunBar, Standing
from dlplay.screen.run_link import RunLink
from dlplay.screen.stage import ActionStage
from dlplay.screen.steering import Steering

WIDE = (110, 30)
"""Columns and rows from which everything is seen at once."""
CHART_SECONDS = 0.5
"""Between two drawings of the curves while training; they are the most that goes to the terminal."""
MOST_WAITING = 8
"""Actions that may wait for the one before; a key that is held down must not go on acting long after it was let go."""
LEAST = (60, 14)
"""Columns and rows of a tab below which nothing useful can be drawn."""

Offer = tuple[str, Callable[[], Awaitable[None]]]
"""A way out that is offered as a choice: its words, and what does it."""


class ArchitectureTab(Vertical):
    """Everything of one architecture. Its `link` holds the run; `renew` draws what has changed, called by the app's one timer."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()

    page = reactive("2")
    """In a small window: which page is seen."""

    class Reported(Message):
        """The run's state or its device changed."""

    class ActionWanted(Message):
        """One of the architecture's actions was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Trouble(Message):
        """Something a person has to know of."""

        def __init__(self, title: str, words: str, remedy: str, offer: Offer | None = None) -> None:
            super().__init__()
            self.title, self.words, self.remedy, self.offer = title, words, remedy, offer

    def __init__(
        self,
        card: Card,
        runs_dir: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        origin: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(id=f"tab-{card.name}", classes="tab")
        self.card = card
        self.link = RunLink(card, runs_dir, self)
        self.options: dict[str, Any] = dict(options or {})
        self._fresh: dict[str, tuple[View, AnyPanel]] = {}
        self._answering: object = None
        self._act_lock = asyncio.Lock()
        self._acting = 0
        self._pages = [("1", "settings"), ("2", "curves"), ("3", "inside")] + ([("4", "action")] if card.stage else [])
        self._page_bar = PageBar(self._pages)
        self.form = SettingsForm(card, settings)
        self.steering = Steering(self.link, self.form, lambda words: self.app.notify(words, timeout=4), self.trouble)
        self.steering.origin = origin
        self._charts = ChartColumn(card)
        self.inside = Inside(card)
        self.stage = _stage(card, self.options) if card.stage is not None else None
        self._too_small = Static(id="too-small")
        self._run_bar = RunBar()
        self._charts_due = 0.0
        self._renewed_at = -1
        self._told: Failed | None = None
        self._wanted_page = ""
        self._focus_before: Widget | None = None
        """What had the focus before the window became too small."""

    def compose(self) -> ComposeResult:
        yield self._page_bar
        with Horizontal(id="upper"):
            yield self.form
            yield self._charts
            yield self.inside
        if self.stage is not None:
            yield self.stage
        yield self._too_small
        yield self._run_bar

    def on_mount(self) -> None:
        self._charts.show(self.link.history)
        self._watch_page()

    # --- the room there is --------------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self.fit(*self.size)
        self.call_after_refresh(self._views_changed)

    def fit(self, columns: int, rows: int) -> None:
        """Arrange the parts for a tab of this size."""
        small = columns < LEAST[0] or rows < LEAST[1]
        if self.has_class("-wide") and not (columns >= WIDE[0] and rows >= WIDE[1] - 2):
            self.page = self._focused_page() or self.page
        self.set_class(columns >= WIDE[0] and rows >= WIDE[1] - 2, "-wide")
        if small and not self.has_class("-small") and self.is_attached:
            self._focus_before = self.screen.focused
        elif not small and self.has_class("-small"):
            self.call_after_refresh(self._focus_again)
        self.set_class(small, "-small")
        if self.stage is not None:
            self.stage.set_digits(self.has_class("-wide"))
        self.set_class(rows >= 36, "-high")
        self.set_class(rows >= 50, "-tall")
        if small:
            here = f"This window has {columns} columns and {rows + 2} rows."
            self._too_small.update(f"{here}\nThe playground needs {LEAST[0]} and {LEAST[1] + 2}.")

    def _focus_again(self) -> None:
        """What is hidden loses the focus; it comes back with the room."""
        before, self._focus_before = self._focus_before, None
        if before is not None and before.is_attached and self.screen.focused is None:
            before.focus()

    def _focused_page(self) -> str:
        """The page of the part that has the focus."""
        parts = {"1": self.form, "2": self._charts, "3": self.inside, "4": self.stage}
        return next((number for number, part in parts.items() if part is not None and part.has_focus_within), "")

    def watch_page(self) -> None:
        if self.is_mounted:
            self._watch_page()

    def _watch_page(self) -> None:
        for number, _ in self._pages:
            self.set_class(self.page == number, f"-page-{number}")
        self._page_bar.page = self.page
        self.call_after_refresh(self._views_changed)

    def show_page(self, number: str) -> None:
        """Turn to a page; in a wide window the focus goes to that part instead."""
        if number not in dict(self._pages):
            return
        self.page = number
        self._wanted_page = number
        self._focus_page()

    def _focus_page(self) -> None:
        """Focus the part that was turned to; panels that are mounted only when their page is first seen get it then."""
        part = {"1": "#form-scroll", "2": "LineChart", "3": "PanelView", "4": "ActionStage"}.get(self._wanted_page)
        for widget in self.query(part) if part is not None else ():
            if widget.display:
                target = widget if widget.focusable else next((child for child in widget.query("*") if child.focusable), None)
                if target is not None:
                    self._wanted_page = ""
                    self.call_after_refresh(target.focus)
                    return

    @on(PageBar.Chosen)
    def _page_chosen(self, event: PageBar.Chosen) -> None:
        event.stop()
        self.show_page(event.number)

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Draw what has changed since the last call."""
        if not self._run_bar.is_attached:
            return
        link, history = self.link, self.link.history
        link.poll()
        now = time.monotonic()
        variant = self._variant()
        self._charts.become(variant)
        self.inside.become(variant)
        if link.state != "training" or now >= self._charts_due:
            self._charts_due = now + CHART_SECONDS - 0.05
            self._charts.show(history)
        self._charts.expect(link.busy, self.form.values | (history.settings if history.started else {}))
        self._run_bar.show(self.standing())
        fresh, self._fresh = self._fresh, {}
        inside = self.inside
        for view, panel in fresh.values():
            inside.show(view, panel)
        if history.failure is not None and history.failure is not self._told:
            self._told = history.failure
            self._tell_failure(history.failure)
        self.form.show_running(history.settings if history.started and link.run is not None else None)
        stage = self.stage
        if stage is not None:
            stage.keep_silent(link.silence)
            if (answering := link.answering) is not self._answering:
                self._answering = answering
                stage.act = link.act if answering is not None else None
                stage.ask = link.ask if answering is not None else None
            if history.step != self._renewed_at:
                self._renewed_at = history.step
                stage.renew()

    def _tell_failure(self, failure: Failed) -> None:
        smaller = "batch" in self.form.values and "memory" in failure.what
        offer = ("start from the last checkpoint with half the batch", self.steering.start_smaller) if smaller else None
        self.post_message(self.Trouble(f"The run failed: {failure.what}", failure.why, failure.remedy, offer))

    def _variant(self) -> Card:
        """The card with the run's settings, or with those that a run would begin with."""
        history = self.link.history
        return self.card.of(history.settings if history.started else self.form.values)

    def standing(self) -> Standing:
        """What the run bar shows."""
        link, history, status, card = self.link, self.link.history, self.link.status, self._variant()
        chart = next((chart for chart in card.charts if card.metric in chart.held_out), card.charts[0])
        first = next((chart for chart in card.charts if chart.train), chart)
        loss = next(iter(first.train), "")
        train, held_out = history.training.get(loss), history.held_out.get(card.metric)
        problem = status.problem if status is not None else ""
        if not problem and history.failure is not None:
            problem = history.failure.what
        return Standing(
            state=link.state,
            name=link.run.name if link.run is not None else "",
            looking_at=link.origin if link.run is None else "",
            trains_on=bool(self.steering.origin),
            step=max(history.step, status.step if status is not None and link.attached else 0),
            steps=history.steps,
            steps_per_second=status.steps_per_second if status is not None else 0.0,
            limit=link.limit,
            train=(loss.replace("_", " "), measure(train.last, percent=first.percent)) if train is not None else ("", ""),
            held_out=(card.metric.replace("_", " "), measure(held_out.last, percent=chart.percent)) if held_out is not None else ("", ""),
            saved_at=history.saved_at,
            problem=problem,
        )

    # --- what the link tells ------------------------------------------------------------------------------------------------------

    def shown(self, view: View, panel: AnyPanel) -> None:
        """Kept until the next repaint; the newest of each panel."""
        self._fresh[view.panel] = (view, panel)

    def reported(self) -> None:
        """The state or the device changed."""
        self.post_message(self.Reported())

    def trouble(self, title: str, words: str, remedy: str) -> None:
        """To be told by the app."""
        self.post_message(self.Trouble(title, words, remedy))

    # --- what a person does -------------------------------------------------------------------------------------------------------

    @on(SettingsForm.Changed)
    async def _setting_changed(self, event: SettingsForm.Changed) -> None:
        event.stop()
        if event.live and self.link.attached:
            await self.link.set(event.name, event.value)

    @on(Inside.ViewsChanged)
    def _other_views(self, event: Inside.ViewsChanged) -> None:
        event.stop()
        self._views_changed()
        if self._wanted_page == "3":
            self._focus_page()

    @on(Inside.OptionPicked)
    def _option_picked(self, event: Inside.OptionPicked) -> None:
        event.stop()
        self.options[event.name] = event.value
        if (stage := self.stage) is not None:
            stage.set_options({event.name: event.value})
        self._views_changed()

    @on(ActionStage.OptionsChanged)
    def _stage_changed(self, event: ActionStage.OptionsChanged) -> None:
        event.stop()
        self._views_changed()  # the options are the same dictionary: what was told may be newer by now

    @on(ActionStage.ActionChosen)
    def _action_chosen(self, event: ActionStage.ActionChosen) -> None:
        event.stop()
        self.post_message(self.ActionWanted(event.name))

    async def act(self, name: str) -> None:
        """One of the architecture's own actions, with the tab's options as far as it knows them; one after the other."""
        stage = self.stage
        if self._acting >= MOST_WAITING or (stage is not None and stage.does(name)):
            return
        action = next(action for action in self.card.actions if action.name == name)
        self._acting += 1
        try:
            async with self._act_lock:
                panel = await self.link.act(name, known(action.options, self.options), urgent=True)
        except (RunError, OSError) as error:
            self._say(str(error), stage.say if stage is not None else None)
        else:
            if stage is not None:
                stage.done(action, panel)
            self._say(f"{action.title}: done" + (", and marked on the curves" if action.lasting else ""), None)
        finally:
            self._acting -= 1

    def _say(self, words: str, in_stage: Callable[[str], None] | None) -> None:
        """In the stage's own line, else where it is seen."""
        if in_stage is not None:
            in_stage(words)
        if self.stage is None or not self.stage.can_be_seen():
            self.app.notify(words, timeout=4)

    def _views_changed(self) -> None:
        if self.is_attached:
            self.link.watch(self.inside.views(self.options))


def _stage(card: Card, options: dict[str, Any]) -> ActionStage:
    """The action area of this kind; only its own module is loaded."""
    match card.stage:
        case stages.Prompt():
            from dlplay.screen.prompt_stage import PromptStage

            return PromptStage(card, options)
        case stages.TokenLine():
            from dlplay.screen.token_line_stage import TokenLineStage

            return TokenLineStage(card, options)
        case stages.Plane():
            from dlplay.screen.plane_stage import PlaneStage

            return PlaneStage(card, options)
        case stages.Environment():
            from dlplay.screen.environment_stage import EnvironmentStage

            return EnvironmentStage(card, options)
        case stages.Pad():
            from dlplay.screen.pad_stage import PadStage

            return PadStage(card, options)
    raise TypeError(f"there is no action area for {card.stage!r}")
