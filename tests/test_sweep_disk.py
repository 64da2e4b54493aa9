"""A sweep on a disk that is full again and again: it goes on by itself, and every trial is there once, with the metric of its run."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dlplay.experiments.sweep import outage
from dlplay.experiments.sweep import worker as worker_module
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from tests.conftest import ROOT, wait_until
from tests.sweeps import ForkedHere, check_whole, launch_with, sweep
from tests.test_checkpoints import small_disk
from tests.test_sweep_kills import written

TRIALS, STEPS, TIMES = 4, 150, 8
FULL = "s: the disk is full; waiting until there is space, as its runs do"


@pytest.mark.slow
def test_a_sweep_goes_on_by_itself_once_there_is_space(tmp_path: Path) -> None:
    """In a process that may mount a disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    front = small_disk(disk, "40m")
    if not front:
        return  # nobody may mount here; a refusing disk is tested everywhere, in test_sweep.py
    alone = ["unshare", "-Urpf", "--kill-child"]  # no process outlives the test
    command = [*alone, *front, sys.executable, "-m", "tests.test_sweep_disk", str(disk), str(tmp_path / "said.txt")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert (ended.returncode, ended.stdout) == (0, "whole\n"), ended.stderr + ended.stdout


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    fd, size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1 << 16
    while size:
        try:
            os.write(fd, bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
    os.close(fd)


def train(folder: Path, said: Path) -> int:
    """A worker whose runs train for real, as a process of its own; returns its number."""
    if worker := os.fork():
        return worker
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    launch_with(ForkedHere)
    worker_module.IDLE = outage.RETRY = 0.05
    outage.TELL = 0
    status = sweep(folder, "--trials", str(TRIALS), jobs=2, steps=STEPS)
    sys.stdout.flush()
    os._exit(status)


def main(disk: Path, said: Path) -> None:
    """Fill the disk at random, until the worker or all that trains waits, and make room."""
    import dlplay.runs.process  # noqa: F401  # so that runs are forked with torch

    dice, folder, filler = random.Random(0), disk / "runs", disk / "filler"
    said.touch()
    worker = train(folder, said)
    status: list[int] = []

    def ended() -> bool:
        if not status:
            pid, found = os.waitpid(worker, os.WNOHANG)
            status.extend([os.waitstatus_to_exitcode(found)] if pid else [])
        return bool(status)

    def waits() -> bool:
        """One that could not write its process's number says nothing of itself either."""
        runs = [directory.summary(RunDirectory(folder / name)) for name in directory.names(folder)]
        held = [run for run in runs if run.held_by is not None]
        return said.read_text().count(FULL) > before or (bool(held) and all(run.state == "waiting" or not run.held_by for run in held))

    times = 0
    while not ended():
        goal = written(folder) + dice.randrange(STEPS * 60)
        wait_until(lambda: ended() or written(folder) >= goal, "it trains")  # noqa: B023
        if times < TIMES and not ended():
            before = said.read_text().count(FULL)
            fill(filler)
            times += 1
            wait_until(lambda: ended() or waits(), "it waits for space")
            filler.unlink()
    assert (status, times) == ([0], TIMES), (status, times, said.read_text())
    assert "failed" not in said.read_text()
    check_whole(folder, TRIALS)
    print("whole")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
