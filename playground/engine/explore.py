"""Looking at a model that does not train: a checkpoint's panels, for as long as somebody asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dlplay.engine.audience import Audience, Outlet
from dlplay.engine.card import Card
from dlplay.engine.commands import Act, Ask, Stop, Watch
from dlplay.engine.device import Meter
from dlplay.engine.events import Status
from dlplay.engine.task import Task

STATUS_SECONDS = 1.0


def explore(card: Card, task: Task[Any], outlet: Outlet, device_name: str, interrupted: Callable[[], bool], linger: float) -> None:
    """Answer questions about a model that does not train, until nobody has looked on for `linger` seconds."""
    audience, meter = Audience(card, task, outlet), Meter(task.device)
    alone_since, status_due = time.monotonic(), 0.0
    while not interrupted():
        for client, command in outlet.poll(0.2):
            match command:
                case Ask():
                    audience.ask(client, command)
                case Watch():
                    audience.watch(client, command)
                case Act() if not audience.lasting(command):
                    audience.act_in_turn(client, command)
                case Stop():
                    return
                case _:
                    audience.refuse(client, command, "nothing trains here; this process only answers questions about a checkpoint")
        while audience.waiting:
            audience.serve(time.perf_counter(), still=True)
        now = time.monotonic()
        if outlet.clients:
            alone_since = now
            if now >= status_due:
                utilisation, memory = meter.read()
                status_due = now + STATUS_SECONDS
                outlet.broadcast(
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
        elif now - alone_since > linger:
            return
