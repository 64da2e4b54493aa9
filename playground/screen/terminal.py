"""The terminal at the other end: how fast it accepts output, and what happens when it is closed.

A slow connection gets fewer frames, and a key is never delayed by one: nothing is drawn while the last frame is still on its way.
When the terminal is gone (a dropped connection), the screen exits; Textual itself would spin.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import IO, Any, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

FRAME_SECONDS = 0.2
"""Between two frames on a terminal that accepts them at once."""
SLOWEST_FRAME_SECONDS = 10.0
EXIT_SECONDS = 1.5
"""After which a screen whose terminal was closed is ended by force."""

# alt and a digit, which most terminals send as escape and the digit: Textual takes it for what an American Mac keyboard types with it
for _digit in "123456789":
    ANSI_SEQUENCES_KEYS[f"\x1b{_digit}"] = (SimpleNamespace(value=f"alt+{_digit}"),)  # type: ignore[index]


class PacedFile:
    """Stands between the driver's writing thread and the terminal; measures how long the terminal takes to accept a write."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.writing_since: float | None = None
        self.spent = 0.0
        """Seconds that all writes took so far."""
        self.gone = False

    def write(self, text: str) -> int:
        self._timed(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._timed(self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def _timed(self, write: Any) -> None:
        if self.gone:
            return
        self.writing_since = time.monotonic()
        try:
            write()
        except OSError:
            # the other end is gone; an error in the writing thread would leave the screen waiting for it for ever
            self.gone = True
        self.spent += time.monotonic() - self.writing_since
        self.writing_since = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Paced(ABC):
    """What a driver tells of its terminal."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """True while the terminal has not accepted everything that was written."""

    @property
    @abstractmethod
    def spent(self) -> float:
        """Seconds that the terminal took to accept what was written so far."""

    @property
    @abstractmethod
    def gone(self) -> bool:
        """True once the terminal was closed at the other end."""


class PacedDriver(LinuxDriver, Paced):
    """Textual's own driver, writing through a `PacedFile`: to standard error, or to standard output where that is not the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        file = self._file if self._file is not None and self._file.isatty() else sys.__stdout__
        self.paced = PacedFile(cast(IO[str], file))
        self._file = cast(Any, self.paced)

    @property
    def busy(self) -> bool:
        writer = self._writer_thread
        return self.paced.writing_since is not None or (writer is not None and not writer._queue.empty())

    @property
    def spent(self) -> float:
        return self.paced.spent

    @property
    def gone(self) -> bool:
        return self.paced.gone or hung_up(self.fileno)


class Pace:
    """Decides when the next frame may be drawn."""

    def __init__(self) -> None:
        self._last = self._spent = 0.0

    def due(self, now: float, driver: Paced | None) -> bool:
        """Whether it is time for a frame; if so it counts as drawn.

        After a frame that took long to send, the connection is left idle for twice as long, so that a key press finds it free.
        """
        wait = FRAME_SECONDS
        if driver is not None:
            if driver.busy:
                return False
            wait = min(max(wait, 3 * (driver.spent - self._spent)), SLOWEST_FRAME_SECONDS)
        if now < self._last + wait:
            return False
        self._last = now
        self._spent = driver.spent if driver is not None else 0.0
        return True

    def hurry(self) -> None:
        """Let the next frame be drawn at once."""
        self._last = 0.0


class Hangup:
    """Ends the screen within two seconds when its terminal is closed; runs continue. Textual has no handler for SIGHUP."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._exiting = False

    def listen(self) -> None:
        """From now on, exit on SIGHUP and SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: a test
                loop.add_signal_handler(number, self.exit)

    def exit(self) -> None:
        """Exit without asking and without writing; by force when it takes too long."""
        if self._exiting:
            return
        self._exiting = True
        discard_output()
        last_resort = threading.Timer(EXIT_SECONDS, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()
        self._app.exit()


def hung_up(descriptor: int) -> bool:
    """Whether the terminal behind `descriptor` was closed at its other end."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):
        poll.register(descriptor, select.POLLIN)
        return any(flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, flags in poll.poll(0))
    return True


def discard_output() -> None:
    """Redirect the standard streams to /dev/null: the terminal behind them is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.dup2(null, descriptor)
    os.close(null)
