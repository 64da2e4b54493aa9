"""One writer per run: an advisory lock (`flock`) on a file in the run's directory, which the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sys
import time
from pathlib import Path
from types import TracebackType

from dlplay.runs.files import open_regular

_RETRY_SECONDS = 0.2
"""How long a taken lock is tried again: `holder` takes it for an instant as well."""

_NOTE_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class Holder:
    """The process that holds a lock; `pid` is 0 when it has not written it yet."""

    pid: int
    command: str
    problem: str = ""
    """What it waits for, such as space on the disk: the journal cannot say so then."""
    phase: str = ""
    """What it does just now, while it starts."""


class Held(RuntimeError):
    """The run is held by another process."""

    def __init__(self, holder: Holder, name: str) -> None:
        super().__init__(f"run {name} is held by process {holder.pid}; attach to it, or stop it first: dlplay stop {name}")
        self.pid = holder.pid


class RunLock:
    """The lock of a run, as a context manager or with `acquire` and `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._problem = self.phase = ""

    def acquire(self) -> None:
        """Raises `Held` when another process has it, and `OSError` when the run's directory is gone."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            fd = open_regular(self.path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), self.path.stat()):
                    break
                os.close(fd)  # the run was removed and created again meanwhile: this lock is on a deleted file
            except BlockingIOError:
                holder = _read_holder(fd)
                os.close(fd)
                if time.monotonic() > deadline:
                    raise Held(holder, self.path.parent.name) from None
                time.sleep(0.01)
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd
        os.register_at_fork(after_in_child=self._close)
        self.note("")

    def note(self, problem: str) -> None:
        """Tell those who ask for the holder what it waits for; empty: nothing."""
        self._problem = problem
        self._tell()

    def doing(self, phase: str) -> None:
        """Tell them what it does just now, while it starts; empty: it has started."""
        self.phase = phase
        self._tell()

    def _tell(self) -> None:
        """The text takes up the same bytes always, so that it can be written on a full disk; an error is ignored."""
        command = f"{os.getpid()} {' '.join(sys.argv)[:500]}"
        lines = (line.replace("\n", " ") for line in (command, self._problem[:200], self.phase[:100]))
        text = "\n".join(lines).encode(errors="replace")[: _NOTE_BYTES - 1]
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, text + b"\n" * (_NOTE_BYTES - len(text)), 0)

    def release(self) -> None:
        """May be called when the lock is not held."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._close()

    def _close(self) -> None:
        """Close without unlocking explicitly: in a forked child that would release the parent's lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def holder(path: Path) -> Holder | None:
    """The process that holds the lock at `path`; None when none does or there is no such file."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _read_holder(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def told(path: Path) -> Holder:
    """What the process that holds the lock at `path` told of itself, without a try at the lock; pid 0 when nobody holds it. What a process
    that was killed has told still stands there: see `alive`."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except OSError:
        return Holder(0, "")
    try:
        return _read_holder(fd)
    finally:
        os.close(fd)


def alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not yet waited for (a zombie) does not count."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def _read_holder(fd: int) -> Holder:
    first, problem, phase, *_ = [*os.pread(fd, _NOTE_BYTES, 0).decode(errors="replace").split("\n"), "", "", ""]
    pid, _, command = first.partition(" ")
    return Holder(int(pid) if pid.isdecimal() and len(pid) < 12 else 0, _shown(command), _shown(problem), _shown(phase))


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
