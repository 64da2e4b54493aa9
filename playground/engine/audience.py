"""Those who look at a run: answers their questions and keeps the panels they watch coming, within a small share of the time."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Protocol

from playground.engine.card import Card
from playground.engine.commands import Act, AnyCommand, Ask, Watch
from playground.engine.errors import DataError
from playground.engine.events import Answered, DurableEvent, LiveEvent, Shown
from playground.engine.panels import AnyPanel
from playground.engine.settings import SettingsError, make
from playground.engine.task import Task, looking

SHARE = 0.03
"""Watched panels may take this share of the training time; whoever wants more of them gets them less often."""


class Outlet(Protocol):
    """Where events go and commands come from."""

    @property
    def clients(self) -> frozenset[int]:
        """Those attached now."""

    def record(self, event: DurableEvent) -> None:
        """Write a durable event. Raises `OSError` when it cannot be written; then nothing was."""

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
        """Actions so far: with the step it tells whether the model may have changed."""

    def ask(self, client: int, command: Ask) -> None:
        """Answer one question."""
        try:
            self._answer(client, command.id, self.look(command.panel, command.options))
        except (SettingsError, DataError) as error:
            self.refuse(client, command, str(error))

    def act(self, client: int, command: Act) -> bool:
        """Do one action; False when it was refused."""
        try:
            action = next((action for action in self.card.actions if action.name == command.action), None)
            if action is None:
                raise SettingsError(f"there is no action {command.action!r}")
            panel = self.task.act(command.action, make(action.options, command.options))
        except (SettingsError, DataError) as error:
            self.refuse(client, command, str(error))
            return False
        self.acted += 1
        self._answer(client, command.id, panel)
        return True

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
        """Show the one watched panel that has waited longest, if one is due at `now` (on the `perf_counter` clock).

        One at a time, so that no training step waits for more than one panel. `still`: nothing trains, so whatever is out of date is due.
        """
        present = self.outlet.clients
        self.watched = [item for item in self.watched if item.client in present]
        version = self.task.step + self.acted
        due = [item for item in self.watched if (still or item.due <= now) and item.shown != version]
        if not due:
            return
        item = min(due, key=lambda item: item.due)
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
        """True while a watched panel is older than the model."""
        return any(item.shown != self.task.step + self.acted for item in self.watched)

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
