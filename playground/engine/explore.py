"""Serves the panels of a model that is not being trained, for as long as a client is attached."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dlplay.engine.card import Card
from dlplay.engine.commands import Rewind, Stop
from dlplay.engine.device import Meter
from dlplay.engine.events import Status
from dlplay.engine.panel_server import PanelServer, Server
from dlplay.engine.task import Task

STATUS_SECONDS = 1.0
FIRST_CLIENT_SECONDS = 30.0
"""How long to wait for the first client, which may be on a machine that is busy."""


def explore(
    card: Card,
    task: Task[Any],
    server: Server,
    device_name: str,
    interrupted: Callable[[], bool],
    linger: float,
    rewind: Callable[[int], None],
) -> None:
    """Answer questions about the model until a client says stop, or the last client left `linger` seconds ago.

    `rewind(step)` puts the weights of another checkpoint into the task; it raises `ValueError` or `OSError`, in words, where there is none.
    """
    panels, meter = PanelServer(card, task, server), Meter(task.device)
    status_due = 0.0
    ends = time.monotonic() + max(FIRST_CLIENT_SECONDS, linger)
    while not interrupted():
        for client, command in server.poll(0.2):
            if isinstance(command, Stop):
                return
            if isinstance(command, Rewind):
                try:
                    rewind(command.step)
                except (ValueError, OSError) as error:
                    panels.refuse(client, command, str(error))
                else:
                    panels.confirm(client, command)
            elif not panels.handle(client, command):
                panels.refuse(client, command, "nothing trains here; this process only answers questions about a checkpoint")
        while panels.behind:
            panels.serve(time.perf_counter(), idle=True)
        now = time.monotonic()
        if server.clients:
            ends = now + linger
            if now >= status_due:
                utilisation, memory = meter.read()
                status_due = now + STATUS_SECONDS
                server.broadcast(
                    Status(
                        step=task.step,
                        time=time.time(),
                        state="exploring",
                        device=str(task.device),
                        device_name=device_name,
                        utilisation=utilisation,
                        memory=memory,
                    )
                )
        elif now > ends:
            return
