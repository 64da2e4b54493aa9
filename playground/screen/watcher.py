"""Which panels are wished for, and which of the answers that arrive belong to the newest wish."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from dlplay.engine.commands import View
from dlplay.engine.events import Shown
from dlplay.engine.panels import AnyPanel
from dlplay.runs.client import RunClient, RunError

PANEL_RATE = 2.0
"""How often a second a watched panel may come: often enough to see it learn, seldom enough not to hold training up."""


class Watcher:
    """`shown` is called with every answer to one of the views wished for last."""

    def __init__(self, shown: Callable[[View, AnyPanel], None]) -> None:
        self._shown = shown
        self._views: list[View] = []
        self._watch = 0

    def wish(self, views: list[View], client: RunClient | None) -> None:
        """Other panels are to be kept coming, by `client` when there is one."""
        if views != self._views:
            self._views = views
            self.tell(client)

    def tell(self, client: RunClient | None) -> None:
        """Tell a client what is wished for; it may be a new one."""
        if client is not None:
            with contextlib.suppress(RunError):  # the connection broke, which is noticed elsewhere
                self._watch = client.watch(self._views, PANEL_RATE)

    def heard(self, event: Shown) -> None:
        """A panel came; one that belongs to a former wish is dropped."""
        if event.watch == self._watch and event.view < len(self._views):
            self._shown(self._views[event.view], event.panel)
