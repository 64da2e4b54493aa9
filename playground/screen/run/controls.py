"""What a person can do with a tab's run: train, pause, step, start over, save, load. Draws nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from dlplay.checkpoints import CheckpointError
from dlplay.engine.events import Failed
from dlplay.engine.settings import Settings, SettingsError, code, make, show, to_dict
from dlplay.experiments import seeds
from dlplay.runs import branch as branches
from dlplay.runs import directory
from dlplay.runs import origin as origins
from dlplay.runs.launch import launch
from dlplay.runs.lock import holder
from dlplay.screen.form.form import SettingsForm
from dlplay.screen.run.companions import others_of_group
from dlplay.screen.run.run_link import COMPLETE, RunLink

ON_RESUME = ("threads", "device", "precision")
"""Settings that can be changed when a run is resumed, beside those that can at any time."""
END_SECONDS = 60.0
"""How long to wait for a run to end; it may only just be starting."""


class Offer(NamedTuple):
    """A way out of a problem, as a choice in its dialog."""

    key: str
    words: str
    take: Callable[[], Awaitable[None]]


class RunControls:
    """Turns a key press into commands to the run, with the form's settings.

    `notify` shows a short message; `problem` shows what went wrong, why, and what to do.
    """

    def __init__(self, link: RunLink, form: SettingsForm, notify: Callable[[str], None], problem: Callable[[str, str, str], None]) -> None:
        self.link = link
        self.form = form
        self.origin = ""
        """The checkpoint that the next run starts from; empty to train from scratch."""
        self.run_name = ""
        """What the next run is called; empty: by a number."""
        self.begin: Callable[[], None] = lambda: None
        """Called just before a new run starts."""
        self._notify = notify
        self._problem = problem
        self._adopting = asyncio.Lock()
        """Held until the settings of a run that is opened stand in the form: what they are compared with before that is another run's."""

    async def _adopted(self) -> None:
        """Wait until the form has the settings of the run that is shown."""
        async with self._adopting:
            return

    async def train(self) -> None:
        """Start a run when there is none, else pause or resume it."""
        await self._adopted()
        link = self.link
        if link.state == "starting":
            return
        if link.run is None:
            await self.start_over(paused=False)
        elif link.state == "finished":
            await self._extend()
        elif link.attached or link.state == "behind":
            await link.train_or_pause()
        else:
            await self._resume({})

    def _changed(self) -> dict[str, Any]:
        """The form's settings that differ from the run's and can change in a run that is resumed; the others are told."""
        pending = self.form.pending
        changed = {name: self.form.values[name] for name in pending if self._can_change(name)}
        if later := [name.replace("_", " ") for name in pending if name not in changed]:
            self._notify(f"{', '.join(later)}: takes effect when you start over (r)")
        return changed

    def _can_change(self, name: str) -> bool:
        """Whether the form's value of a setting can be taken over when the run is resumed."""
        return self.form.live(name) or (name in ON_RESUME and not self.form.for_the_next(name))

    async def _extend(self) -> None:
        """Resume a finished run, as far as the form's stop conditions allow."""
        history = self.link.history
        wanted: dict[str, Any] = {name: self.form.values[name] if self.form.live(name) else history.settings.get(name) for name in COMPLETE}
        changed = {name: value for name, value in wanted.items() if show(value) != show(history.settings.get(name))}
        reason = history.finished.reason if history.finished is not None else "steps"
        if wanted["steps"] <= history.step:
            self._notify(f"All {history.step:,} steps are done. Raise steps in the settings to continue, or press r to start over.")
        elif reason != "steps" and reason not in changed and not self.link.attached:
            limit = f"{reason} {show(wanted[reason])}"
            self._notify(f"It stopped at {limit}. Change {reason} in the settings to continue, or press r to start over.")
        elif self.link.attached:
            await self.link.train_or_pause()
        else:
            await self._resume({})

    async def step_once(self) -> None:
        """Train the run, or a new one, for a single step."""
        await self._adopted()
        link = self.link
        if link.state == "starting":
            return
        if link.run is None:
            await self.start_over(paused=True)
        elif not link.attached:
            await self._resume({}, paused=True)
        await link.step_once()

    async def start_over(self, *, paused: bool) -> None:
        """Start a new run with the form's settings; the present one is saved, ended and kept on disk."""
        self.form.close_editor()
        try:
            settings = self.form.settings
        except SettingsError as error:
            self._problem("These settings cannot be used", str(error), "correct them in the form, or choose a preset")
            return
        if not await self._end():
            return
        self.begin()
        name, self.run_name = self.run_name, ""
        if settings.seeds.strip():
            await self._start_group(settings, name or None)
            return
        await self.link.start(to_dict(settings), self.origin, name or None, paused=paused)
        if self.link.run is None or self.link.run.name != name:  # it could not start, and the next one may
            self.run_name = name

    async def _start_group(self, settings: Settings, name: str | None) -> None:
        """Start a run for each of the seeds; the tab shows the first of them, with the curves of the others behind it.

        They are trained by the command that a person could have typed, which goes on without this screen.
        """
        link = self.link
        first, *others = await asyncio.to_thread(seeds.create, link.runs_dir, link.card, settings, name, self.origin)
        trust = ["--trust-code"] if code(link.card.settings, to_dict(settings)) else []
        group = first.spec.group
        at_once = [f"{flag}={count}" for flag, count in (("--jobs", settings.jobs), ("--per-gpu", settings.per_gpu)) if count]
        command = ["resume", group, "--headless", "--runs-dir", str(link.runs_dir), *at_once, *trust]
        trainer = await launch(command, first.path / "group.txt")
        while holder(first.lock_path) is None and not first.journal_path.exists():
            if trainer.returncode is not None:
                raise RuntimeError(f"{group} could not start: {trainer.last_words(1)}")
            await asyncio.sleep(0.05)
        await link.attach(first.name)
        link.companions.mark(others)
        self._notify(f"{group}: {1 + len(others)} runs; this is {first.name}. dlplay stop {group} stops them all")

    def ways_out(self, failure: Failed) -> list[Offer]:
        """What the failure's remedy advises, as far as it can be done with the form's settings."""
        changes, step = failure.settings, self.link.last_checkpoint if failure.resumes else None
        try:
            make(self.form.card.settings, self.form.values | changes)
        except SettingsError:
            return []
        words = ", ".join(f"{self.form.fields[name].label} {show(value)}" for name, value in changes.items())
        found = [Offer("r", f"train again with {words}", self._safely(self._train_again, changes))] if changes else []
        if step is not None and not changes:
            found.append(Offer("s", f"resume from step {step:,}", self._safely(self._resume, {})))
        elif step and all(self.form.fields[name].live or name in ON_RESUME for name in changes):
            found.append(Offer("s", f"resume from step {step:,} with {words}", self._safely(self._resume, changes)))
        elif step:
            found.append(Offer("s", f"start from the weights of step {step:,} with {words}", self._safely(self._train_on_weights, changes)))
        return found

    def ways_on(self) -> list[Offer]:
        """What can be done with a run that has ended before its time."""
        step = self.link.last_checkpoint
        again = [] if step is None else [Offer("s", f"resume from step {step:,}", self._safely(self._resume, {}))]
        return [*again, Offer("r", "start over", self._safely(self._train_again, {}))]

    def _safely(self, do: Callable[[dict[str, Any]], Awaitable[None]], changes: dict[str, Any]) -> Callable[[], Awaitable[None]]:
        """Do it once the run's process has ended, and report what goes wrong."""

        async def take() -> None:
            try:
                if await self._end() and await self._let_go():
                    for name, value in changes.items():
                        self.form.put(name, value)
                    await do(changes)
            except (OSError, ValueError, RuntimeError) as error:
                self._problem("That failed", str(error), "")

        return take

    async def _let_go(self) -> bool:
        """Wait until the process of a run that is over has gone; False, with a message, when it does not."""
        run, deadline = self.link.run, asyncio.get_running_loop().time() + END_SECONDS
        while run is not None and (held := holder(run.lock_path)) is not None:
            if asyncio.get_running_loop().time() > deadline:
                self._problem("The run has not ended yet", f"Process {held.pid} still holds {run.name}.", "try again later")
                return False
            await asyncio.sleep(0.05)
        return True

    async def _train_again(self, changes: dict[str, Any]) -> None:
        await self.start_over(paused=False)

    async def _resume(self, changes: dict[str, Any], *, paused: bool = False) -> None:
        """Resume the run once its process has gone, where it has only just failed."""
        if await self._let_go():
            await self.link.resume(paused=paused, overrides=self._changed() | changes)

    async def _train_on_weights(self, changes: dict[str, Any]) -> None:
        if self.link.run is not None:
            self.origin = self.link.run.name
            await self.start_over(paused=False)

    async def branch(self, step: int) -> None:
        """Start a new run from the last checkpoint with a training state at or before `step`, with the form's settings that can change.

        The present run goes on by itself. Raises `SettingsError`, `CheckpointError` and `OSError`.
        """
        await self._adopted()
        link = self.link
        if link.state == "starting":
            return
        if (run := link.run) is None:
            self._notify("there is no run to branch from; F5 starts one")
            return
        self.form.close_editor()
        goes_on = f"; {run.name} continues in the background, o reopens it" if link.busy else ""
        child = await asyncio.to_thread(branches.branch, link.runs_dir, run, step, self._changed(), link.code())
        await link.attach(child.name, resume=True)
        self._notify(f"{child.name} branches off {run.name} at step {child.spec.parent_step:,}{goes_on}")

    async def attach(self, name: str, *, resume: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Show a run, live or from its journal, and its settings. Raises `RunNameError`."""
        self.origin = ""
        run = directory.find(self.link.runs_dir, name)
        if others := await asyncio.to_thread(others_of_group, self.link.runs_dir, run):
            self.link.companions.mark(others)
        async with self._adopting:
            self.link.show(name)
            await self.link.caught_up()
            if self.link.history.settings:
                self.form.adopt({**self.link.history.settings, **(overrides or {})})
        await self.link.open(resume=resume, overrides=overrides)

    async def explore(self) -> None:
        """Open a model before anything is trained: the one that was named, or the pretrained one."""
        await self.link.explore(self.origin)

    def change_speed(self, by: int) -> None:
        """Change the limit on steps per second by one notch."""
        limit = self.link.change_limit(by)
        self._notify(f"at most {limit:,.0f} steps per second" if limit else "full speed")

    async def save(self) -> None:
        """Save a checkpoint now."""
        if not self.link.attached:
            self._notify("nothing is training here; F5 starts a run")
        elif await self.link.save():
            self.link.poll()
            self._notify(f"saved at step {self.link.history.saved_step or 0:,}")

    async def load(self, name: str, *, run: bool, train: bool, resume: bool = False) -> None:
        """Open a pretrained model or a run, which `resume` resumes; `train` starts a new run from its weights."""
        left = self.link.run.name if not train and self.link.busy and self.link.run is not None else ""
        if not left and not await self._end():
            return
        if left and left != name:
            self._notify(f"{left} continues in the background; o reopens it")
        if run and not train:
            await self.attach(name, resume=resume)
        elif await self._adopt_settings(name):
            self.link.leave()
            if train:
                self.origin = name
                await self.start_over(paused=False)
            else:
                self.origin = ""
                await self.link.explore(name)

    async def _end(self) -> bool:
        """Save and end the present run; False, with a message, when it does not end in time."""
        name = self.link.run.name if self.link.busy and self.link.run is not None else ""
        if not await self.link.end(END_SECONDS):
            why = "It may be in a long step or evaluation."
            self._problem("The run has not stopped yet", why, f"try again, or stop it from another terminal: dlplay stop {name}")
            return False
        if name:
            self._notify(f"{name} was saved and ended; o reopens it")
        return True

    async def _adopt_settings(self, name: str) -> bool:
        """Show the settings of a checkpoint in the form, since weights fit only the settings they were trained with."""
        try:
            checkpoint = await asyncio.to_thread(origins.find, name, self.link.runs_dir, self.link.card.name, weights=False)
        except (SettingsError, CheckpointError) as error:
            self._problem(f"{name} cannot be opened", str(error), "choose another one")
            return False
        self.form.adopt(self.form.values | origins.settings_of(self.link.card, checkpoint))
        return True
