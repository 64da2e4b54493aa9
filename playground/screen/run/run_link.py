"""A tab's link to the process that answers it: one that holds a model to inspect, or the run, live or from its journal. Draws nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dlplay.checkpoints import CheckpointError, shipped
from dlplay.checkpoints.shipped import Shipped
from dlplay.engine.card import Card
from dlplay.engine.commands import Act, AnyCommand, Pause, Resume, Rewind, Save, Set, SetSpeed, StepOnce, Stop, View, Watch
from dlplay.engine.events import Answered, LiveEvent, Shown, Status, Working
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import code, show, without_code
from dlplay.runs import directory
from dlplay.runs.client import RunClient, RunError
from dlplay.runs.directory import RunDirectory, RunNameError
from dlplay.runs.follow import Follower
from dlplay.runs.history import History
from dlplay.runs.lock import alive, holder, told
from dlplay.runs.steps import at_step, named, steps
from dlplay.screen.run.companions import Companions
from dlplay.screen.run.peer import RETRY_SECONDS, Peer, PeerDied
from dlplay.screen.run.watcher import Watcher

LIMITS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 0.0)
"""Steps per second that training can be limited to; 0: no limit."""

NO_MODEL = "no model yet: F5 trains one, o loads one"
UNAVAILABLE = {
    "opening": "opening {name} …",
    "starting": "the run is starting",
    "behind": "the connection to the run was lost; the run continues, and the screen is reconnecting",
    "stopped": "the run was stopped at step {step:,}: F5 resumes it",
    "interrupted": "the run was interrupted: F5 resumes it from its last checkpoint",
    "failed": "the run failed: F5 resumes it from its last checkpoint as the form says, r starts over",
}
AGAIN_SECONDS = 2.0
"""How long one attempt to find a run again may take; they follow each other while the run's process lives."""
NOTHING_TRAINS = "this action changes training, and nothing is training yet: F5 starts a run"

LOOKING_BACK = "this action changes training, and an earlier checkpoint is shown: escape goes back to now"

ANOTHER = "another model is answering now"

OVER = ("finished", "stopped", "failed")
COMPLETE = ("steps", "minutes", "until")
"""Reasons for which a run is complete; after any other one it can be resumed."""


class Listener(Protocol):
    """Is told what happens on a link."""

    def panel_received(self, view: View, panel: AnyPanel | str, step: int) -> None:
        """A watched panel arrived, as of `step`, or why it cannot be shown."""

    def panel_working(self, view: View, doing: str) -> None:
        """What is done for a watched panel that takes long."""

    def status_changed(self) -> None:
        """There is a new `Status`, or another state."""

    def draw_changes(self) -> None:
        """Draw what has changed, without waiting for the next frame."""

    def problem(self, title: str, why: str, remedy: str, *, ended: bool = False) -> None:
        """Something went wrong that a person has to know about; `ended`: the run has, and can be resumed or started over."""


