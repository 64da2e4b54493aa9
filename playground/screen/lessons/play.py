"""One playing of a lesson on the screen: which step it is at, what was guessed, trained and read, and what of that holds. Draws nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from typing import Literal

from dlplay import architectures
from dlplay.engine.settings import SettingsError, to_dict
from dlplay.lessons import player
from dlplay.lessons.condition import Verdict
from dlplay.lessons.evidence import Evidence, ReadError, reads
from dlplay.lessons.found import LessonError, seeds_of, settings_of
from dlplay.lessons.lesson import Claim, Lesson, Show, Step
from dlplay.runs import directory
from dlplay.runs.client import RunError
from dlplay.runs.directory import RunDirectory
from dlplay.runs.lock import holder
from dlplay.screen.panels.options_bar import filter_options
from dlplay.screen.panels.panel_view import PanelView
from dlplay.screen.run.companions import Companion
from dlplay.screen.run.run_link import COMPLETE
from dlplay.screen.tab import CURVES, INSPECT, TRY_IT, ArchitectureTab

OWN = ("device", "threads")
"""Settings that a lesson leaves as the person has them."""
OPEN_SECONDS = 30.0
"""How long a step waits for a model to open."""

Phase = Literal["asking", "ready", "doing", "done", "finished"]


@dataclasses.dataclass
class Play:
    """`tab` is the tab on which the present step is taken."""

    lesson: Lesson
    tab: ArchitectureTab
    seed: int = 0

    def __post_init__(self) -> None:
        self.at = 0
        self.guesses: dict[int, int] = {}
        """The choice of each question that was answered, counted from 1, by step."""
        self.problem = ""
        """Why the step could not be done."""
        self.evidence = Evidence(self.lesson)
        self._runs: dict[str, list[Companion]] = {}
        self._did: set[int] = set()
        """Steps that were done."""
        self._busy = False
        self._over = False

    # --- where it stands ----------------------------------------------------------------------------------------------------------

    @property
    def step(self) -> Step:
        return self.lesson.steps[self.at]

    @property
    def room(self) -> str:
        """The architecture on whose tab this step is taken."""
        return self.lesson.room_at(self.at)

    @property
    def phase(self) -> Phase:
        if self._over:
            return "finished"
        if self.step.question is not None and self.at not in self.guesses:
            return "asking"
        if self._busy or (self.at in self._did and not self._complete()):
            return "doing"
        return "done" if self.at in self._did or not self.step.does else "ready"

    @property
    def in_own_tab(self) -> bool:
        """Whether the step is taken on the tab that is open."""
        return self.tab.card.name == self.room

    def verdicts(self) -> list[tuple[Claim, Verdict]]:
        """What becomes of the step's claims, by what is known so far."""
        for name, runs in self._runs.items():
            self.evidence.histories[name] = [run.history for run in runs]
        return list(zip(self.step.claims, self.evidence.judge(self.step), strict=True))

    def poll(self) -> None:
        """Read what the lesson's runs have recorded since."""
        for runs in self._runs.values():
            for run in runs:
                try:
                    run.poll()
                except OSError as error:
                    self.problem = f"the run {run.run.name} cannot be read ({error.strerror or error})"

    def progress(self) -> str:
        """How far the training of this step is, in words; what keeps it from going on comes with the key that helps."""
        runs = self._runs.get(self.step.train, []) if self.at in self._did else []
        if not runs:
            return ""
        steps = sum(run.history.steps or 0 for run in runs)
        at = sum(run.history.step for run in runs)
        words = f"step {at:,} of {steps:,}"
        shown = self.tab.link.run
        if shown is None or all(run.run.path != shown.path for run in runs):
            other = f"{shown.name} is shown here now" if shown is not None else "no run is shown here now"
            words += f"; {other}, and the lesson's own is {runs[0].run.name}"
        elif runs[0].history.paused:
            words += "; paused: F5 goes on"
        return words

    def broken(self) -> str:
        """Why the training of this step will not come to its end, in words; empty while it may."""
        runs = self._runs.get(self.step.train, []) if self.at in self._did else []
        for run in runs:
            history, name = run.history, run.run.name
            if history.failure is not None:
                return f"the run {name} failed: {history.failure.what}"
            if history.finished is not None and history.finished.reason not in COMPLETE:
                return f"the run {name} was ended at step {history.step:,} of {history.steps or 0:,}"
            if not self._busy and history.started is not None and history.finished is None and holder(run.run.lock_path) is None:
                run.poll()  # its last words may have come since
                if run.history.finished is None and run.history.failure is None:
                    return f"the run {name} was interrupted at step {history.step:,} of {history.steps or 0:,}"
        return ""

    def _complete(self) -> bool:
        """Whether what the step began has ended."""
        if not self.step.train:
            return True
        runs = self._runs.get(self.step.train, [])
        return bool(runs) and all(run.history.finished is not None and run.history.finished.reason in COMPLETE for run in runs)

    # --- going on -----------------------------------------------------------------------------------------------------------------

    @property
    def revealed(self) -> bool | None:
        """Whether the guess was right; None before that is told, which is once the step was done."""
        question = self.step.question
        if question is None or self.at not in self.guesses or self.phase not in ("done", "finished"):
            return None
        return self.guesses[self.at] == question.answer

    def guess(self, choice: int) -> bool:
        """Answer the question; False where none is asked, or there is no such choice."""
        question = self.step.question
        if self.phase != "asking" or question is None or not 1 <= choice <= len(question.choices):
            return False
        self.guesses[self.at] = choice
        return True

    def next(self) -> None:
        """To the step behind this one; behind the last the lesson is finished."""
        self.problem = ""
        if self.at + 1 < len(self.lesson.steps):
            self.at += 1
        else:
            self._over = True

    def back(self) -> None:
        """To the step before."""
        self.problem = ""
        if self._over:
            self._over = False
        elif self.at and not self._busy:
            self.at -= 1

    async def do(self) -> None:
        """Do what the step does. What goes wrong is in `problem`."""
        if self._busy:
            return
        self._busy, self.problem = True, ""
        at = self.at
        try:
            await self._do(self.step)
        except (SettingsError, LessonError, RunError, ReadError, RuntimeError, OSError, ValueError) as error:
            self._did.discard(at)
            self.problem = str(error)
        else:
            self._did.add(at)
        finally:
            self._busy = False

    async def _do(self, step: Step) -> None:
        tab = self.tab
        if step.train:
            await self._train(step.train)
        elif step.set:
            tab.form.adopt(tab.form.values | step.set)
        elif step.show is not None:
            await self._show(step.show)
        elif step.act is not None:
            action = next(action for action in tab.card.actions if action.name == step.act.action)
            for _ in range(step.act.times):
                panel = await tab.link.act(action.name, filter_options(action.options, tab.options), urgent=True)
                if tab.stage is not None:
                    tab.stage.after_action(action, panel)
        elif step.overlay:
            tab.link.companions.mark([run.run for name in step.overlay for run in self._runs.get(name, [])])
            tab.page = CURVES
        elif step.find_lr:
            await tab.run_action("app.find_lr")

    async def _train(self, name: str) -> None:
        tab, before = self.tab, self.tab.link.run
        values = to_dict(settings_of(self.lesson, name, self.seed)) | {key: tab.form.values[key] for key in OWN}
        seeds = seeds_of(self.lesson, name, self.seed)
        if len(seeds) > 1:
            values |= {"seeds": f"{seeds[0]}..{seeds[-1]}", "jobs": 0}
        tab.form.close_editor()
        tab.form.adopt(values)
        tab.controls.origin = ""
        tab.page = CURVES
        await tab.controls.start_over(paused=False)
        run = tab.link.run
        if run is None or (before is not None and run.path == before.path):
            raise RuntimeError("the run did not start")
        self._close(name)
        self._runs[name] = [Companion(tab.card, member) for member in self._members(run, len(seeds))]

    def _members(self, run: RunDirectory, count: int) -> Sequence[RunDirectory]:
        return [run] if count == 1 else directory.members(run.path.parent, run.spec.group)

    async def _show(self, show: Show) -> None:
        tab = self.tab
        await self._open(player.answering(self.lesson, self.at, architectures.card(self.room)))
        for inspector in tab.inspectors:
            for name, value in show.options.items():
                inspector.post_message(PanelView.OptionChanged(name, value))
        if tab.stage is not None:
            tab.stage.set_options(dict(show.options))
        names = [panel.name for panel in tab.inspector.panels]
        if show.panel in names:
            tab.inspector.choose(names.index(show.panel))
        tab.page = INSPECT if show.panel in names else TRY_IT
        if show.reads:
            self.evidence.read |= reads(await tab.link.ask(show.panel, dict(show.options)), show.reads)

    async def _open(self, model: str) -> None:
        """Let this run of the lesson, or this model that comes with dlplay, answer."""
        tab, link = self.tab, self.tab.link
        if model in self.lesson.runs:
            runs = self._runs.get(model)
            if not runs:
                raise RuntimeError(f"the lesson's run {model} was not trained yet; backspace goes back to the step that trains it")
            if link.run is None or link.run.path != runs[0].run.path:
                await tab.controls.load(runs[0].run.name, run=True, train=False)
        elif link.run is not None or not link.showing.startswith(f"{model} ("):
            await tab.controls.load(model, run=False, train=False)
        deadline = time.monotonic() + OPEN_SECONDS
        while link.answering is None:
            if time.monotonic() > deadline or link.state in ("failed", "empty"):
                raise RuntimeError(link.unavailable)
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Read no further."""
        for name in list(self._runs):
            self._close(name)

    def _close(self, name: str) -> None:
        for run in self._runs.pop(name, []):
            run.close()
