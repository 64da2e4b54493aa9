"""Asking a trained model one question, or serving its panels to clients. Nothing is trained here."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlplay.checkpoints.shipped import Shipped
from dlplay.engine import device as devices
from dlplay.engine.card import Card
from dlplay.engine.events import Hello
from dlplay.engine.explore import explore as serve_panels
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Settings, SettingsError
from dlplay.engine.task import Task
from dlplay.runs import origin, steps
from dlplay.runs.directory import RunDirectory, remove_explored
from dlplay.runs.lock import RunLock
from dlplay.runs.process import load, look_back, put
from dlplay.runs.server import Server

LINGER_SECONDS = 5.0
"""How long to wait for another client once the last one has gone."""


def answer(card: Card, settings: Settings, start: str, runs_dir: Path, panel: str, options: dict[str, Any]) -> AnyPanel:
    """One panel of the model in the checkpoint that `start` names. Raises `SettingsError`, `DataError` or `CheckpointError`."""
    task = load(card, origin.find(start, runs_dir, card.name), settings)
    _look_back(task, start, runs_dir)
    return panel_of(task, card.panel(panel), options)


def answers(
    card: Card, settings: Settings, of: RunDirectory | Shipped, panel: str, options: dict[str, Any], asked: Sequence[int]
) -> Iterator[tuple[int, AnyPanel]]:
    """The panel as it was at each of these steps, of the last checkpoint at or before it, and that checkpoint's step.

    Raises `SettingsError`, `DataError` or `CheckpointError`.
    """
    task = None
    for step in asked:
        checkpoint = steps.nearest(of, step, state=bool(card.panel(panel).source))
        if task is None:
            task = load(card, checkpoint, settings)
            look_back(task, of)
        else:
            put(task, checkpoint)
        yield checkpoint.step, panel_of(task, card.panel(panel), options)


def _look_back(task: Task[Any], start: str, runs_dir: Path) -> None:
    """Let panels see the checkpoints along the way, where there are some."""
    if (of := steps.named(start, runs_dir)) is not None:
        look_back(task, of)


def explore(directory: RunDirectory, card: Card, settings: Settings, start: str, runs_dir: Path) -> int:
    """Serve panels over the directory's socket until no client has been attached for a few seconds. Returns the exit status."""
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: ended.append(number))
    with RunLock(directory.lock_path) as lock, contextlib.ExitStack() as stack:
        lock.doing("reading data, building the model")
        task = load(card, origin.find(start, runs_dir, card.name, earlier=True), settings)
        _look_back(task, start, runs_dir)
        lock.doing("")
        server = Server(directory.socket_path, lambda: Hello(step=task.step, architecture=card.name, name=start, pid=os.getpid()))
        server.start()
        stack.callback(server.close)

        def rewind(step: int) -> None:
            if (of := steps.named(start, runs_dir)) is None:
                raise SettingsError(f"{start} has one checkpoint; only runs and some shipped models have several")
            put(task, steps.nearest(of, step, state=True))

        serve_panels(card, task, server, devices.describe(task.device), lambda: bool(ended), LINGER_SECONDS, rewind)
    remove_explored(directory.path)  # not after an error: the screen reads the log, and removes it
    return 0
