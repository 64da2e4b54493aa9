"""Commands started by the real torchrun, as two processes that train together over gloo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Ended, wait_until


class Torchrun:
    """One `torchrun … -m dlplay …`, which may be running still."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], ranks: int, restarts: int, meeting: str) -> None:
        self._out, self._err = folder / "torchrun.out", folder / "torchrun.err"
        launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
        launcher += ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}"] if meeting else ["--standalone"]
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                [*launcher, f"--max-restarts={restarts}", "-m", "dlplay", *arguments],
                stdout=out,
                stderr=err,
                cwd=folder,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ranks(self) -> dict[int, int]:
        """The ids of the processes that run now, by rank."""
        found = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError, KeyError, ValueError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == self.pid:
                    variables = dict(line.split("=", 1) for line in (folder / "environ").read_text().split("\0") if "=" in line)
                    found[int(variables["RANK"])] = int(folder.name)
        return found

    def send(self, number: int, rank: int) -> None:
        os.kill(self.ranks()[rank], number)

    def wait(self) -> Ended:
        wait_until(lambda: not self.running, f"torchrun ends:\n{self._err.read_text()[-2000:]}")
        return Ended(self._process.returncode, self._out.read_text(), self._err.read_text())

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in self.ranks().values():  # torchrun gives each a session of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Torchruns:
    """Starts commands in torchrun; called, it waits for the end as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Torchrun] = []

    def start(self, *arguments: str, ranks: int = 2, restarts: int = 0, meeting: str = "") -> Torchrun:
        """With `meeting`, host and port, it is one of two machines."""
        folder = self._folder / str(len(self._started))
        folder.mkdir()
        self._started.append(Torchrun(folder, arguments, ranks, restarts, meeting))
        return self._started[-1]

    def __call__(self, *arguments: str, ranks: int = 2, restarts: int = 0) -> Ended:
        return self.start(*arguments, ranks=ranks, restarts=restarts).wait()

    def end(self) -> None:
        for each in self._started:
            if each.running:
                each.end()


@pytest.fixture
def torchrun(tmp_path: Path) -> Iterator[Torchruns]:
    """The command `torchrun`. Whatever still runs at the end of a test is killed."""
    folder = tmp_path / "torchrun"
    folder.mkdir()
    commands = Torchruns(folder)
    yield commands
    commands.end()
