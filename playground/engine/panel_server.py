"""Serves panels to the clients attached to a run: answers questions, performs actions, keeps watched panels up to date.

Training comes first: watched panels and queued actions take no more than a small share of its time, and questions no more than half.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from typing import Any, Protocol

from torch import Tensor

from dlplay.engine import progress
from dlplay.engine.beside import beside, unaffected
from dlplay.engine.card import Card, PanelCard
from dlplay.engine.commands import Act, AnyCommand, Ask, Watch
from dlplay.engine.errors import DataError
from dlplay.engine.events import Answered, LiveEvent, Shown, Working
from dlplay.engine.failures import TrainingFailed, not_finite
from dlplay.engine.hooks import NotReached, Site, recorded
from dlplay.engine.interventions import Intervention, parse
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Options, SettingsError, change, fields, make
from dlplay.engine.task import Task, looking

TIME_SHARE = 0.03
"""Largest share of the training time for watched panels, and the same again for queued actions; beyond it they are served less often."""
ALONG_SECONDS = 2.0
"""After which a panel that came along with an answer is shown by itself again."""
MAX_QUEUED = 64
"""Actions that may wait at once, and questions of one client."""
MAX_WATCHED = 32
"""Panels that one client may watch."""


class Server(Protocol):
    """The clients attached to a run: commands come from them, live events go to them."""

    @property
    def clients(self) -> frozenset[int]:
        """Ids of the clients attached now."""

    def poll(self, timeout: float | None) -> list[tuple[int, AnyCommand]]:
        """The commands received since the last call, each with its client; waits up to `timeout` seconds for the first one."""

    def reply(self, client: int, event: LiveEvent) -> None:
        """Send to one client; never blocks."""

    def broadcast(self, event: LiveEvent) -> None:
        """Send to all clients; never blocks."""


@dataclasses.dataclass
class WatchedPanel:
    """One panel that one client watches."""

    client: int
    watch: int
    """`id` of the client's `Watch`."""
    view: int
    """Position in that `Watch`."""
    panel: str
    options: dict[str, Any]
    interval: float
    """Least seconds between two updates."""
    due: float = 0.0
    """While training: when its share of the time is there again."""
    soonest: float = 0.0
    """When `interval` is over."""
    shown: tuple[int, ...] = ()
    """Version that was shown last (see `PanelServer._version`)."""


def panel_of(task: Task[Any], card: PanelCard, options: dict[str, Any]) -> AnyPanel:
    """The panel as of now. Raises `SettingsError` or `DataError`, worded for the person who asked.

    Any panel takes the option `do`: interventions under which it is asked once more, so that it shows the answer before and after.
    """
    own = {item.name for item in fields(card.options)}
    interventions = parse(str(options.get("do", ""))) if "do" not in own else ()
    checked = make(card.options, {name: value for name, value in options.items() if name != "do" or name in own})

    def asked(with_these: Options) -> AnyPanel:
        if card.source:
            answered: AnyPanel = getattr(card.load_source()(task), card.name)(with_these)
            return answered
        return task.panel(card.name, with_these)

    def of_other_input(intervention: Intervention, site: Site) -> list[Tensor]:
        with recorded([site]) as found:
            asked(change(checked, *intervention.source))
        return found[0]

    try:
        with looking(task):
            answer = asked(checked)
            if not interventions:
                return answer
            changed, idle = answer, ""
            try:
                with task.touched(interventions, of_other_input):
                    changed = asked(checked)
            except NotReached as error:
                if error.all:
                    return unaffected(answer, error.positions)
                idle = str(error).removeprefix("--do ")
            return beside(answer, changed, len(interventions), idle)
    except (SettingsError, DataError):
        raise
    except Exception as error:  # whatever goes wrong in a panel, such as running out of memory, must not end the training
        raise SettingsError(f"the panel {card.name!r} could not be made: {type(error).__name__}: {error}") from error


