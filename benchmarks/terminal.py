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

SIZE = (42, 140)
"""Rows and columns."""
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?<>=$]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[()][0-9A-B]|.)")
_KEPT = 1 << 22


class Terminal:
    """`dlplay ARGUMENTS` in a terminal of `SIZE`; nothing is drawn, so that the measuring takes no core."""

    def __init__(self, arguments: Sequence[str]) -> None:
        outer = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}  # another terminal's size
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
        self._text = b""
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._master, 1 << 16):
                with self._grown:
                    self.bytes += len(data)
                    if self.bytes < _KEPT:
                        self.parts.append((time.perf_counter(), data))
                    self._text = (self._text + data)[-_KEPT:]
                    self._grown.notify_all()

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def forget(self) -> None:
        """What was received before no longer counts for `wait_for`."""
        with self._grown:
            self._text = b""

    def wait_for(self, words: str, seconds: float = 60.0) -> float:
        """Seconds since the start until a text with these words, a regular expression, was received since the last `forget`.

        Cells that the screen skips because they did not change break a text: wait for short ones. Raises `TimeoutError`.
        """
        deadline = time.perf_counter() + seconds
        pattern = re.compile(words)
        with self._grown:
            while not pattern.search(self._plain()):
                left = deadline - time.perf_counter()
                if left <= 0 or not self._grown.wait(left):
                    raise TimeoutError(f"the screen did not show {words!r} within {seconds:g} s")
            return time.perf_counter() - self.began

    def _plain(self) -> str:
        return _ESCAPES.sub(b"", self._text).decode(errors="replace")

    def resident(self) -> int:
        """Bytes of the screen's process."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        """Hang up, as a dropped connection does, and wait."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGHUP)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        self._thread.join(5)


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """A `Terminal`, closed at the end."""
    opened = Terminal(arguments)
    try:
        yield opened
    finally:
        opened.close()
