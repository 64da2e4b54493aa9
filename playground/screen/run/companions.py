"""The runs whose curves are drawn behind those of a tab's own: the ones before it, the other members of its group, or marked ones."""

from __future__ import annotations

from collections.abc import Sequence

from dlplay.engine.card import Card
from dlplay.runs.directory import RunDirectory
from dlplay.runs.follow import Follower
from dlplay.runs.history import History

EARLIER = 3
"""Runs of this tab that stay behind its present one."""
MOST = 20


class Companion:
    """One of them; `poll` keeps its history up to date, for it may still be training."""

    def __init__(self, card: Card, run: RunDirectory) -> None:
        self.run = run
        self.history = History(card.metric, card.better)
        self._reader = Follower(run.journal_path)

    def poll(self) -> bool:
        """True when there was something new. Raises `OSError` when its journal cannot be read, such as after it was removed."""
        self.run.path.lstat()  # an open journal can be read on after it was removed
        return self.history.add(self._reader.take())

    def close(self) -> None:
        self._reader.close()


class Companions:
    """All of them. `revision` grows with every change of what is to be drawn."""

    def __init__(self, card: Card) -> None:
        self.shown = True
        self.revision = 0
        self._card = card
        self._earlier: list[Companion] = []
        self._marked: list[Companion] = []

    @property
    def all(self) -> list[Companion]:
        """Those to be drawn, each run once."""
        if not self.shown:
            return []
        by_path = {companion.run.path: companion for companion in (*self._earlier, *self._marked)}
        return list(by_path.values())[-MOST:]

    def forget(self, run: RunDirectory) -> None:
        """`run` is the tab's own now."""
        for companion in [each for each in (*self._earlier, *self._marked) if each.run.path == run.path]:
            self._drop(companion)

    def remember(self, run: RunDirectory) -> None:
        """`run` was the tab's own until now."""
        kept = [companion for companion in self._earlier if companion.run.path != run.path]
        self._close(kept[: 1 - EARLIER])
        self._earlier = [*kept[1 - EARLIER :], Companion(self._card, run)]
        self.revision += 1

    def mark(self, runs: Sequence[RunDirectory]) -> None:
        """Draw these, in place of those that were marked before, whatever was there earlier."""
        self._close([*self._marked, *self._earlier])
        self._earlier, self._marked = [], [Companion(self._card, run) for run in runs[:MOST]]
        self.shown = True
        self.revision += 1

    def toggle(self) -> bool:
        """Show them or not; returns whether they are shown now."""
        self.shown = not self.shown
        self.revision += 1
        return self.shown

    def poll(self) -> None:
        """Read what is new; a run that was removed is left out from now on."""
        for companion in self.all:
            try:
                self.revision += companion.poll()
            except OSError:
                self._drop(companion)

    def _drop(self, companion: Companion) -> None:
        self._close([companion])
        self._earlier = [each for each in self._earlier if each is not companion]
        self._marked = [each for each in self._marked if each is not companion]
        self.revision += 1

    def close(self) -> None:
        self._close([*self._earlier, *self._marked])

    @staticmethod
    def _close(companions: Sequence[Companion]) -> None:
        for companion in companions:
            companion.close()
