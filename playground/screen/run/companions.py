"""The runs whose curves are drawn behind those of a tab's own: the ones before it, the other members of its group, or marked ones."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dlplay.checkpoints import CheckpointError, shipped
from dlplay.engine.card import Card
from dlplay.runs import curve, directory
from dlplay.runs.directory import RunDirectory, SpecError
from dlplay.runs.follow import Follower
from dlplay.runs.history import History

EARLIER = 3
"""Runs of this tab that stay behind its present one."""
MOST = 20


HELD_OUT = {
    *("data", "text", "task", "drawing", "image_size", "vocab_size", "min_count", "tokens", "block_size", "length", "symbols", "digits"),
    *("sum_order", "column", "horizon", "predict", "facts", "gap", "env", "env_module", "time_limit", "next_sentence", "test_noise"),
    *("eval_memory", "whiten", "gamma"),
}
"""Settings that say what a model is measured on: curves compare where these are equal."""
OF_A_MEMBER = ("seed", "device")
"""Settings in which the members of a group of seeds differ."""


def seed_group(run: RunDirectory) -> tuple[str, bytes] | None:
    """What all runs of one group that differ in their seed alone have in common: the group's name first. None for any other run."""
    with contextlib.suppress(SpecError):
        spec = run.spec
        settings = {name: value for name, value in spec.settings.items() if name not in OF_A_MEMBER}
        return (spec.group, msgspec.json.encode(settings, order="deterministic")) if spec.group else None
    return None


def others_of_group(runs_dir: Path, run: RunDirectory) -> list[RunDirectory]:
    """The other members of its group of seeds."""
    group = seed_group(run)
    members = directory.members(runs_dir, group[0]) if group is not None else []
    return [member for member in members if member.path != run.path and seed_group(member) == group]


class Companion:
    """One of them; `poll` keeps its history up to date, for it may still be training."""

    def __init__(self, card: Card, run: RunDirectory) -> None:
        self.run = run
        self.seeds = seed_group(run)
        self.history = History(card.metric, card.better)
        self._reader = Follower(run.journal_path)

    def poll(self) -> bool:
        """True when there was something new. Raises `OSError` when its journal cannot be read, such as after it was removed."""
        self.run.path.lstat()  # an open journal can be read on after it was removed
        return self.history.add(self._reader.take())

    def close(self) -> None:
        self._reader.close()


class Pretrained:
    """The curves of the shipped models of an architecture, as they were trained."""

    def __init__(self, card: Card) -> None:
        self._models: list[tuple[shipped.Shipped, History]] = []
        with contextlib.suppress(CheckpointError):  # a damaged one is reported where it is opened
            for item in shipped.shipped().values():
                if item.architecture == card.name:
                    self._models.append((item, curve.read(item, card.metric, card.better)))

    def alike(self, settings: Mapping[str, Any]) -> History | None:
        """The first that was measured on what these settings say; None where none was."""
        return next((history for _, history in self._models if _alike(history.settings, settings)), None)

    def comparable(self, settings: Mapping[str, Any]) -> shipped.Shipped | None:
        """The model whose curves these are, with what it reached and its baselines."""
        return next((model for model, history in self._models if _alike(history.settings, settings)), None)

    @property
    def first(self) -> History | None:
        """That of the model which a new tab shows."""
        return next((history for _, history in self._models), None)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    shared = HELD_OUT & one.keys() & other.keys()
    return all(_plain(one[name]) == _plain(other[name]) for name in shared)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class Companions:
    """All of them. `revision` grows with every change of what is to be drawn."""

    def __init__(self, card: Card) -> None:
        self.shown = True
        self.revision = 0
        self.own_seeds: tuple[str, bytes] | None = None
        """The group of seeds that the tab's own run belongs to."""
        self.pretrained = Pretrained(card)
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

    def own_group(self, own: History) -> list[History]:
        """The group of seeds that the tab's own run belongs to, that run first; empty where none of the others is drawn."""
        others = [companion.history for companion in self.all if companion.seeds is not None and companion.seeds == self.own_seeds]
        return [own, *others] if others and own.step else []

    def together(self, own: History) -> list[tuple[str, list[History]]]:
        """What is drawn beside the tab's own run and group, by name: single runs, and groups of seeds."""
        drawn: dict[str | tuple[str, bytes], tuple[str, list[History]]] = {}
        for companion in self.all:
            if not self.own_group(own) or companion.seeds != self.own_seeds:
                _, histories = drawn.setdefault(companion.seeds or companion.run.name, (companion.run.name, []))
                histories.append(companion.history)
        return [
            (f"{key[0]}, {len(histories)} seeds", histories) if isinstance(key, tuple) and len(histories) > 1 else (name, histories)
            for key, (name, histories) in drawn.items()
        ]

    def forget(self, run: RunDirectory) -> None:
        """`run` is the tab's own now."""
        self.own_seeds = seed_group(run)
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