class RunLink:
    """Starts, attaches to, commands and leaves a run; `poll` keeps `history` up to date with its journal."""

    def __init__(self, card: Card, runs_dir: Path, listener: Listener) -> None:
        self.card = card
        self.runs_dir = runs_dir
        self.history = History(card.metric, card.better)
        self.companions = Companions(card)
        self.status: Status | None = None
        self.run: RunDirectory | None = None
        self.limit = 0.0
        """Steps per second that training is limited to; 0: no limit."""
        self.showing = ""
        """The model that is open to inspect, such as `gpt-reference (pretrained)`."""
        self._origin = ""
        """What was typed or chosen to open it: a name, with a step or without, or a folder."""
        self.code: Callable[[], dict[str, Any]] = dict
        """The settings that import code, as the person has entered them."""
        self._listener = listener
        self._reader: Follower | None = None
        self._peer: Peer | None = None
        self._explorer: Peer | None = None
        self._watcher = Watcher(listener.panel_received, listener.panel_working)
        self._starting = False
        self._opening = False
        self.opened = 0
        """The step that it was opened at, which `now` is while there is no run."""
        self._explored = 0
        self.past: int | None = None
        """The step of the checkpoint that answers, of the run that is shown; None: the model as it is now."""
        self.wanted: int | None = None
        """The step that is to answer; the newest wish counts."""
        self._rewinding = False
        self._behind = False
        """The connection broke while the run goes on."""
        self._search: asyncio.Task[None] | None = None

    # --- its state ----------------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of the run bar's `STATES`."""
        if self._starting:
            return "starting"
        finished = self.history.finished
        if self.attached:
            stopped = finished is not None and finished.reason not in COMPLETE
            state = self.status.state if self.status else "starting"
            return "stopped" if state == "finished" and stopped else state
        if self._behind:
            return "behind"
        if self.run is not None:
            ended = "finished" if finished and finished.reason in COMPLETE else "interrupted"
            return "failed" if self.history.failure or self._ending else "stopped" if finished and finished.reason == "stopped" else ended
        if self._opening:
            return "opening"
        return "exploring" if self._explorer is not None and self._explorer.connected else "empty"

    @property
    def phase(self) -> str:
        """What the process of a run that is starting, or of a model that is opened, does just now, as it tells; empty when it does not."""
        if self.state == "opening" and self._explorer is not None:
            teller = told(self._explorer.directory.lock_path)
            return teller.phase if alive(teller.pid) else ""
        if self.run is None or self._peer is None or self.state != "starting":
            return ""
        teller, process = told(self.run.lock_path), self._peer.process
        if alive(teller.pid) and teller.pid == (process.pid if process is not None else teller.pid):
            return teller.phase
        return "starting its process" if self._peer.launched else ""

    @property
    def busy(self) -> bool:
        """Whether there is a run that trains, or could, after the screen is closed."""
        return self.state in ("starting", "training", "paused", "behind")

    @property
    def attached(self) -> bool:
        """Whether there is a connection to the run's process; no longer once the run has failed, since the process is about to end."""
        return self._peer is not None and self._peer.connected and not self._ending

    @property
    def _ending(self) -> bool:
        return self.status is not None and self.status.state == "failed"

    @property
    def last_checkpoint(self) -> int | None:
        """The step that the run would be resumed from; None without a checkpoint."""
        return max(self.run.store.steps(), default=None) if self.run is not None else None

    @property
    def answering(self) -> object:
        """The connection that answers questions now; None when there is none."""
        return self._client

    @property
    def _answers(self) -> Peer | None:
        """The process that answers questions now."""
        peers = (self._peer, self._explorer) if self.past is None else (self._explorer,)
        return next((peer for peer in peers if peer is not None and peer.connected), None)

    @property
    def _client(self) -> RunClient | None:
        return self._answers.client if self._answers is not None else None

    @property
    def model(self) -> str:
        """The model that answers, such as `gpt-1 at step 300`; of a run that trains without the step. Empty while none does."""
        peer = self._answers
        if peer is None or peer.hello is None:
            return ""
        name = Path(peer.hello.name).name
        if peer is self._peer:
            return name
        name, _ = at_step(name) or (name, 0)
        return f"{name} at step {peer.hello.step:,}"

    @property
    def unavailable(self) -> str:
        """Why no model can answer, while none can."""
        return UNAVAILABLE.get(self.state, NO_MODEL).format(step=self.history.step, name=self.showing.partition(" (")[0])

    @property
    def pretrained(self) -> str:
        """The pretrained model of the architecture; empty when there is none."""
        return next((name for name, item in shipped.shipped().items() if item.architecture == self.card.name), "")

    # --- a model to inspect, without training -------------------------------------------------------------------------------------

    async def explore(self, origin: str = "") -> None:
        """Start a process that answers questions about a checkpoint, by default the pretrained model."""
        origin = origin or self.pretrained
        if not origin:
            return
        self._origin = origin
        self.showing = f"{origin} ({'pretrained' if _is_pretrained(origin) else 'checkpoint'})"
        await self._explore(origin)
        if (peer := self._explorer) is not None and peer.hello is not None and self._origin == origin:
            self.opened = peer.hello.step

    async def _explore(self, origin: str) -> None:
        """Start that process for `origin`; what was opened stays what it is."""
        self._leave_explorer()
        self._explored += 1  # a folder for each, since the process before it may go on for some seconds
        folder = directory.explore_path(self.runs_dir) / f"{self.card.name}-{self._explored}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        peer = Peer(RunDirectory(folder), self.card.name, self._receive_from_explorer, self._explorer_gone)
        self._explorer, self._opening = peer, True
        self._listener.status_changed()
        arguments = [
            self.card.name,
            "--headless",
            "--explore",
            str(peer.directory.path),
            "--from",
            origin,
            "--runs-dir",
            str(self.runs_dir),
            *(_flags(self.code()) if not _is_pretrained(origin) else ()),
        ]
        try:
            await peer.launch(arguments)
        except (PeerDied, OSError) as error:
            directory.remove_explored(folder)
            if self._explorer is peer:
                self._explorer = None
                remedy = "look back at another step" if self.run is not None else "F5 trains from scratch; o opens another model"
                self._listener.problem(f"{origin} could not be opened", str(error), remedy)
        finally:
            if self._explorer is peer or self._explorer is None:  # else another model is being opened
                self._opening = False
        self._watcher.subscribe(self._client)
        self._listener.status_changed()

    # --- an earlier time of the run, or of the model that is open -----------------------------------------------------------------

    @property
    def _kept(self) -> RunDirectory | Shipped | None:
        """Whose checkpoints can be looked back at: the run's, or those of the model that is open; None where it is a folder."""
        if self.run is not None:
            return self.run
        with contextlib.suppress(CheckpointError):  # a damaged manifest, which opening a pretrained model reports
            return named(self._origin, self.runs_dir)
        return None

    def moments(self) -> list[int]:
        """The steps of which there are checkpoints, in order; while a run trains without the latest, which it soon drops."""
        if self.run is not None and self.busy:
            return self.run.history.steps()
        of = self._kept
        return list(steps(of)) if of is not None else []

    async def rewind(self, step: int | None) -> None:
        """Let the checkpoint at or before this step answer, or None: the model as it is now. Of several wishes the newest counts."""
        self.wanted = step
        if self._rewinding:
            return
        self._rewinding, granted = True, self.past
        try:
            while granted != self.wanted and (of := self._kept) is not None:
                granted = self.wanted
                found = await (self._return(of) if granted is None else self._go_back(of, granted))
                if found is None or (kept := self._kept) is None or kept.name != of.name:
                    self.wanted = self.past
                    return
                if granted is not None and self.past is None:
                    self.send(Watch(views=[]))
                self.past = None if granted is None else found
                self._watcher.subscribe(self._client)
                self._listener.status_changed()
        finally:
            self._rewinding = False

    async def _go_back(self, of: RunDirectory | Shipped, step: int) -> int | None:
        """Let another process answer from that checkpoint; returns its step, None when that failed."""
        if self._explorer is None or self._explorer.client is None:
            await self._explore(f"{of.name}@{step}")
            if (peer := self._explorer) is None or peer.hello is None:
                return None
            found = peer.hello.step  # the run may have dropped that of `step` meanwhile
        else:
            try:
                found = (await self._explorer.client.answer(Rewind(step=step))).step
            except RunError as error:
                self._listener.problem("That checkpoint cannot be shown", str(error), "look back at another step")
                return None
            if (peer := self._explorer) is None or peer.hello is None:
                return None
        peer.hello = msgspec.structs.replace(peer.hello, name=of.name, step=found)
        return found

    async def _return(self, of: RunDirectory | Shipped) -> int | None:
        """Let the model answer as it is now."""
        if self.attached:
            self._leave_explorer()
            return self.history.step
        return await self._go_back(of, self.opened if self.run is None else max(steps(of), default=0))

    def _now(self) -> None:
        """What is shown is another run, or another model: no earlier time of it is looked at, and no process answers from one."""
        if (self.past, self.wanted) != (None, None):
            self._leave_explorer()
        self.past = self.wanted = None

    # --- a run --------------------------------------------------------------------------------------------------------------------

    async def start(self, settings: dict[str, Any], origin: str = "", name: str | None = None, *, paused: bool = False) -> None:
        """Start a new run with these settings, from scratch or from a checkpoint, called `name` or by a number. Where it cannot start, the
        run or the model before is shown again. Raises `RunNameError` and `OSError`, and then nothing has changed."""
        before = self.run.name if self.run is not None else ""
        run = directory.create(self.runs_dir, self.card.name, settings, origin, name)
        self.leave()
        await self._launch(run, paused=paused)
        if self.run is not None or self._starting:
            return
        if before:
            with contextlib.suppress(RunNameError):  # it was removed
                await self.attach(before)
        elif self._explorer is None and self._origin:
            await self.explore(self._origin)

    async def attach(self, name: str, *, resume: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Show a run: live when its process is running, else from its journal; `resume` resumes it. Raises `RunNameError`."""
        self.show(name)
        await self.open(resume=resume, overrides=overrides)

    def show(self, name: str) -> None:
        """Show the curves of a run, and no model yet. Raises `RunNameError`."""
        run = directory.find(self.runs_dir, name)
        self.leave()
        self._leave_explorer()  # another model does not answer beside this run's curves
        self._show(run)

    async def open(self, *, resume: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Connect to the run that is shown where its process is running, else resume it or open its last checkpoint."""
        assert self.run is not None
        run = self.run
        if holder(run.lock_path) is not None:
            await self._connect(Peer(run, self.card.name, self._receive, self._run_gone))
        elif resume:
            await self._launch(run, paused=False, overrides=overrides)
        else:
            await self.explore(run.name)

    async def resume(self, *, paused: bool = False, overrides: dict[str, Any] | None = None) -> None:
        """Resume the run that is shown, from its last checkpoint."""
        assert self.run is not None
        await self._launch(self.run, paused=paused, overrides=overrides)

    async def _launch(self, run: RunDirectory, *, paused: bool, overrides: dict[str, Any] | None = None) -> None:
        if self.run is None or self.run.path != run.path:
            self._show(run)
        peer = Peer(run, self.card.name, self._receive, self._run_gone)
        arguments = ["resume", run.name, "--headless", "--runs-dir", str(self.runs_dir)] + (["--paused"] if paused else [])
        for name, value in without_code(self.card.settings, overrides or {}).items():
            arguments += ["--set", f"{name}={show(value)}"]
        if (entered := self.code()) and entered == code(self.card.settings, run.spec.settings):
            arguments.append("--trust-code")
        await self._connect(peer, arguments)

    async def _connect(self, peer: Peer, arguments: list[str] | None = None) -> None:
        before = self.history.finished, self.history.failure
        if self._peer is not None:  # its end, noticed only now, would be taken for that of this one
            self._peer.leave()
        self._starting, self.status, self._peer = True, None, peer
        self._listener.status_changed()
        try:
            await (peer.connect() if arguments is None else peer.launch(arguments))
        except (PeerDied, OSError) as error:
            if self._peer is peer:
                self._starting = False
                self._peer = None
                self.poll()
                found = arguments is None and holder(peer.directory.lock_path) is None  # a run that went on by itself and is over
                if self.run is not None and (found or self.history.finished not in (None, before[0])):
                    await self.explore(self.run.name)
                else:
                    self._start_failed(peer, str(error), told=self.history.failure not in (None, before[1]))
            return
        finally:
            if self._peer is None or self._peer is peer:  # else another start is under way
                self._starting = False
        if self._peer is not peer:
            peer.leave()
            return
        self._connected()

    def _connected(self) -> None:
        self._leave_explorer()
        self._now()
        self._watcher.subscribe(self._client)
        if self.limit:
            self.send(SetSpeed(steps_per_second=self.limit))
        self._listener.status_changed()

    def _start_failed(self, peer: Peer, why: str, *, told: bool) -> None:
        """`told`: the run recorded a failure, which the tab shows."""
        if not told:
            what = "The run could not be resumed" if self.history.started else "The run could not start"
            self._listener.problem(what, why or peer.exit_reason, "change the settings and try again")
        if self.history.started is None and self.run is not None:
            directory.remove(self.run)
            self._forget()
        self._listener.status_changed()

    def _show(self, run: RunDirectory) -> None:
        self._close_reader()
        self._now()
        self.history.clear()
        self.companions.forget(run)
        self.run, self._reader = run, Follower(run.journal_path)
        self.poll()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _forget(self) -> None:
        self._close_reader()
        self._now()
        self.run = self.status = None
        self.history.clear()

    def leave(self) -> None:
        """Disconnect from the run, which continues by itself, and show nothing of it any more."""
        if self._peer is not None:
            self._peer.leave()
        self._peer = None
        if self.run is not None and self.history.step:
            self.companions.remember(self.run)
        self._forget()

    async def end(self, timeout: float = 20.0) -> bool:
        """Save and end the run; False when it has not ended after `timeout` seconds. Its process waits for its last client to leave."""
        deadline = asyncio.get_running_loop().time() + timeout
        asked = False
        while self._starting or self._behind or (self.attached and self.state not in OVER):
            if self.attached and not asked:
                asked = True
                self.send(Stop())
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.05)
        self.poll()
        return True

    def close(self) -> None:
        """Disconnect from every process."""
        self._close_reader()
        self.companions.close()
        for peer in (self._peer, self._explorer):
            if peer is not None:
                peer.leave()

    def poll(self) -> bool:
        """Read what is new in the journal; True when there was something."""
        if self._reader is None:
            return False
        try:
            return self.history.add(self._reader.take())
        except OSError as error:
            self._close_reader()
            self._listener.problem("The run's journal cannot be read", str(error), "its folder may have been removed; o opens another run")
            return False

    async def caught_up(self) -> None:
        """Wait until a long journal was read to its end."""
        reader = self._reader
        while reader is not None and reader is self._reader and reader.loading:
            self.poll()
            await asyncio.sleep(0.02)

    # --- commands -----------------------------------------------------------------------------------------------------------------

    async def train_or_pause(self) -> None:
        """Pause a run that is training; resume one that is paused, or has ended and still answers."""
        state = self.state
        if state == "training":
            await self.command(Pause())
        elif state in ("paused", "finished", "stopped") and self.attached:
            await self.command(Resume())

    async def step_once(self) -> None:
        """Train one step, then pause."""
        await self.command(StepOnce())

    async def save(self) -> bool:
        """Save a checkpoint; False when that was refused."""
        return await self.command(Save())

    async def set(self, field: str, value: Any) -> None:
        """Change a live setting."""
        await self.command(Set(field=field, value=value))

    def change_limit(self, by: int) -> float:
        """Change the limit on steps per second by one notch; returns the new limit, 0 for none."""
        if self.limit:
            position = LIMITS.index(self.limit)
        elif by < 0 and self.status is not None and self.status.steps_per_second > 0:
            # from full speed down to the first limit that makes a difference
            position = next((i for i, limit in enumerate(LIMITS) if limit >= self.status.steps_per_second), len(LIMITS) - 1)
        else:
            position = len(LIMITS) - 1
        self.limit = LIMITS[min(max(position + by, 0), len(LIMITS) - 1)]
        self.send(SetSpeed(steps_per_second=self.limit))
        return self.limit

    def watch(self, views: list[View]) -> None:
        """Receive these panels from now on, a few times a second."""
        self._watcher.watch(views, self._client)

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        """Ask for one panel, once. Raises `RunError`, whose message can be shown."""
        client = self._client
        if client is None:
            raise RunError(self.unavailable)
        stage = self.card.stage
        along = stage.below if stage is not None and panel == stage.panel else ()
        answer = await client.ask(panel, options, along=along)
        if client is not self._client:
            raise RunError(ANOTHER)
        if along:
            self._listener.draw_changes()  # together with the answer, so that no two of them are of different steps
        return answer

    async def act(self, name: str, options: dict[str, Any], *, urgent: bool = False) -> AnyPanel | None:
        """Do one of the architecture's actions; returns its answer. Raises `RunError`, whose message can be shown."""
        action = next(action for action in self.card.actions if action.name == name)
        if action.lasting and not self.attached:
            raise RunError(NOTHING_TRAINS)
        if action.lasting and self.past is not None:
            raise RunError(LOOKING_BACK)
        client = self._client
        if client is None:
            raise RunError(self.unavailable)
        answer = await client.command(Act(action=name, options=options, urgent=urgent))
        if client is not self._client:
            raise RunError(ANOTHER)
        return answer

    async def command(self, command: AnyCommand) -> bool:
        """Send a command and wait for the reply. True when it was obeyed; a refusal is reported as a problem."""
        if self._peer is None or self._peer.client is None or self._ending:
            return False
        try:
            await self._peer.client.command(command)
        except RunError as error:
            self._listener.problem("The run refused the command", str(error), "")
            return False
        return True

    def send(self, command: AnyCommand) -> None:
        """Send a command without waiting for the reply."""
        if self._peer is not None and self._peer.client is not None:
            with contextlib.suppress(RunError):  # a broken connection is reported by `_run_gone`
                self._peer.client.send(command)

    # --- events -------------------------------------------------------------------------------------------------------------------

    def _receive(self, event: LiveEvent, sender: Peer | None = None) -> None:
        match event:
            case Shown() | Working() | Answered():
                if self.past is None or sender is self._explorer:
                    self._watcher.receive(event)
            case Status():
                changed = self.status is None or self.status.state != event.state
                self.status = event
                if changed:
                    self.poll()
                self._listener.status_changed()
            case _:
                pass

    def _receive_from_explorer(self, event: LiveEvent) -> None:
        """The explorer's status is ignored while a run is starting."""
        if self._peer is None or not isinstance(event, Status):
            self._receive(event, self._explorer)

    def _run_gone(self) -> None:
        peer, self._peer = self._peer, None
        self.status = None
        self.poll()
        if peer is not None and self.history.finished is None and self.history.failure is None:
            self._search = asyncio.get_running_loop().create_task(self._find_again(peer))
        self._listener.status_changed()

    async def _find_again(self, lost: Peer) -> None:
        """The connection broke: connect again while a process holds the run, and report the death of one that does not any more."""
        run = lost.directory
        self._behind = holder(run.lock_path) is not None
        self._listener.status_changed()
        try:
            while holder(run.lock_path) is not None:
                if self._peer is not None or self.run is not run:  # a person has opened another run, or this one anew
                    return
                peer = Peer(run, self.card.name, self._receive, self._run_gone)
                if lost.process is not None and lost.process.returncode is None:  # else another process has resumed the run
                    peer.process = lost.process
                self._peer = peer
                with contextlib.suppress(PeerDied, OSError):
                    await peer.connect(AGAIN_SECONDS)
                if self._peer is not peer:
                    peer.leave()
                    return
                if peer.connected:
                    self._connected()
                    return
                self._peer = None
                await asyncio.sleep(RETRY_SECONDS)
            await self.caught_up()
            self.poll()
            if self.run is run and self._peer is None and self.history.finished is None and self.history.failure is None:
                await self._report_death(lost)
        finally:
            self._behind = False
            self._listener.status_changed()

    async def _report_death(self, peer: Peer) -> None:
        why = await peer.describe_death(self.history.step)
        saved = self.last_checkpoint
        remedy = "it had saved no checkpoint yet" if saved is None else f"its last checkpoint is from step {saved:,}"
        self._listener.problem("The run was interrupted", why, remedy, ended=True)

    def _explorer_gone(self) -> None:
        if self._explorer is not None and holder(self._explorer.directory.lock_path) is None:  # it was killed
            directory.remove_explored(self._explorer.directory.path)
        self._explorer = None
        if self.past is not None:
            self._now()
            self._watcher.subscribe(self._client)
        self._listener.status_changed()

    def _leave_explorer(self) -> None:
        if self._explorer is not None:
            self._explorer.leave()
        self._explorer = None


def _flags(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in ("--" + name.replace("_", "-"), str(value))]


def _is_pretrained(name: str) -> bool:
    try:
        return (at_step(name) or (name, 0))[0] in shipped.shipped()
    except CheckpointError:  # a damaged manifest, which opening a pretrained model reports
        return False
