"""The interventions of a tab: what is done to its model while somebody looks, with undo and redo."""

from __future__ import annotations

import itertools

from dlplay.engine.interventions import Intervention, parse, written
from dlplay.engine.settings import SettingsError

COMPOUND = ("scale", "add", "noise")
"""Kinds that do more when they are done twice."""


class Touches:
    """`now` is what is done; every change can be undone."""

    def __init__(self) -> None:
        self._states: list[tuple[Intervention, ...]] = [()]
        self._at = 0

    @property
    def now(self) -> tuple[Intervention, ...]:
        return self._states[self._at]

    @property
    def text(self) -> str:
        """As the option `do` takes them."""
        return written(self.now)

    def add(self, text: str) -> None:
        """Do these as well. Raises `SettingsError`, also for one that would only repeat the one before; nothing is changed then."""
        found = parse("; ".join(part for part in (self.text, text) if part))
        for before, each in itertools.pairwise(found[max(len(self.now) - 1, 0) :]):
            if each == before and each.kind not in COMPOUND:
                raise SettingsError(f"--do {each}: it is on already, and the same once more changes nothing; ctrl+z takes it off", "do")
        self.put(found)

    def put(self, interventions: tuple[Intervention, ...]) -> None:
        """Do these in place of those of now."""
        if interventions != self.now:
            self._states[self._at + 1 :] = [interventions]
            self._at += 1

    def move(self, by: int) -> bool:
        """Undo (-1) or redo (1); False where there is nothing to undo or redo."""
        if not 0 <= self._at + by < len(self._states):
            return False
        self._at += by
        return True
