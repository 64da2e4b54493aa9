"""A launcher: a process that has imported torch and the rooms in use, and forks a run within milliseconds instead of starting one anew.

It belongs to the process that started it, at the other end of a socket pair, and ends with it; the runs go on. It computes nothing and
touches no GPU, so a fork of it is as good as a new process: the same environment, the same folder, the same bits. Only on Linux: on macOS
the system's libraries do not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlplay import architectures

ENDED_UNSEEN = 256
"""In place of an exit status: the process has ended, and who could have told how had ended before."""

FLAG = "--launcher"
"""dlplay's first argument when it is to be a launcher; the second is the descriptor of its end of the socket pair."""

_BYTES = 1 << 20
_PATIENCE = 20.0
"""Seconds in which it imports what it needs and forks; after that it is ended, and a command started in its place."""


class Process(subprocess.Popen[bytes]):
    """asyncio's own subprocesses are killed when the event loop closes. Its children keep running, without a `ResourceWarning`."""

    def __del__(self, *args: Any) -> None:
        with contextlib.suppress(Exception):
            self.poll()


class LauncherGone(Exception):
    """The launcher has ended or does not answer, or this process has moved on to another environment or folder than it knows."""


class Launcher:
    """This process's end. Its methods may be called from any thread."""

    def __init__(self, program: Sequence[str]) -> None:
        """`program` is the command that `FLAG` is given to. Raises `OSError`."""
        self.program = list(program)
        self._around = _surroundings()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = Process(
                [*program, FLAG, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's signals do not reach it
            )
        self._socket.settimeout(_PATIENCE)
        self._ended: dict[int, int] = {}
        """Exit statuses by process."""
        self._lock = threading.Lock()
        self._gone = False

    @property
    def pid(self) -> int:
        """The launcher's process."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether what it forks is what a new process would be."""
        return not self._gone and self._around == _surroundings()

    def prepare(self, architecture: str) -> None:
        """Import a room that comes with dlplay, so that its runs need not."""
        with contextlib.suppress(OSError):
            self._socket.send(json.dumps({"prepare": architecture}).encode())

    def fork(self, arguments: Sequence[str], log: int) -> Forked:
        """Start `dlplay ARGUMENTS` in a session of its own, with its output appended to the descriptor `log`. Raises `LauncherGone`."""
        with self._lock:
            if not self.usable:
                raise LauncherGone
            try:
                socket.send_fds(self._socket, [json.dumps({"arguments": list(arguments)}).encode()], [log])
                while (pid := self._receive()) is None:
                    pass
            except OSError as error:
                self._gone = True
                self._process.kill()  # it may yet read the request, and the run would be started twice
                raise LauncherGone from error
            return Forked(self, pid)

    def status(self, pid: int) -> int | None:
        """The exit status of a process that it forked, -N after signal N; None while that is not known."""
        if pid not in self._ended and not self._gone and self._lock.acquire(blocking=False):
            try:
                while pid not in self._ended and select.select([self._socket], [], [], 0)[0]:
                    self._receive()
            except OSError:
                self._gone = True
            finally:
                self._lock.release()
        return self._ended.get(pid)

    @property
    def gone(self) -> bool:
        """Whether it cannot tell any more how a process ended."""
        return self._gone

    def close(self) -> None:
        """Let it end; the processes that it forked go on."""
        self._gone = True
        self._socket.close()

    def __del__(self) -> None:
        self.close()

    def _receive(self) -> int | None:
        """Take one message: the process that was forked, or None after one that has ended. Raises `OSError`."""
        data = self._socket.recv(_BYTES)
        if not data:
            raise ConnectionResetError("the launcher has ended")
        message = json.loads(data)
        if "forked" in message:
            return int(message["forked"])
        self._ended[int(message["ended"])] = int(message["status"])
        return None


class Forked:
    """A process that a launcher forked, with what `subprocess.Popen` has of it: `pid` and `poll`."""

    def __init__(self, launcher: Launcher, pid: int) -> None:
        self.pid = pid
        self._launcher = launcher
        self._fd = -1
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit status, None while it runs, `ENDED_UNSEEN` when it ended after its launcher."""
        status = self._launcher.status(self.pid)
        if status is None and self._launcher.gone and (self._fd < 0 or select.select([self._fd], [], [], 0)[0]):
            return ENDED_UNSEEN
        return status

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _surroundings() -> tuple[dict[str, str], str]:
    """What a process takes over from the one that starts it."""
    try:
        folder = str(Path.cwd())
    except OSError:  # it was removed
        folder = ""
    return dict(os.environ), folder


# --- the launcher's process -------------------------------------------------------------------------------------------------------------


def serve(fd: int) -> list[str]:
    """Fork for every request until the other end closes. Returns in each fork, with its arguments; the launcher itself exits."""
    connection = socket.socket(fileno=fd)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    children: set[int] = set()
    later: list[str] = []
    _import_what_runs_need()
    while True:
        ready = select.select([connection.fileno(), woken], [], [], 0 if later else None)[0]
        if not ready:
            with contextlib.suppress(ImportError):
                importlib.import_module(later.pop())
            continue
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
        try:
            for pid in list(children):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    children.discard(pid)
                    connection.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())
            if connection.fileno() not in ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(connection, _BYTES, 1)
        except OSError:
            sys.exit(0)
        if not data:
            sys.exit(0)
        message = json.loads(data)
        if "prepare" in message:
            later += _import_room(str(message["prepare"]))
            continue
        gc.freeze()  # pages that no collection touches stay shared
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become_a_run(descriptors[0], woken, wake)
            return [str(argument) for argument in message["arguments"]]
        children.add(pid)
        os.close(descriptors[0])
        connection.send(json.dumps({"forked": pid}).encode())


def _import_what_runs_need() -> None:
    runs = ("compaction", "console", "process", "trust")
    for name in (*(f"dlplay.runs.{module}" for module in runs), "numpy.ma", "numpy.random", "rich.style", "safetensors.numpy"):
        importlib.import_module(name)
    for room in pkgutil.iter_modules(architectures.__path__):
        importlib.import_module(f"{architectures.__name__}.{room.name}")


def _import_room(architecture: str) -> tuple[str, ...]:
    """The room's task with all that it imports and reads; not that of a room of one's own, which may change while this process lives.
    Returns what is to be imported when nobody waits."""
    from dlplay.engine.errors import DataError
    from dlplay.engine.settings import SettingsError

    room = f"{architectures.__name__}.{architecture.replace('-', '_')}"
    with contextlib.suppress(ImportError, SettingsError, DataError):
        card = importlib.import_module(f"{room}.card").card
        task = card.load_task()
        if (data := task.read_ahead(card.settings())) is not None:
            _ = data.words, data.key  # counted and hashed once, and kept
        return tuple(task.imports_later)
    return ()


def _become_a_run(log: int, *unused: int) -> None:
    """As a process that was started with `log` as its output, in a session of its own."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd in (1, 2):
        os.dup2(log, fd)
    for fd in (log, *unused):
        os.close(fd)
