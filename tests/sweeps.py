"""Sweeps in tests: runs that cost nothing, since their whole journal is written at once, or that are forked; what must hold at the end."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dlplay import cli
from dlplay.engine.events import Evaluated, Failed, Finished, Saved, Started
from dlplay.experiments.sweep.report import Report
from dlplay.experiments.sweep.spec import find
from dlplay.experiments.sweep.storage import opened
from dlplay.runs import directory, launch
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import Journal, history
from tests.conftest import Command, Dlplay

ARCHITECTURE, METRIC = "autoencoder", "test_mse"
EVERY, STEPS = 10, 40
SMALL = ["--hidden", "8", "--batch", "8", "--eval-every", str(EVERY), "--save-every", str(EVERY), "--device", "cpu"]
SEARCH = ["--search", "lr=1e-4..1e-1:log", "--search", "latent=2..5"]

Curve = Callable[[dict[str, Any], int], float]
"""What a run with these settings measures at a step."""


def bowl(settings: dict[str, Any], step: int) -> float:
    """Best at lr 0.01 and latent 4, and better from step to step."""
    return (math.log10(settings["lr"]) + 2) ** 2 + 0.1 * (settings["latent"] - 4) ** 2 + 1 / step


class Ended:
    """A process that has ended."""

    pid, returncode = 0, 0

    def last_words(self, lines: int = 20) -> str:
        return ""


class Killed(Ended):
    """A process that was killed."""

    returncode = -9


class Death(BaseException):
    """In the place of SIGKILL: nothing catches it. What the kernel closes then is closed all the same."""


class Scripted:
    """In the place of `launch_blocking`: writes the journal of a whole run at once."""

    def __init__(self, curve: Curve = bowl) -> None:
        self.curve = curve
        self.metric = METRIC
        self.launched: list[str] = []
        """The runs, in their order."""
        self.dies: Callable[[], bool] = lambda: False
        """Whether the worker dies where it is about to launch a run."""
        self.deaths_before_the_end = 0
        """How often a run's process is killed, each time one checkpoint further on."""
        self.reason = "steps"
        """Why a run ends."""
        self.failure = ""
        """What went wrong in it."""

    def __call__(self, arguments: Sequence[str], log_path: Path) -> Ended:
        verb, name, headless, flag, folder, *_ = arguments
        assert (verb, headless, flag) == ("resume", "--headless", "--runs-dir")
        self.launched.append(name)
        if self.dies():
            raise Death
        run = directory.find(Path(folder), name)
        settings, steps = run.spec.settings, run.spec.settings["steps"]
        deaths = self.deaths_before_the_end
        if deaths:
            self.deaths_before_the_end -= 1
            steps -= deaths * EVERY
        with Journal(run.journal_path) as journal:
            journal.append(
                Started(
                    architecture=run.spec.architecture,
                    name=name,
                    settings=settings,
                    device="cpu",
                    device_name="CPU",
                    threads=1,
                    parameters=1,
                    data="none",
                )
            )
            for step in range(EVERY, steps + 1, EVERY):
                journal.append(Saved(step=step, checkpoint=f"step-{step}", bytes=1))
                journal.append(Evaluated(step=step, metrics={self.metric: self.curve(settings, step)}))
            if deaths:
                return Killed()
            if self.failure:
                journal.append(Failed(step=steps, what=self.failure, why="a test says so"))
            else:
                metrics = {self.metric: self.curve(settings, steps)}
                journal.append(Finished(step=steps, reason=self.reason, metrics=metrics, baselines={}, steps_per_second=1.0, seconds=1.0))
        return Ended()


class Forked:
    """A run's process, forked by the tests' server, as `Launched` describes it."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.pid = command.pid

    @property
    def returncode(self) -> int | None:
        return None if self._command.running else self._command.wait().status

    def last_words(self, lines: int = 20) -> str:
        ended = self._command.wait()
        return "\n".join((ended.out + ended.err).strip().splitlines()[-lines:])


class ForkedHere:
    """A run's process, forked by this one, which has imported torch: for workers that are processes of their own."""

    def __init__(self, arguments: Sequence[str], log_path: Path) -> None:
        self._status: int | None = None
        self._log_path = log_path
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                os.closerange(3, 1024)
                log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                status = cli.run(arguments)
                sys.stdout.flush()
                os._exit(status)
            finally:
                os._exit(70)

    @property
    def returncode(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def last_words(self, lines: int = 20) -> str:
        return "\n".join(self._log_path.read_text().strip().splitlines()[-lines:])


def fork_runs(dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are trained for real, and start in no time."""
    launch_with(lambda arguments, log_path: Forked(dlplay.start(*arguments)), monkeypatch)


def launch_with(start: Callable[[Sequence[str], Path], Any], monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """Runs are started so, and no launcher is; without a `monkeypatch` for the rest of this process."""
    for name, value in (("launch_blocking", start), ("prepare", lambda architecture: None)):
        if monkeypatch is None:
            setattr(launch, name, value)
        else:
            monkeypatch.setattr(launch, name, value)


def sweep(folder: Path, *more: str, name: str = "s", search: Sequence[str] = SEARCH, steps: int = STEPS, jobs: int = 1) -> int:
    """Begin a sweep of small runs, and work on it."""
    numbers = ["--steps", str(steps), "--jobs", str(jobs)]
    return cli.run(["sweep", ARCHITECTURE, *search, *SMALL, *numbers, "--name", name, "--runs-dir", str(folder), *more])


def resume(folder: Path, *more: str, name: str = "s", jobs: int = 1) -> int:
    """Go on with it."""
    return cli.run(["sweep", "resume", name, "--jobs", str(jobs), "--runs-dir", str(folder), *more])


def show(folder: Path, capsys: pytest.CaptureFixture[str], name: str = "s") -> Report:
    """`dlplay sweep show NAME --json`."""
    capsys.readouterr()
    assert cli.run(["sweep", "show", name, "--json", "--runs-dir", str(folder)]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=Report)


def finished(run: RunDirectory) -> Finished:
    """How the run ended."""
    return next(event for event in reversed(history(run.journal_path)) if isinstance(event, Finished))


def check_whole(folder: Path, trials: int, name: str = "s", url: str = "") -> None:
    """Exactly so many complete trials, each with a run of its own, whose settings and metric are the trial's."""
    spec = find(folder, name).spec
    with opened(find(folder, name), spec, url) as backend:
        found = backend.study.get_trials(deepcopy=False)
    assert [trial.number for trial in found] == list(range(trials))
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    assert directory.names(folder) == [f"{name}-{number + 1}" for number in range(trials)]
    for trial in found:
        run = directory.find(folder, f"{name}-{trial.number + 1}")
        assert run.spec.group == name
        assert {key: run.spec.settings[key] for key in trial.params} == trial.params
        assert finished(run).metrics[METRIC] == trial.value
        assert trial.intermediate_values == {
            event.step: event.metrics[METRIC] for event in history(run.journal_path) if isinstance(event, Evaluated) and event.step
        }
