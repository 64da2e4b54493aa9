"""The real screen in a pseudo-terminal that a thread drains: what it sends, when, and how it answers keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence

import psutil
import pyte

from dlplay.runs.launcher import FLAG

SIZE = (42, 140)
"""Rows and columns."""
_KEPT = 1 << 22
_UNKNOWN = re.compile(rb"\x1b\[[<>=][0-9;:]*[a-zA-Z]|\x1b\[\?[0-9;]*(?:\$p|[un])|\x1b\[[0-9;]*[tqSp]|\x1b[\]P_][^\x07\x1b]*(?:\x07|\x1b\\)")
"""What pyte would print or stumble over: private CSI sequences other than ?h and ?l, queries, and strings for the terminal."""
_WHOLE = re.compile(rb"\x1b(?:\[[0-9;:?<>=$ ]*[@-~]|[\]P_][^\x07\x1b]*(?:\x07|\x1b\\)|[^\[\]P_])")


class Drawn:
    """What a person would see of the bytes that a screen sends. A screen sends cells that changed alone, so its texts are not in them."""

    def __init__(self, columns: int = SIZE[1], rows: int = SIZE[0]) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._left = b""

    def feed(self, data: bytes) -> None:
        data = self._left + data
        cut = data.rfind(b"\x1b", max(0, len(data) - 4096))
        cut = len(data) if cut < 0 or _WHOLE.match(data, cut) else cut  # an unfinished sequence waits for its end
        self._left = data[cut:]
        self._stream.feed(_UNKNOWN.sub(b"", data[:cut]))

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)


class Terminal:
    """`dlplay ARGUMENTS` in a terminal of `SIZE`; nothing is drawn but for `wait_for`, so that the measuring takes no core."""

    def __init__(self, arguments: Sequence[str], home: str = "") -> None:
        """`home`: the folder that its data and its configuration lie in, instead of the person's own."""
        outer = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}  # another terminal's size
        outer |= {name: home for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME") if home}
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dlplay", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**outer, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )
        os.close(slave)
        self.bytes = 0
        """Received so far."""
        self._master = master
        self.parts: list[tuple[float, bytes]] = []
        """What was received when, on the `perf_counter` clock: all of it, up to some megabytes."""
        self._drawn = Drawn()
        self._waiting: list[tuple[float, bytes]] = []
        """What was received and is still to be drawn."""
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._master, 1 << 16):
                with self._grown:
                    self.bytes += len(data)
                    part = time.perf_counter(), data
                    if self.bytes < _KEPT:
                        self.parts.append(part)
                    self._waiting.append(part)
                    self._grown.notify_all()

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, words: str, seconds: float = 60.0) -> float:
        """Seconds from the start until these words, a regular expression, stood on the screen. Raises `TimeoutError`."""
        deadline = time.perf_counter() + seconds
        pattern, when = re.compile(words), time.perf_counter()
        while not pattern.search(self._drawn.text):
            with self._grown:
                while not self._waiting:
                    left = deadline - time.perf_counter()
                    if left <= 0 or not self._grown.wait(left):
                        raise TimeoutError(f"the screen did not show {words!r} within {seconds:g} s; it shows\n{self._drawn.text}")
                when, data = self._waiting.pop(0)
            self._drawn.feed(data)
        return when - self.began

    def resident(self) -> int:
        """Bytes of the screen's process."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        """Hang up, as a dropped connection does, and wait until the screen has ended, and what it was still importing for later runs."""
        launchers = self._launchers()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGHUP)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        psutil.wait_procs(launchers, timeout=20)
        os.close(self._master)
        self._thread.join(5)

    def _launchers(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self.process.pid).children() if FLAG in child.cmdline()]
        return []


@contextlib.contextmanager
def terminal(*arguments: str, home: str = "") -> Iterator[Terminal]:
    """A `Terminal`, closed at the end."""
    opened = Terminal(arguments, home)
    try:
        yield opened
    finally:
        opened.close()
