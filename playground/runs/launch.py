"""Starting a run's process, detached so that it outlives its parent, and stopping it.

A process starts in milliseconds where a launcher is ready to fork it, else as the command that a person could have typed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlplay.engine.commands import Stop
from dlplay.runs.client import RunError
from dlplay.runs.directory import RunDirectory, summary
from dlplay.runs.files import open_regular
from dlplay.runs.launcher import Forked, Launcher, LauncherGone, Process
from dlplay.runs.lock import Holder, holder
from dlplay.runs.wire import encode, socket_at

_PROGRAM = Path(__file__).absolute().parents[1] / "__main__.py"
"""Started by its path it is this copy of the package, installed or not, whatever the current folder holds."""


class Launched:
    """A process started here, which keeps running when this one ends."""

    def __init__(self, process: Process | Forked, log_path: Path) -> None:
        self._process = process
        self.pid = process.pid
        self.log_path = log_path

    @property
    def returncode(self) -> int | None:
        """The exit status: None while it runs, -N when signal N killed it, `ENDED_UNSEEN` when that cannot be known."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait until it has ended; returns the exit status."""
        delay = 0.005
        while (code := self._process.poll()) is None:
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.1)
        return code

    def last_words(self, lines: int = 20) -> str:
        """The last lines of its log without control characters, for failures that it could not report otherwise."""
        try:
            with os.fdopen(open_regular(self.log_path, os.O_RDONLY), "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
                text = file.read(16_384).decode(errors="replace")
        except OSError:
            return ""
        kept = "".join(c for c in text if c == "\n" or c.isprintable())
        return "\n".join(kept.strip().splitlines()[-lines:])


def terminate(process: Launched) -> None:
    """Ask a process by SIGTERM to save its run and to end; one that has ended is left alone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def prepare(architecture: str) -> None:
    """Have a launcher ready to fork runs of this architecture, where the system allows it; it lives as long as this process."""
    global _launcher
    if sys.platform != "linux":
        return
    if _launcher is not None and not (_launcher.usable and _launcher.program == command()):
        _launcher.close()
        _launcher = None
    if _launcher is None:
        with contextlib.suppress(OSError):
            _launcher = Launcher(command())
    if _launcher is not None:
        _launcher.prepare(architecture)


_launcher: Launcher | None = None


def launch_blocking(arguments: Sequence[str], log_path: Path) -> Launched:
    """Start `dlplay ARGUMENTS` in a session of its own, with its output appended to the log. Raises `OSError`."""
    log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = open_regular(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        if _launcher is not None and _launcher.program == command():
            with contextlib.suppress(LauncherGone):
                return Launched(_launcher.fork(arguments, log), log_path)
        process = Process([*command(), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    finally:
        os.close(log)
    return Launched(process, log_path)


def command() -> list[str]:
    """The words that start `dlplay`: this very copy of it, and no shell between."""
    return [sys.executable, "-P", str(_PROGRAM)]  # -P: no folder is put on Python's path


async def launch(arguments: Sequence[str], log_path: Path) -> Launched:
    """`launch_blocking` in another thread, which this process does not wait for when it ends: a launcher may take long to answer."""
    loop = asyncio.get_running_loop()
    launched: asyncio.Future[Launched] = loop.create_future()

    def tell(told: Callable[[Any], None], result: Any) -> None:
        if not launched.done():
            told(result)

    def work() -> None:
        told: tuple[Callable[[Any], None], Any]
        try:
            told = launched.set_result, launch_blocking(arguments, log_path)
        except Exception as error:
            told = launched.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=work, daemon=True).start()
    return await launched


def stop_run(run: RunDirectory, timeout: float = 60.0) -> str:
    """End a run after a last checkpoint, and wait until its process has released it; returns what happened, for a person.

    It is told over its socket, or by SIGTERM when it does not listen. Raises `RunError` when it has not ended within `timeout` seconds.
    """
    held = holder(run.lock_path)
    if held is None:
        return f"run {run.name} is not running"
    deadline = time.monotonic() + timeout
    connection = _ask_to_stop(run.socket_path)
    try:
        if connection is None:
            _terminate(held)
        delay = 0.01
        while (now := holder(run.lock_path)) is not None and now.pid in (0, held.pid):
            if time.monotonic() > deadline:
                raise RunError(f"run {run.name} did not stop within {timeout:g} s; process {held.pid} still holds it: kill {held.pid}")
            time.sleep(delay)
            delay = min(delay * 2, 0.1)
    finally:
        if connection is not None:
            connection.close()
    return f"stopped run {run.name} at step {summary(run).step:,}"


def interrupt_run(run: RunDirectory) -> None:
    """Ask the process that holds the run to save it and to end, as Ctrl-C does: unlike a stopped run, this one counts as unfinished."""
    if (held := holder(run.lock_path)) is not None:
        _terminate(held)


def _ask_to_stop(socket_path: Path) -> socket.socket | None:
    """Send `Stop`; returns the connection, which must stay open until the run has ended, or None when the run does not listen."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5.0)
    try:
        with socket_at(socket_path) as path:
            connection.connect(path)
        connection.sendall(encode(Stop()))
    except OSError:
        connection.close()
        return None
    return connection


def _terminate(held: Holder) -> None:
    if held.pid > 1 and held.pid != os.getpid():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(held.pid, signal.SIGTERM)
