"""The interventions of a tab: what is done to its model while somebody looks, with undo and redo."""

from __future__ import annotations

from dlplay.engine.interventions import Intervention, parse, written


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
        """Do these as well. Raises `SettingsError`, and nothing is changed then."""
        self.put(parse("; ".join(part for part in (self.text, text) if part)))

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
