"""A sweep whose workers and runs are killed at random: afterwards every trial is there once, complete, with the metric of its run."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlplay.experiments.sweep import worker as worker_module
from dlplay.runs import directory
from dlplay.runs.journal import JournalReader
from dlplay.runs.lock import holder
from tests.conftest import Dlplay, wait_until
from tests.sweeps import ForkedHere, check_whole, launch_with, resume, sweep

TRIALS, STEPS, KILLS = 8, 1500, 10


def train(folder: str) -> int:
    """A worker whose runs train for real, as a process of its own."""
    launch_with(ForkedHere)
    worker_module.IDLE = 0.05
    found = Path(folder)
    begun = (found / ".sweeps" / "s" / "sweep.json").exists()
    return resume(found, jobs=2) if begun else sweep(found, "--trials", str(TRIALS), jobs=2, steps=STEPS)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The runs. None of them outlives the test."""
    yield tmp_path / "runs"
    for pid in training(tmp_path / "runs"):
        os.kill(pid, signal.SIGKILL)


def training(folder: Path) -> list[int]:
    """The processes of all runs that train."""
    held = [holder(directory.RunDirectory(folder / name).lock_path) for name in directory.names(folder)]
    return [found.pid for found in held if found is not None and found.pid]


def written(folder: Path) -> int:
    """Bytes of all journals, by which the sweep's progress is told."""
    return sum(path.stat().st_size for path in [*folder.glob("*/events.jsonl"), *folder.glob(".sweeps/*/optuna.log")])


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_whatever_is_killed(folder: Path, dlplay: Dlplay) -> None:
    dice = random.Random(0)
    workers = [dlplay.start(str(folder), calling=train)]
    wait_until(lambda: (folder / ".sweeps" / "s").exists(), "the sweep is there")
    workers.append(dlplay.start(str(folder), calling=train))
    killed: list[str] = []
    while len(killed) < KILLS and all(worker.running for worker in workers):
        goal = written(folder) + dice.randrange(20_000)
        wait_until(lambda: written(folder) >= goal or not any(worker.running for worker in workers), "progress")  # noqa: B023
        runs = training(folder)
        if dice.random() < 0.4 and runs:
            os.kill(dice.choice(runs), signal.SIGKILL)
            killed.append("run")
        else:
            number = dice.randrange(len(workers))
            workers[number].send(signal.SIGKILL)
            wait_until(lambda: not workers[number].running, "it is gone")  # noqa: B023
            workers[number] = dlplay.start(str(folder), calling=train)
            killed.append("worker")
    assert len(killed) == KILLS, "it was over too soon to be killed often"
    assert set(killed) == {"run", "worker"}
    ended = [worker.wait() for worker in workers]
    assert [end.status for end in ended] == [0, 0], ended
    check_whole(folder, TRIALS)
    for name in directory.names(folder):
        assert JournalReader(directory.find(folder, name).journal_path).read()[-1].step == STEPS
