"""What a person does to a tab's run: train, pause, step, start over, save, load. Draws nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dlplay.checkpoints import CheckpointError
from dlplay.engine.settings import SettingsError, show, to_dict
from dlplay.runs import origin as origins
from dlplay.screen.form import SettingsForm
from dlplay.screen.run_link import COMPLETE, RunLink

PATIENCE = 60.0
"""Seconds to wait for a run to end; it may only just be starting."""
IN_STEP = "It may be in a long step or evaluation."


class Steering:
    """Turns a key into what the run is told, with the form's settings. `say` shows a short word, `trouble` what went wrong."""

    def __init__(self, link: RunLink, form: SettingsForm, say: Callable[[str], None], trouble: Callable[[str, str, str], None]) -> None:
        self.link = link
        self.form = form
        self.origin = ""
        """The checkpoint that the next run starts from; empty for fresh weights."""
        self._say = say
        self._trouble = trouble

    async def train(self) -> None:
        """Start a run when there is none, else pause it or go on."""
        link = self.link
        if link.state == "starting":
            return
        if link.run is None:
            await self.start_over(paused=False)
        elif link.state == "finished":
            await self._train_on()
        else:
            await link.train_or_pause()

    async def _train_on(self) -> None:
        """Go on with a run that came to its end, as far as the form's stop conditions allow."""
        history = self.link.history
        wanted = {name: self.form.values[name] for name in COMPLETE}
        changed = {name: value for name, value in wanted.items() if show(value) != show(history.settings.get(name))}
        reason = history.finished.reason if history.finished is not None else "steps"
        if wanted["steps"] <= history.step:
            self._say(f"All {history.step:,} steps are done. Raise steps in the settings to train on, or press r to start over.")
        elif reason != "steps" and reason not in changed and not self.link.attached:
            self._say(
                f"It ended by {reason} {show(wanted[reason])}. Change {reason} in the settings to train on, or press r to start over."
            )
        elif self.link.attached:
            await self.link.train_or_pause()
        else:
            await self.link.go_on(overrides=changed)

    async def step_once(self) -> None:
        """One step of the run, or of a new one."""
        link = self.link
        if link.state == "starting":
            return
        if link.run is None:
            await self.start_over(paused=True)
        elif not link.attached:
            await link.go_on(paused=True)
        await link.step_once()

    async def start_over(self, *, paused: bool) -> None:
        """A new run with the form's settings; the former one is saved, ended and kept on disk."""
        self.form.close_editor()
        try:
            settings = self.form.settings
        except SettingsError as error:
            self._trouble("These settings cannot be used", str(error), "correct them in the form, or choose a preset")
            return
        if await self._ended():
            await self.link.start(to_dict(settings), self.origin, paused=paused)

    async def start_smaller(self) -> None:
        """A new run from this one's last checkpoint with half the batch."""
        run = self.link.run
        if run is not None and self.form.put("batch", max(1, self.form.values["batch"] // 2)):
            self.origin = run.name
            await self.start_over(paused=False)

    async def attach(self, name: str, *, resume: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Show a run, live or from its journal. Raises `RunNameError`."""
        self.origin = ""
        await self.link.attach(name, resume=resume, overrides=overrides)
        if self.link.history.settings:
            self.form.adopt(self.link.history.settings)

    async def explore(self) -> None:
        """Let a model be asked before anything is trained: the one that was named, or the one that is shipped."""
        await self.link.explore(self.origin)

    def change_speed(self, by: int) -> None:
        """One notch quicker or slower."""
        limit = self.link.speed(by)
        self._say(f"at most {limit:,.0f} steps per second" if limit else "full speed")

    async def save(self) -> None:
        """Write a checkpoint now."""
        if not self.link.attached:
            self._say("nothing trains here; space starts")
        elif await self.link.save():
            self.link.poll()
            self._say(f"saved at step {self.link.history.saved_step or 0:,}")

    async def load(self, name: str, *, run: bool, train: bool) -> None:
        """Open a shipped model or a run; `train` starts a new run from its weights."""
        left = self.link.run.name if not train and self.link.busy and self.link.run is not None else ""
        if not left and not await self._ended():
            return
        if left and left != name:
            self._say(f"{left} goes on by itself; o brings it back")
        if run and not train:
            await self.attach(name)
        elif await self._adopt(name):
            self.link.leave()
            if train:
                self.origin = name
                await self.start_over(paused=False)
            else:
                self.origin = ""
                await self.link.explore(name)

    async def _ended(self) -> bool:
        """Save and end what trains here; False, and told, when it does not end."""
        name = self.link.run.name if self.link.busy and self.link.run is not None else ""
        if not await self.link.end(PATIENCE):
            self._trouble("The run does not end", IN_STEP, f"try again, or stop it from another terminal: dlplay stop {name}")
            return False
        if name:
            self._say(f"{name} was saved and ended; o brings it back")
        return True

    async def _adopt(self, name: str) -> bool:
        """Weights fit only the settings they were trained with."""
        try:
            checkpoint = await asyncio.to_thread(origins.find, name, self.link.runs_dir, self.link.card.name, weights=False)
        except (SettingsError, CheckpointError) as error:
            self._trouble(f"{name} cannot be opened", str(error), "choose another one")
            return False
        self.form.adopt(self.form.values | origins.settings_of(self.link.card, checkpoint))
        return True
