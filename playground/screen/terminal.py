"""The terminal at the other end: how readily it takes what is drawn, and whether it is still there.

A slow link gets fewer frames, and a key is never late because of one: nothing is drawn while the last frame is still on its way. A
terminal that is gone (a dropped connection) is noticed, since Textual itself would spin on it.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import IO, Any, cast

from textual.drivers.linux_driver import LinuxDriver

FRAME_SECONDS = 0.2
"""Between two repaints on a terminal that takes them readily."""
SLOWEST_FRAME_SECONDS = 10.0


class PacedFile:
    """Stands between the driver's writing thread and the terminal; measures how long the terminal takes to accept a write."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.writing_since: float | None = None
        self.spent = 0.0
        """Seconds that the terminal took for everything so far."""
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


class PacedDriver(LinuxDriver):
    """Textual's own driver, with a `PacedFile` to write to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.paced = PacedFile(cast(IO[str], self._file))
        self._file = cast(Any, self.paced)

    @property
    def busy(self) -> bool:
        """True while the terminal has not taken all that was written."""
        writer = self._writer_thread
        return self.paced.writing_since is not None or (writer is not None and not writer._queue.empty())

    @property
    def gone(self) -> bool:
        """True once the terminal was closed at the other end."""
        return self.paced.gone or hung_up(self.fileno)


class Pace:
    """When the next frame may be drawn."""

    def __init__(self) -> None:
        self._last = self._spent = 0.0

    def due(self, now: float, driver: PacedDriver | None) -> bool:
        """Whether it is time; if so it counts as drawn. A link that took long for the last frame is then left free for twice as long,
        so that a key finds it idle."""
        wait = FRAME_SECONDS
        if driver is not None:
            if driver.busy:
                return False
            wait = min(max(wait, 3 * (driver.paced.spent - self._spent)), SLOWEST_FRAME_SECONDS)
        if now < self._last + wait:
            return False
        self._last = now
        self._spent = driver.paced.spent if driver is not None else 0.0
        return True

    def hurry(self) -> None:
        """Something happened that is to be seen at once."""
        self._last = 0.0


def hung_up(descriptor: int) -> bool:
    """Whether the terminal behind `descriptor` was closed at its other end."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):
        poll.register(descriptor, select.POLLIN)
        return any(flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, flags in poll.poll(0))
    return True


def quiet_streams() -> None:
    """Send what is still to be written to standard streams into the void: the terminal behind them is gone."""
    void = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.dup2(void, descriptor)
    os.close(void)
