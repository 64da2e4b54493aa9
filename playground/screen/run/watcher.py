"""The panels that a tab is subscribed to, and which of the answers that arrive belong to the newest subscription."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from dlplay.engine.commands import View
from dlplay.engine.events import Answered, Shown, Working
from dlplay.engine.panels import AnyPanel
from dlplay.runs.client import RunClient, RunError

PANEL_RATE = 1.0
"""Updates of a watched panel per second: often enough to see it learn, seldom enough not to slow training down."""


class Watcher:
    """Calls `on_panel` with every answer to one of the views that are watched now (a panel, or why there is none), and its step; and
    `on_working` with what is done for one that takes long."""

    def __init__(self, on_panel: Callable[[View, AnyPanel | str, int], None], on_working: Callable[[View, str], None]) -> None:
        self._on_panel, self._on_working = on_panel, on_working
        self._views: list[View] = []
        self._watch = 0

    def watch(self, views: list[View], client: RunClient | None) -> None:
        """Watch these panels from now on, through `client` if there is one."""
        if views != self._views:
            self._views = views
            self.subscribe(client)

    def subscribe(self, client: RunClient | None) -> None:
        """Send the views to a client, which may be a new one."""
        if client is not None:
            with contextlib.suppress(RunError):  # the connection broke, which is noticed elsewhere
                self._watch = client.watch(self._views, PANEL_RATE)

    def receive(self, event: Shown | Working | Answered) -> None:
        """A panel arrived, is computed, or cannot be shown; what belongs to an earlier subscription is dropped."""
        if isinstance(event, Working):
            if event.watch == self._watch and event.view < len(self._views):
                self._on_working(self._views[event.view], event.doing)
            return
        watch, answer = (event.watch, event.panel) if isinstance(event, Shown) else (event.id, event.error)
        if watch == self._watch and event.view is not None and event.view < len(self._views):
            self._on_panel(self._views[event.view], answer, event.step)
