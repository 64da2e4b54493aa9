"""Those who look at a run: answers their questions and keeps the panels they watch coming, within a small share of the time."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Protocol

from dlplay.engine.card import Card
from dlplay.engine.commands import Act, AnyCommand, Ask, Watch
from dlplay.engine.errors import DataError
from dlplay.engine.events import Answered, DurableEvent, LiveEvent, Shown
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Options, SettingsError, make
from dlplay.engine.task import Task, looking

SHARE = 0.03
"""Watched panels, and actions that are not lasting, may take this share of the training time each; who wants more gets them less often."""
MOST_ASKED = 64
"""Actions that may wait for their turn."""


class Outlet(Protocol):
    """Where events go and commands come from."""

    @property
    def clients(self) -> frozenset[int]:
        """Those attached now."""

    def record(self, event: DurableEvent) -> None:
        """Write a durable event. Raises `OSError` when it cannot be written; then nothing was."""

    def tell(self, event: DurableEvent) -> None:
        """Show an event where the run was started, without recording it: that the journal cannot be written, for one. Never raises."""

    def reply(self, client: int, event: LiveEvent) -> None:
        """To one client; never blocks."""

    def broadcast(self, event: LiveEvent) -> None:
        """To all clients; never blocks."""

    def poll(self, timeout: float | None) -> list[tuple[int, AnyCommand]]:
        """Commands that came, waiting up to `timeout` seconds for the first one."""


@dataclasses.dataclass
class Watched:
    """One panel that one client watches."""

    client: int
    watch: int
    view: int
    panel: str
    options: dict[str, Any]
    interval: float
    due: float = 0.0
    shown: int = -1
    """The step it was last shown for."""


class Audience:
    """Answers `Ask`, does `Act`, serves `Watch`."""

    def __init__(self, card: Card, task: Task[Any], outlet: Outlet) -> None:
        self.card = card
        self.task = task
        self.outlet = outlet
        self.watched: list[Watched] = []
        self.acted = 0
        """Lasting actions so far: with the step they tell whether the model may have changed."""
        self.asked: list[tuple[int, Act]] = []
        """Actions that are not lasting, and wait for their share of the training time."""
        self._touched: dict[str, int] = {}
        self._asked_due = 0.0

    def ask(self, client: int, command: Ask) -> None:
        """Answer one question."""
        try:
            self._answer(client, command.id, self.look(command.panel, command.options))
        except (SettingsError, DataError) as error:
            self.refuse(client, command, str(error))

    def lasting(self, command: Act) -> bool:
        """Whether the action changes what is trained. An unknown one counts as lasting, and is refused by `act`."""
        return all(action.lasting for action in self.card.actions if action.name == command.action)

    def act(self, client: int, command: Act) -> bool:
        """Do one action now; False when it was refused."""
        try:
            action = next((action for action in self.card.actions if action.name == command.action), None)
            if action is None:
                raise SettingsError(
                    f"there is no action {command.action!r}; known are {', '.join(a.name for a in self.card.actions) or 'none'}"
                )
            options = make(action.options, command.options)
            if action.lasting:
                panel = self.task.act(command.action, options)
                self.acted += 1
            else:
                panel = self._show(command.action, options)
                for name in action.shown_by:
                    self._touched[name] = self._touched.get(name, 0) + 1
        except (SettingsError, DataError) as error:
            self.refuse(client, command, str(error))
            return False
        self._answer(client, command.id, panel)
        return True

    def _show(self, action: str, options: Options) -> AnyPanel | None:
        """Do what only changes what is shown."""
        try:
            with looking(self.task):
                return self.task.act(action, options)
        except (SettingsError, DataError):
            raise
        except Exception as error:  # an episode that somebody watches must not end the training
            raise SettingsError(f"the action {action!r} failed: {type(error).__name__}: {error}") from error

    def act_in_turn(self, client: int, command: Act) -> None:
        """An action that is not lasting: done by `serve` when its share of the training time allows, or at once when it is urgent."""
        if command.urgent:
            self.act(client, command)
        elif len(self.asked) >= MOST_ASKED:
            self.refuse(client, command, "too many actions wait already; wait for their answers")
        else:
            self.asked.append((client, command))

    def watch(self, client: int, command: Watch) -> None:
        """Replace what the client watches."""
        self.watched = [item for item in self.watched if item.client != client]
        interval = 1 / min(max(command.rate, 0.1), 30.0)
        self.watched += [
            Watched(client, command.id, index, view.panel, view.options, interval) for index, view in enumerate(command.views[:32])
        ]

    def look(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        """The panel as of now. Raises `SettingsError` or `DataError` with words for the one who asked."""
        try:
            options_type = self.card.panel(panel).options
        except KeyError:
            raise SettingsError(f"there is no panel {panel!r}; known are {', '.join(item.name for item in self.card.panels)}") from None
        checked = make(options_type, options)
        try:
            with looking(self.task):
                return self.task.panel(panel, checked)
        except (SettingsError, DataError):
            raise
        except Exception as error:  # whatever goes wrong in a picture of the model, such as memory for it, must not end its training
            raise SettingsError(f"the panel {panel!r} could not be made: {type(error).__name__}: {error}") from error

    def serve(self, now: float, still: bool = False) -> None:
        """Do one waiting action, or show the one watched panel that has waited longest, if one is due at `now` (`perf_counter` clock).

        One at a time, so that no training step waits for more than one. `still`: nothing trains, so whatever is out of date is due.
        """
        if self.asked and (still or self._asked_due <= now):
            began = time.perf_counter()
            self.act(*self.asked.pop(0))
            self._asked_due = began + (time.perf_counter() - began) / SHARE
            return
        present = self.outlet.clients
        self.watched = [item for item in self.watched if item.client in present]
        due = [item for item in self.watched if (still or item.due <= now) and item.shown != self._version(item.panel)]
        if not due:
            return
        item = min(due, key=lambda item: item.due)
        version = self._version(item.panel)
        began = time.perf_counter()
        try:
            event: LiveEvent = Shown(
                step=self.task.step, time=time.time(), view=item.view, watch=item.watch, panel=self.look(item.panel, item.options)
            )
        except (SettingsError, DataError) as error:
            event = Answered(step=self.task.step, time=time.time(), id=item.watch, view=item.view, error=str(error))
        self.outlet.reply(item.client, event)
        took = time.perf_counter() - began
        item.shown = version
        item.due = began + max(item.interval, took * len(self.watched) / SHARE)

    @property
    def waiting(self) -> bool:
        """True while an action waits, or a watched panel is older than what it shows."""
        return bool(self.asked) or any(item.shown != self._version(item.panel) for item in self.watched)

    @property
    def wanted(self) -> bool:
        """True while anybody waits for an action or watches a panel."""
        return bool(self.asked or self.watched)

    def _version(self, panel: str) -> int:
        """Another number whenever the panel may look different; it only grows."""
        return self.task.step + self.acted + self._touched.get(panel, 0)

    def obeyed(self, client: int, command: AnyCommand) -> None:
        """Confirm a command."""
        self._answer(client, command.id, None)

    def refuse(self, client: int, command: AnyCommand, words: str) -> None:
        """Refuse a command with words for the person behind it."""
        if command.id:
            self.outlet.reply(client, Answered(step=self.task.step, time=time.time(), id=command.id, error=words))

    def _answer(self, client: int, identity: int, panel: AnyPanel | None) -> None:
        if identity:
            self.outlet.reply(client, Answered(step=self.task.step, time=time.time(), id=identity, panel=panel))
