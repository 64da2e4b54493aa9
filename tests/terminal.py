"""A program in a real pseudo-terminal: typed to, read as the screen a person would see, hung up as a dropped connection does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.terminal import Drawn
from dlplay.runs.lock import holder

ROOT = Path(__file__).resolve().parents[1]
KEYS = {"enter": "\r", "tab": "\t", "space": " ", "escape": "\x1b", "backspace": "\x7f", "up": "\x1b[A", "down": "\x1b[B"}

# makes the terminal the controlling one, so that closing it sends SIGHUP, then becomes the program
_LAUNCH = "import fcntl,os,signal,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
_DEAF = "signal.signal(signal.SIGHUP, signal.SIG_IGN); "
_BECOME = "os.execv(sys.executable, [sys.executable, '-m', 'dlplay', *sys.argv[1:]])"


class Terminal:
    """`dlplay ARGUMENTS` on a terminal of its own. `deaf`: it is started with SIGHUP ignored."""

    def __init__(
        self,
        *arguments: str,
        size: tuple[int, int] = (140, 42),
        environment: Mapping[str, str] | None = None,
        deaf: bool = False,
        errors: Path | None = None,
    ) -> None:
        """`errors` is a file for standard error, which is the terminal otherwise."""
        self.received = 0
        self._drawn = Drawn(*size)
        master, slave = os.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        os.set_blocking(master, False)
        self._master: int | None = master
        given = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1", **(environment or {})}
        for name in ("COLUMNS", "LINES"):
            given.pop(name, None)
        given["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [given.get("PYTHONPATH")])])
        command = [sys.executable, "-S", "-c", _LAUNCH + (_DEAF if deaf else "") + _BECOME, *arguments]
        with contextlib.ExitStack() as stack:
            stderr = slave if errors is None else stack.enter_context(errors.open("wb"))
            self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=stderr, start_new_session=True, env=given)
        os.close(slave)
        self.pid = self._process.pid

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(30)
        self.hang_up()

    # --- reading ------------------------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return self._drawn.text

    @property
    def colours(self) -> set[str]:
        """The colours that are in use, as the terminal was told them."""
        cells = (self._drawn.screen.buffer[y][x] for y in range(self._drawn.screen.lines) for x in range(self._drawn.screen.columns))
        return {name for cell in cells for name in (cell.fg, cell.bg)}

    def read(self, seconds: float) -> None:
        """Take in what comes, waiting for it no longer than `seconds`."""
        if self._master is None:
            time.sleep(seconds)
            return
        if not select.select([self._master], [], [], seconds)[0]:
            return
        try:
            data = os.read(self._master, 65_536)
        except BlockingIOError:
            return
        except OSError:  # the program has closed its side
            time.sleep(min(seconds, 0.02))
            return
        self.received += len(data)
        self._drawn.feed(data)

    def until(self, condition: str | Callable[[], object], seconds: float = 60.0) -> float:
        """Read until the words stand on the screen, or the condition holds; returns the seconds that it took."""
        start = time.monotonic()
        while not (condition in self.text if isinstance(condition, str) else condition()):
            took = time.monotonic() - start
            ended = self._process.poll()
            assert took < seconds, f"not within {seconds:g} s: {condition}; on the screen:\n{self.text}"
            assert ended is None or not isinstance(condition, str), f"ended with {ended}; on the screen:\n{self.text}"
            self.read(0.02)
        return time.monotonic() - start

    # --- writing ------------------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Type bytes, reading meanwhile: a terminal whose output nobody takes accepts no input either."""
        assert self._master is not None
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._master, data[:1024]) :]
            self.read(0.0)

    def press(self, *names: str) -> None:
        """Press keys, one after the other."""
        for name in names:
            self.send(KEYS.get(name, name).encode())
            self.read(0.05)

    def paste(self, text: str) -> None:
        """As a terminal sends what was pasted."""
        self.send(b"\x1b[200~" + text.encode() + b"\x1b[201~")

    # --- the end ------------------------------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Close the terminal, as a dropped connection does."""
        if self._master is not None:
            os.close(self._master)
            self._master = None

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait(10)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()


def processes_of(folder: Path) -> list[int]:
    """Processes whose command line names this folder, and those that hold a run in it, which a launcher may have forked; what has ended
    and only waits to be fetched is left out."""
    holders = {held.pid for lock in folder.glob("**/lock") if (held := holder(lock)) is not None}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            named = process.pid in holders or any(str(folder) in word for word in process.cmdline())
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def dlplay(*arguments: str) -> Sequence[str]:
    """Run one command line to its end; its lines of output. Raises `CalledProcessError`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run([sys.executable, "-m", "dlplay", *arguments], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()
