"""Batches that are drawn before their steps: many draws go to a card in one copy, and each step takes its own there.

What is drawn, and in which order, is what a CPU draws step by step, so the batches are the same on every device. The copy goes into one
buffer that stays where it is, and a counter on the device says which row of it is next: no number of the host is part of a step.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from dlplay.engine import packed
from dlplay.engine.packed import ALIGNED, Layout, layout_of, views
from dlplay.engine.task import Task

DRAWS = 1024
"""Batches that are drawn at once, at most: the state of the generators before each is kept until it is taken (5 KB each)."""
SOON = 64
"""So many are where `BYTES` hold them, however long it takes; more of them within `SECONDS`, for which training stands still."""
SECONDS = 0.02
BYTES = 16 << 20
"""What they take together, unless a single step needs more."""


class Ahead:
    """Draws for a task whose `draw_batch` gives all that a batch takes from the host."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.layouts: list[Layout] = []
        """Of the draws in the buffer."""
        self.used = 0
        """How many of them the steps have taken."""
        self.taken = 0
        """How many the steps have taken in all."""
        self.moved = 0
        """How often the buffer has become another one: only where a draw was larger than it had room for."""
        self.rows = torch.zeros(0, 0, dtype=torch.uint8, device=task.device)
        """The buffer, a row for each draw."""
        self._row = torch.zeros(1, dtype=torch.int64, device=task.device)
        self._states: list[dict[str, Any]] = []
        """Generators and positions before the first draw, before the second, …, and after the last."""
        self._settings = task.settings

    def next(self) -> tuple[Tensor, ...]:
        """The next draw, on the device."""
        self.ready()
        layout = self.layouts[self.used]
        self.skip(1)
        if not layout:
            return ()
        row = self.rows.index_select(0, self._row)[0]
        self._row += 1
        return views(row, layout)

    def ready(self, draws: int = 1) -> None:
        """Have so many draws in the buffer that were not taken yet, by the settings as they are now."""
        if self.used + draws <= len(self.layouts) and self._settings is self.task.settings:
            return
        self.settle()
        self._settings = self.task.settings
        self._fill(draws)

    def following(self, draws: int) -> tuple[Layout, ...]:
        """The layouts of the next so many, which are ready."""
        return tuple(self.layouts[self.used : self.used + draws])

    def skip(self, draws: int) -> None:
        """Count so many as taken; the counter on the device is left to who takes them there."""
        self.used += draws
        self.taken += draws

    def settle(self) -> None:
        """Give back what was drawn and not taken: generators and positions are where the last step that was taken left them."""
        if self.used < len(self.layouts):
            self._restore(self._states[self.used])
        self.layouts, self._states, self.used = [], [], 0

    def _fill(self, least: int) -> None:
        drawn: list[tuple[Tensor, ...]] = []
        self._states.append(self._state())
        size = 0
        began = time.perf_counter()

        def more() -> bool:
            if len(drawn) >= DRAWS or (len(drawn) + 1) * size > BYTES:
                return False
            return len(drawn) < SOON or time.perf_counter() - began < SECONDS

        while len(drawn) < least or more():
            drawn.append(self.task.draw_batch())
            self._states.append(self._state())
            self.layouts.append(layout_of(drawn[-1]))
            size = max(size, packed.size(self.layouts[-1]))
        if size == 0:
            return
        count, room = self.rows.shape
        if count < len(drawn) or room < size:
            self.moved += 1
            room = max(room, _rounded(size))
            most = max(len(drawn), min(DRAWS, BYTES // room))  # how many it will be next time depends on the time
            self.rows = torch.zeros(most, room, dtype=torch.uint8, device=self.task.device)
        host = torch.empty(len(drawn), self.rows.shape[1], dtype=torch.uint8, pin_memory=self.rows.is_cuda)  # kept until it is copied
        for layout in dict.fromkeys(self.layouts):
            alike = [number for number, each in enumerate(self.layouts) if each == layout]
            packed.write(host, alike, layout, [drawn[number] for number in alike])
        self.rows[: len(drawn)].copy_(host, non_blocking=True)
        self._row.zero_()

    def _state(self) -> dict[str, Any]:
        drawn_from = {name: generator for name, generator in self.task.generators.items() if generator.device.type == "cpu"}
        return {
            "generators": {name: generator.get_state() for name, generator in drawn_from.items()},
            "positions": [position.state() for position in self.task.positions],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        for name, saved in state["generators"].items():
            self.task.generators[name].set_state(saved)
        for position, saved in zip(self.task.positions, state["positions"], strict=True):
            position.load_state(saved)


def prepare(task: Task[Any]) -> None:
    """Draw ahead for this task from now on, if it is on a card: elsewhere nothing is copied."""
    if task.device.type == "cuda":
        task.ahead = Ahead(task)


def _rounded(size: int) -> int:
    """A power of two, and so a multiple of `ALIGNED`: what other draws need a little more of is then there."""
    return max(ALIGNED, 1 << (size - 1).bit_length())