class PanelServer:
    """Carries out `Ask`, `Watch` and `Act` for a model, whether or not it is being trained."""

    def __init__(self, card: Card, task: Task[Any], server: Server) -> None:
        self.card = card
        self.task = task
        self.server = server
        self._watched: list[WatchedPanel] = []
        self._queue: list[tuple[int, Act]] = []
        """Actions that change nothing but panels, waiting for their share of the time."""
        self._queue_due = 0.0
        self._asked: dict[int, collections.deque[Ask | Act]] = {}
        """Questions and urgent actions by client; the client whose turn is next comes first."""
        self._answer_due = 0.0
        self._lasting_actions = 0
        self._changes: dict[str, int] = {}
        """How often an action changed what a panel shows."""

    def handle(self, client: int, command: AnyCommand) -> bool:
        """Carry out a command that changes nothing in training (`Ask`, `Watch`, an action that is not lasting); False for any other."""
        match command:
            case Ask():
                self._wait_for_turn(client, command)
            case Watch():
                self._watch(client, command)
            case Act() if not self._is_lasting(command):
                self._enqueue(client, command)
            case _:
                return False
        return True

    # --- questions ----------------------------------------------------------------------------------------------------------------

    def _wait_for_turn(self, client: int, command: Ask | Act) -> None:
        waiting = self._asked.setdefault(client, collections.deque())
        if len(waiting) >= MAX_QUEUED:
            self.refuse(client, command, "too many questions wait already; wait for their answers")
        else:
            waiting.append(command)

    def answer(self, *, idle: bool = False) -> bool:
        """Answer a question, or perform an urgent action, of the client whose turn it is; False when none is due.

        After one that took a while, training has as long before the next. `idle`: nothing trains.
        """
        if not self._asked or (not idle and time.perf_counter() < self._answer_due):
            return False
        clients = self.server.clients
        self._asked = {client: waiting for client, waiting in self._asked.items() if client in clients}
        if not self._asked:
            return False
        client = next(iter(self._asked))
        waiting = self._asked.pop(client)
        command = waiting.popleft()
        if waiting:
            self._asked[client] = waiting  # behind the others
        began = time.perf_counter()
        if isinstance(command, Ask):
            self.ask(client, command)
        else:
            self.act(client, command)
        ended = time.perf_counter()
        self._answer_due = ended + (ended - began)
        return True

    def ask(self, client: int, command: Ask) -> None:
        """Answer a question now."""
        try:
            panel = self._panel(command.panel, command.options)
        except (SettingsError, DataError) as error:
            self.refuse(client, command, str(error))
            return
        for item in self._watched:
            if item.client == client and item.panel in command.along and _agree(item.options, command.options):
                self._show(item)
                item.due = time.perf_counter() + ALONG_SECONDS  # until then the next question brings it
        self._answer(client, command.id, panel)

    def _panel(self, name: str, options: dict[str, Any]) -> AnyPanel:
        """The panel as of now. Raises `SettingsError` or `DataError`, worded for the person who asked."""
        try:
            card = self.card.panel(name)
        except KeyError:
            raise SettingsError(f"there is no panel {name!r}; known are {', '.join(item.name for item in self.card.panels)}") from None
        return panel_of(self.task, card, options)

    # --- actions ------------------------------------------------------------------------------------------------------------------

    def _act_for_good(self, client: int, command: Act, options: Options) -> AnyPanel | None:
        """Change the task. What goes wrong half-way ends the training, and the client is told before it does."""
        try:
            panel = self.task.act_for_good(command.action, options)
            if self.task.not_finite.item():
                raise TrainingFailed(not_finite(self.task, self.task.step))
            return panel
        except (SettingsError, DataError):
            raise
        except Exception as error:
            why = str(error) if isinstance(error, TrainingFailed) else f"{type(error).__name__}: {error}"
            self.refuse(client, command, f"the action {command.action!r} failed: {why}")
            raise

    def act(self, client: int, command: Act) -> bool:
        """Perform an action now; False when it was refused."""
        try:
            action = next((action for action in self.card.actions if action.name == command.action), None)
            if action is None:
                raise SettingsError(
                    f"there is no action {command.action!r}; known are {', '.join(a.name for a in self.card.actions) or 'none'}"
                )
            options = make(action.options, command.options)
            if action.lasting and self.task.ranks is not None:
                words = f"{self.task.ranks.count} ranks train this model together, and {action.title} would change that of one"
                raise SettingsError(f"{words}; resume the run without torchrun to do it")
            if action.lasting:
                panel = self._act_for_good(client, command, options)
                self._lasting_actions += 1
            else:
                panel = self._act_aside(command.action, options)
                for name in action.shown_by:
                    self._changes[name] = self._changes.get(name, 0) + 1
        except (SettingsError, DataError) as error:
            self.refuse(client, command, str(error))
            return False
        self._answer(client, command.id, panel)
        return True

    def _is_lasting(self, command: Act) -> bool:
        """Whether the action changes what is trained. An unknown one counts as lasting, and is refused by `act`."""
        return all(action.lasting for action in self.card.actions if action.name == command.action)

    def _act_aside(self, action: str, options: Options) -> AnyPanel | None:
        """Perform an action that is not lasting: training is not disturbed, not even by an error."""
        try:
            with looking(self.task):
                return self.task.act(action, options)
        except (SettingsError, DataError):
            raise
        except Exception as error:  # an episode that somebody watches must not end the training
            raise SettingsError(f"the action {action!r} failed: {type(error).__name__}: {error}") from error

    def _enqueue(self, client: int, command: Act) -> None:
        """Leave an action to `serve`, or to `answer` when it is urgent."""
        if command.urgent:
            self._wait_for_turn(client, command)
        elif len(self._queue) >= MAX_QUEUED:
            self.refuse(client, command, "too many actions wait already; wait for their answers")
        else:
            self._queue.append((client, command))

    # --- watched panels -----------------------------------------------------------------------------------------------------------

    def _watch(self, client: int, command: Watch) -> None:
        """Replace what the client watches."""
        self._watched = [item for item in self._watched if item.client != client]
        interval = 1 / min(max(command.rate, 0.1), 30.0)
        self._watched += [
            WatchedPanel(client, command.id, index, view.panel, view.options, interval)
            for index, view in enumerate(command.views[:MAX_WATCHED])
        ]

    def serve(self, now: float, *, idle: bool = False) -> None:
        """Perform one queued action, or update the watched panel that has waited longest, if one is due at `now` (`perf_counter` clock).

        One at a time, so that no training step waits for more than one. `idle`: nothing trains, so what another step has changed is due,
        and what actions have changed, such as those of an episode that is watched, as often as the client asked for.
        """
        if idle and self.answer(idle=True):
            return
        if not (self._queue or self._watched):
            return
        if self._queue and (idle or self._queue_due <= now):
            began = time.perf_counter()
            self.act(*self._queue.pop(0))
            self._queue_due = began + (time.perf_counter() - began) / TIME_SHARE
            return
        clients = self.server.clients
        self._watched = [item for item in self._watched if item.client in clients]
        due = [item for item in self._watched if self._is_due(item, now, idle)]
        if not due:
            return
        item = min(due, key=lambda item: item.due)
        began = time.perf_counter()
        self._show(item)
        took = time.perf_counter() - began
        item.due = began + max(item.interval, took * len(self._watched) / TIME_SHARE)

    def _show(self, item: WatchedPanel) -> None:
        """Send a watched panel as it is now."""
        item.shown, item.soonest = self._version(item.panel), time.perf_counter() + item.interval
        try:
            with progress.heard(lambda doing: self._tell(item, doing)):
                panel = self._panel(item.panel, item.options)
            event: LiveEvent = Shown(step=self.task.step, time=time.time(), view=item.view, watch=item.watch, panel=panel)
        except (SettingsError, DataError) as error:
            event = Answered(step=self.task.step, time=time.time(), id=item.watch, view=item.view, error=str(error))
        self.server.reply(item.client, event)

    def _tell(self, item: WatchedPanel, doing: str) -> None:
        """Tell the client what is done just now for a panel that it watches."""
        self.server.reply(item.client, Working(step=self.task.step, time=time.time(), view=item.view, watch=item.watch, doing=doing))

    @property
    def behind(self) -> bool:
        """Whether, while nothing trains, somebody waits for an answer, an action is queued, or a watched panel is due."""
        now = time.perf_counter()
        return bool(self._asked or self._queue) or any(self._is_due(item, now, idle=True) for item in self._watched)

    def _is_due(self, item: WatchedPanel, now: float, idle: bool) -> bool:
        version = self._version(item.panel)
        if item.shown == version:
            return False
        by_actions_alone = item.shown[:-1] == version[:-1]
        return (item.soonest <= now or not by_actions_alone) if idle else item.due <= now

    def _version(self, panel: str) -> tuple[int, ...]:
        """Another one whenever the panel may look different; the last number is that of the actions that changed nothing else."""
        return self.task.step, self._lasting_actions, self._changes.get(panel, 0)

    # --- replies ------------------------------------------------------------------------------------------------------------------

    def confirm(self, client: int, command: AnyCommand) -> None:
        """Reply that a command was carried out."""
        self._answer(client, command.id, None)

    def refuse(self, client: int, command: AnyCommand, reason: str) -> None:
        """Reply that a command was not carried out, and why."""
        if command.id:
            self.server.reply(client, Answered(step=self.task.step, time=time.time(), id=command.id, error=reason))

    def _answer(self, client: int, command_id: int, panel: AnyPanel | None) -> None:
        if command_id:
            self.server.reply(client, Answered(step=self.task.step, time=time.time(), id=command_id, panel=panel))


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two panels are asked with the same value wherever both have the option."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())
