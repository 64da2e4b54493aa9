"""One tab's link to what answers it: an explore process before training, then the run, live or from its journal. Draws nothing."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Protocol

from dlplay.checkpoints import shipped
from dlplay.engine.card import Card
from dlplay.engine.commands import Act, AnyCommand, Pause, Resume, Save, Set, SetSpeed, StepOnce, Stop, View
from dlplay.engine.events import LiveEvent, Shown, Status
from dlplay.engine.panels import AnyPanel
from dlplay.runs import directory
from dlplay.runs.client import RunClient, RunError
from dlplay.runs.directory import RunDirectory
from dlplay.runs.history import History
from dlplay.runs.journal import JournalReader
from dlplay.runs.lock import holder
from dlplay.screen.peer import Peer, PeerDied
from dlplay.screen.watcher import Watcher

SPEEDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 0.0)
"""Steps per second to hold training down to; 0: no limit."""

NO_MODEL = "no model to ask yet: space trains one, o loads one"
SILENCE = {
    "opening": "opening the model",
    "starting": "the run is starting",
    "stopped": "the run was stopped at step {step:,}: space goes on from there",
    "interrupted": "the run was interrupted: space goes on from its last checkpoint",
    "failed": "the run failed: r starts over, o loads a model",
}
NOTHING_TRAINS = "this changes what is trained, and nothing trains here yet: space starts training"

OVER = ("finished", "stopped", "failed")
COMPLETE = ("steps", "minutes", "until")
"""Reasons for which a run is over; for any other one it can be gone on with."""


class Listener(Protocol):
    """What a link tells."""

    def shown(self, view: View, panel: AnyPanel) -> None:
        """A watched panel came."""

    def reported(self) -> None:
        """A new `Status`, or another state."""

    def trouble(self, title: str, words: str, remedy: str) -> None:
        """Something went wrong that a person has to know of."""


class RunLink:
    """Start, attach, steer and leave a run; `poll` keeps `history` up with its journal."""

    def __init__(self, card: Card, runs_dir: Path, listener: Listener) -> None:
        self.card = card
        self.runs_dir = runs_dir
        self.history = History(card.metric, card.better)
        self.status: Status | None = None
        self.run: RunDirectory | None = None
        self.limit = 0.0
        """Steps per second that training is held down to; 0: no limit."""
        self.origin = ""
        """What the explore process looks at."""
        self._listener = listener
        self._reader: JournalReader | None = None
        self._peer: Peer | None = None
        self._explorer: Peer | None = None
        self._watcher = Watcher(listener.shown)
        self._starting = False
        self._opening = False
        self._death: asyncio.Task[None] | None = None

    # --- how it stands ------------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of the run bar's states."""
        if self._starting:
            return "starting"
        finished = self.history.finished
        if self.attached:
            stopped = finished is not None and finished.reason not in COMPLETE
            state = self.status.state if self.status else "starting"
            return "stopped" if state == "finished" and stopped else state
        if self.run is not None:
            ended = "finished" if finished and finished.reason in COMPLETE else "interrupted"
            return "failed" if self.history.failure else "stopped" if finished and finished.reason == "stopped" else ended
        if self._opening:
            return "opening"
        return "exploring" if self._explorer is not None and self._explorer.connected else "empty"

    @property
    def busy(self) -> bool:
        """True while leaving would leave a run behind that trains, or could."""
        return self.state in ("starting", "training", "paused")

    @property
    def attached(self) -> bool:
        """True while the run's process listens."""
        return self._peer is not None and self._peer.connected

    @property
    def answering(self) -> object:
        """The connection that answers questions just now; None when there is none."""
        return self._client

    @property
    def _client(self) -> RunClient | None:
        for peer in (self._peer, self._explorer):
            if peer is not None and peer.connected:
                return peer.client
        return None

    @property
    def silence(self) -> str:
        """Why nobody answers, in words."""
        return SILENCE.get(self.state, NO_MODEL).format(step=self.history.step)

    @property
    def shipped(self) -> str:
        """The model that comes with the architecture; empty when there is none."""
        return next((name for name, item in shipped.shipped().items() if item.architecture == self.card.name), "")

    # --- looking without training -------------------------------------------------------------------------------------------------

    async def explore(self, origin: str = "") -> None:
        """Let a process answer questions about a checkpoint: a shipped model by default."""
        origin = origin or self.shipped
        if not origin:
            return
        self._let_go_explorer()
        directory.clean(self.runs_dir)
        folder = directory.explore_path(self.runs_dir) / self.card.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        peer = Peer(RunDirectory(folder), self._heard_explorer, self._explorer_gone)
        self._explorer, self.origin, self._opening = peer, origin, True
        self._listener.reported()
        arguments = [
            self.card.name,
            "--headless",
            "--explore",
            str(peer.directory.path),
            "--from",
            origin,
            "--runs-dir",
            str(self.runs_dir),
        ]
        try:
            await peer.launch(arguments)
        except (PeerDied, OSError) as error:
            if self._explorer is peer:
                self._explorer = None
                self._listener.trouble(
                    f"{origin} could not be opened", str(error), "space trains from fresh weights; o opens another model"
                )
        finally:
            if self._explorer is peer or self._explorer is None:  # else another one is being opened
                self._opening = False
        self._watcher.tell(self._client)
        self._listener.reported()

    # --- a run --------------------------------------------------------------------------------------------------------------------

    async def start(self, settings: dict[str, Any], origin: str = "", *, paused: bool = False) -> None:
        """A new run with these settings, from fresh weights or from a checkpoint."""
        self.leave()
        run = directory.create(self.runs_dir, self.card.name, settings, origin)
        await self._take_up(run, paused=paused)

    async def attach(self, name: str, *, resume: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Show a run of one's own: live when it is running, else from its journal; `resume` goes on with it.

        Raises `RunNameError`.
        """
        run = directory.find(self.runs_dir, name)
        self.leave()
        self._show(run)
        if holder(run.lock_path) is not None:
            await self._connect(Peer(run, self._heard, self._run_gone))
        elif resume:
            await self._take_up(run, paused=False, overrides=overrides)
        else:
            await self.explore(name)

    async def go_on(self, *, paused: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Resume the run shown, from its last checkpoint."""
        assert self.run is not None
        await self._take_up(self.run, paused=paused, overrides=overrides)

    async def _take_up(self, run: RunDirectory, *, paused: bool, overrides: dict[str, Any] | None = None) -> None:
        if self.run is None or self.run.path != run.path:
            self._show(run)
        peer = Peer(run, self._heard, self._run_gone)
        arguments = ["resume", run.name, "--headless", "--runs-dir", str(self.runs_dir)] + (["--paused"] if paused else [])
        for name, value in (overrides or {}).items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        await self._connect(peer, arguments)

    async def _connect(self, peer: Peer, arguments: list[str] | None = None) -> None:
        self._starting, self.status, self._peer = True, None, peer
        self._listener.reported()
        try:
            await (peer.connect() if arguments is None else peer.launch(arguments))
        except (PeerDied, OSError) as error:
            self._starting = False
            if self._peer is peer:
                self._peer = None
                self._never_began(peer, str(error))
            return
        finally:
            self._starting = False
        if self._peer is not peer:
            peer.leave()
            return
        self._let_go_explorer()
        self._watcher.tell(self._client)
        if self.limit:
            self.send(SetSpeed(steps_per_second=self.limit))
        self._listener.reported()

    def _never_began(self, peer: Peer, words: str) -> None:
        self.poll()
        if self.history.failure is None:
            what = "The run could not go on" if self.history.started else "The run could not start"
            self._listener.trouble(what, words or peer.exit_words, "change the settings and try again")
        if self.history.started is None and self.run is not None:
            directory.remove(self.run)
            self._forget()
        self._listener.reported()

    def _show(self, run: RunDirectory) -> None:
        self.history.clear()
        self.run, self._reader = run, JournalReader(run.journal_path)
        self.poll()

    def _forget(self) -> None:
        self.run = self._reader = self.status = None
        self.history.clear()

    def leave(self) -> None:
        """Let go of the run, which goes on by itself, and of what is shown of it."""
        if self._peer is not None:
            self._peer.leave()
        self._peer = None
        self._forget()

    async def end(self, patience: float = 20.0) -> bool:
        """Save and end the run, whose process then waits for its last client to leave; False when it goes on after `patience` seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        asked = False
        while self._starting or (self.attached and self.state not in OVER):
            if self.attached and not asked:
                asked = True
                self.send(Stop())
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.05)
        self.poll()
        return True

    def close(self) -> None:
        """Let go of every process."""
        for peer in (self._peer, self._explorer):
            if peer is not None:
                peer.leave()

    def poll(self) -> bool:
        """Read what the journal has to say; True when there was something."""
        if self._reader is None:
            return False
        try:
            return self.history.add(self._reader.read())
        except OSError as error:
            self._reader = None
            self._listener.trouble("The run's journal cannot be read", str(error), "its folder may have been removed; o opens another run")
            return False

    # --- steering -----------------------------------------------------------------------------------------------------------------

    async def train_or_pause(self) -> None:
        """Pause what trains, go on with what is paused or was interrupted."""
        state = self.state
        if state == "training":
            await self.command(Pause())
        elif state in ("paused", "finished", "stopped") and self.attached:
            await self.command(Resume())
        elif self.run is not None and state in ("stopped", "interrupted", "finished", "failed"):
            await self.go_on()

    async def step_once(self) -> None:
        """Train one step, then pause."""
        await self.command(StepOnce())

    async def save(self) -> bool:
        """Write a checkpoint; False when that was refused."""
        return await self.command(Save())

    async def set(self, field: str, value: Any) -> None:
        """Change a live setting."""
        await self.command(Set(field=field, value=value))

    def speed(self, by: int) -> float:
        """One notch quicker or slower; returns the new limit, 0 for none."""
        if self.limit:
            at = SPEEDS.index(self.limit)
        elif by < 0 and self.status is not None and self.status.steps_per_second > 0:
            # from full speed down to the first limit that can be felt
            at = next((i for i, speed in enumerate(SPEEDS) if speed >= self.status.steps_per_second), len(SPEEDS) - 1)
        else:
            at = len(SPEEDS) - 1
        self.limit = SPEEDS[min(max(at + by, 0), len(SPEEDS) - 1)]
        self.send(SetSpeed(steps_per_second=self.limit))
        return self.limit

    def watch(self, views: list[View]) -> None:
        """Keep these panels coming."""
        self._watcher.wish(views, self._client)

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        """One panel, now. Raises `RunError` in words."""
        if self._client is None:
            raise RunError(self.silence)
        return await self._client.ask(panel, options)

    async def act(self, name: str, options: dict[str, Any], *, urgent: bool = False) -> AnyPanel | None:
        """One of the architecture's actions; what it answers. Raises `RunError` in words."""
        action = next(action for action in self.card.actions if action.name == name)
        if action.lasting and not self.attached:
            raise RunError(NOTHING_TRAINS)
        if self._client is None:
            raise RunError(self.silence)
        return await self._client.command(Act(action=name, options=options, urgent=urgent))

    async def command(self, command: AnyCommand) -> bool:
        """Tell the run, and say in words what it refuses; True when it obeyed."""
        if self._peer is None or self._peer.client is None:
            return False
        try:
            await self._peer.client.command(command)
        except RunError as error:
            self._listener.trouble("The run refused", str(error), "")
            return False
        return True

    def send(self, command: AnyCommand) -> None:
        """Tell the run without waiting for its reply."""
        if self._peer is not None and self._peer.client is not None:
            with contextlib.suppress(RunError):  # a connection that broke is told by `_run_gone`
                self._peer.client.send(command)

    # --- what comes ---------------------------------------------------------------------------------------------------------------

    def _heard(self, event: LiveEvent) -> None:
        match event:
            case Shown():
                self._watcher.heard(event)
            case Status():
                changed = self.status is None or self.status.state != event.state
                self.status = event
                if changed:
                    self.poll()
                self._listener.reported()
            case _:
                pass

    def _heard_explorer(self, event: LiveEvent) -> None:
        """What a model that is only looked at says of itself does not concern a run that is starting."""
        if self._peer is None or not isinstance(event, Status):
            self._heard(event)

    def _run_gone(self) -> None:
        peer, self._peer = self._peer, None
        self.status = None
        self.poll()
        if peer is not None and self.history.finished is None and self.history.failure is None:
            self._death = asyncio.get_running_loop().create_task(self._say_death(peer))
        self._listener.reported()

    async def _say_death(self, peer: Peer) -> None:
        words = await peer.death_words(self.history.step)
        saved = self.history.saved_step
        remedy = "it had saved nothing yet; r starts over"
        if saved is not None:
            remedy = f"its last checkpoint is of step {saved:,}; space goes on from there"
        self._listener.trouble("The run was interrupted", words, remedy)

    def _explorer_gone(self) -> None:
        self._explorer = None
        self._listener.reported()

    def _let_go_explorer(self) -> None:
        if self._explorer is not None:
            self._explorer.leave()
        self._explorer = None
