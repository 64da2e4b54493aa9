"""The panels that a tab is subscribed to, and which of the answers that arrive belong to the newest subscription."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from dlplay.engine.commands import View
from dlplay.engine.events import Answered, Shown
from dlplay.engine.panels import AnyPanel
from dlplay.runs.client import RunClient, RunError

PANEL_RATE = 1.0
"""Updates of a watched panel per second: often enough to see it learn, seldom enough not to slow training down."""


class Watcher:
    """Calls `on_panel` with every answer to one of the views that are watched now (a panel, or why there is none), and its step."""

    def __init__(self, on_panel: Callable[[View, AnyPanel | str, int], None]) -> None:
        self._on_panel = on_panel
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

    def receive(self, event: Shown | Answered) -> None:
        """A panel arrived, or cannot be shown; either is dropped when it belongs to an earlier subscription."""
        watch, answer = (event.watch, event.panel) if isinstance(event, Shown) else (event.id, event.error)
        if watch == self._watch and event.view is not None and event.view < len(self._views):
            self._on_panel(self._views[event.view], answer, event.step)
