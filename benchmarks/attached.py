"""Training while somebody looks on against the bare loop: a client that watches every panel at 4 Hz, and the real screen at 140x42."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator

from benchmarks.effort import Effort
from benchmarks.pace import bare, program
from benchmarks.rounds import alternate
from benchmarks.table import Line
from benchmarks.terminal import terminal
from benchmarks.throughput import against, bare_loops, paces
from benchmarks.timing import Pace
from dlplay import architectures
from dlplay.engine.commands import View
from dlplay.runs.client import RunClient
from dlplay.runs.directory import RunDirectory

WATCHED = ("convnet", "gpt")
PROMISED = 0.93
RATE = 4.0


@contextlib.contextmanager
def watching(run: RunDirectory) -> Iterator[None]:
    """A client that watches every panel, in a thread of this process."""
    leave = threading.Event()

    async def watch() -> None:
        client = await RunClient.connect(run.socket_path)
        client.watch([View(panel.name) for panel in architectures.card(run.spec.architecture).panels], RATE)
        await asyncio.to_thread(leave.wait)
        client.close()

    thread = threading.Thread(target=lambda: asyncio.run(watch()))
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()


@contextlib.contextmanager
def screen(run: RunDirectory) -> Iterator[None]:
    """`dlplay attach` in a terminal."""
    with terminal("attach", run.name, "--runs-dir", str(run.path.parent)):
        yield


def measure(effort: Effort) -> list[Line]:
    """Steps per second beside the bare loop's, of the same rounds."""
    lines = []
    alone = bare_loops()
    for architecture in effort.of(WATCHED):
        steps = effort.steps(2 * alone[architecture])  # the screen's start is to be a small part of it
        candidates: dict[str, Callable[[], Pace]] = {
            "bare": functools.partial(bare, architecture, steps, effort.threads),
            "watched": functools.partial(program, architecture, steps, effort.threads, watching),
            "screen": functools.partial(program, architecture, steps, effort.threads, screen),
        }
        found = alternate(candidates, effort.rounds)
        lines += paces(f"{architecture} bare loop", found["bare"])
        lines += against(f"{architecture} with every panel watched, over bare", found["watched"], found["bare"], PROMISED)
        lines += against(f"{architecture} with the screen attached, over bare", found["screen"], found["bare"], PROMISED)
    return lines
