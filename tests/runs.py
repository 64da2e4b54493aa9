"""Runs in tests: begun, resumed and followed as processes of their own, their weights and curves compared."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from dlplay.engine.events import Evaluated, Started, Stepped
from dlplay.runs.client import NotListening, RunClient
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import JournalReader, history
from tests.conftest import Command, Dlplay, flags, wait_until

EVERY = 20
"""Steps between two checkpoints."""


def begin(dlplay: Dlplay, name: str, run: RunDirectory, settings: dict[str, Any], *more: str) -> Command:
    """Start training, headless."""
    typed = flags({"device": "cpu", "save_every": EVERY, "eval_every": EVERY, **settings})
    return dlplay.start(name, "--headless", "--runs-dir", str(run.path.parent), "--name", run.name, *typed, *more)


def resume(dlplay: Dlplay, run: RunDirectory, *more: str) -> Command:
    return dlplay.start("resume", run.name, "--headless", "--runs-dir", str(run.path.parent), *more)


def weights(run: RunDirectory) -> tuple[int, dict[str, np.ndarray]]:
    """Of the newest checkpoint, with its step."""
    checkpoint, problems = run.store.newest()
    assert checkpoint is not None
    assert problems == []
    return checkpoint.step, checkpoint.weights


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """To the bit."""
    return list(one) == list(other) and all(one[key].tobytes() == other[key].tobytes() for key in one)


def curves(run: RunDirectory) -> dict[str, dict[int, float | None]]:
    """Every metric's value by step where it has one, of training and held out; fails when a step comes twice or in the wrong place."""
    table: dict[str, dict[int, float | None]] = {}
    at = 0
    for event in history(run.journal_path):
        if isinstance(event, Stepped):
            assert event.first == at + 1
            at = event.step
            for name, column in event.metrics.items():
                assert len(column) == event.step - event.first + 1
                measured = zip(range(event.first, event.step + 1), column, strict=True)
                table.setdefault(name, {}).update((step, value) for step, value in measured if value is not None)
        elif isinstance(event, Evaluated):
            assert event.step not in table.setdefault("held out", {})
            table["held out"][event.step] = json.dumps(event.metrics)  # type: ignore[assignment]
    return table


class Following:
    """The events of a run as they come."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._reader = JournalReader(run.journal_path)
        self.events: list[Any] = []

    def of(self, kind: type) -> list[Any]:
        self.events += self._reader.read()
        return [event for event in self.events if isinstance(event, kind)]

    def reached(self, step: int, command: Command) -> bool:
        """Whether this process has trained that far."""
        starts = self.of(Started)
        return bool(starts) and starts[-1].pid == command.pid and self.events[-1].step >= max(step, starts[-1].step + 1)

    def wait_for(self, step: int, command: Command) -> None:
        """Until it has, or has ended."""
        wait_until(lambda: self.reached(step, command) or not command.running, f"step {step}")


def caught_saving(following: Following, step: int, command: Command) -> bool:
    """Whether a checkpoint is being written just now; or it is too late for that, at this step."""
    return any(following.run.path.glob("checkpoints/.tmp-*")) or following.reached(step, command) or not command.running


async def attached(run: RunDirectory, on_event: Callable[[Any], None] = lambda event: None) -> RunClient:
    """A client, once the run listens."""
    while True:
        try:
            return await RunClient.connect(run.socket_path, on_event)
        except NotListening:
            await asyncio.sleep(0.01)
