"""A worker: it asks for trials, starts their runs, follows them, prunes, and tells Optuna how they ended."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import optuna
from optuna.trial import FrozenTrial, TrialState

from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.experiments.pool import Interrupted, devices, least_used
from dlplay.experiments.sweep.locks import held
from dlplay.experiments.sweep.space import points, stored
from dlplay.experiments.sweep.spec import SweepError
from dlplay.experiments.sweep.storage import Backend
from dlplay.runs import directory, launch
from dlplay.runs.client import RunError
from dlplay.runs.console import format_number
from dlplay.runs.directory import RunDirectory
from dlplay.runs.follow import Follower
from dlplay.runs.history import History
from dlplay.runs.launch import Launched
from dlplay.runs.lock import holder

POLL = 0.05
"""Seconds between two looks at the journals."""
IDLE = 1.0
"""Seconds between two questions for a trial, where all of them are in other hands."""
CHECK = 2.0
"""Seconds between two looks whether this worker still has its locks, and whether the sweep is to stop."""
MOST_DEATHS = 5
"""A run whose process dies so often in a row without a further checkpoint is not started again."""
PATIENCE = 60.0
"""Seconds that interrupted runs have to save themselves."""
_USAGE, _HELD, _DISK_FULL = 2, 3, 4
"""Exit statuses of a run's process: its settings or data cannot be used; another process has the run; it found no space to begin."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial ended."""

    run: str
    state: Literal["complete", "pruned", "failed"]
    step: int
    value: float | None
    """Of the sweep's metric: at the end, or where it was pruned."""
    settings: dict[str, Any]
    """Those that were searched."""
    why: str = ""
    """Why it was pruned, or failed."""


STATES: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclasses.dataclass
class _Active:
    """A trial of this worker."""

    trial: optuna.Trial
    run: RunDirectory
    history: History
    follower: Follower
    process: Launched | None = None
    """None before it is started here: then the process of a worker that died may still train the run."""
    reported: set[int] = dataclasses.field(default_factory=set)
    """Steps of the evaluations that Optuna knows."""
    pruned: str = ""
    """Why it is to be pruned, in words."""
    here: bool = False
    """Whether its process was last started on this machine."""
    gpu: str = ""
    """The one of several that its process was told to use."""
    deaths: int = 0
    saved: int | None = None
    """Step of the last checkpoint when its process died last."""


class Worker:
    """Works on up to `jobs` trials at a time. `tell` is called for every trial that ends here; `code` says that the runs may import the
    modules that the settings name."""

    def __init__(self, backend: Backend, runs_dir: Path, *, jobs: int, code: bool, tell: Callable[[Told], None]) -> None:
        self._backend, self._spec, self._study, self._locks = backend, backend.spec, backend.study, backend.locks
        self._runs_dir, self._jobs, self._code, self._tell = runs_dir, jobs, code, tell
        self._card, self._space = self._spec.card, self._spec.space
        self._grid = points(self._space, self._spec.seed) if self._spec.sampler == "grid" else []
        self._gpus = devices(str(self._spec.settings["device"]))
        self._active: list[_Active] = []

    def work(self, came: Sequence[int]) -> None:
        """Until every trial of the sweep has ended, here or elsewhere; until then `came` holds no signal.

        Raises `Interrupted` after one came or somebody stopped the sweep, the runs that trained here saved; `SweepError` where a run is not
        what the sweep made; and `OSError`, such as where the disk is full.
        """
        if self._ended() < self._spec.trials:
            launch.prepare(self._card.name)
        asked = checked = -math.inf
        while not came:
            if time.monotonic() - checked > CHECK:
                self._locks.check()
                if self._backend.stopped:
                    self.interrupt()
                    raise Interrupted("stopped")
                checked = time.monotonic()
            if len(self._active) < self._jobs and time.monotonic() - asked > IDLE:
                if (new := self._ask()) is not None:
                    self._active.append(new)
                    continue
                asked = time.monotonic()
                if not self._active and self._ended() == self._spec.trials:
                    return
            before = len(self._active)
            for active in list(self._active):
                try:
                    self._advance(active)
                except optuna.exceptions.UpdateFinishedTrialError:  # the lock was lost, and another worker has ended it
                    self._drop(active)
            if len(self._active) < before:
                asked = -math.inf
            else:
                time.sleep(POLL)
        self.interrupt()
        raise Interrupted("interrupted")

    def _trials(self) -> Sequence[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)[: self._spec.trials]

    def _ended(self) -> int:
        return sum(trial.state.is_finished() for trial in self._trials())

    # --- asking ---------------------------------------------------------------------------------------------------------------------------

    def _ask(self) -> _Active | None:
        """A trial to work on, whose lock this worker has now; None where there is none."""
        while True:
            with held(self._locks, "ask"):
                trial = self._left_behind() or self._new()
                if trial is None:
                    return None
                values = {dimension.name: dimension.suggest(trial) for dimension in self._space}
            try:
                settings = make(self._card.settings, {**self._spec.settings, **values})
            except SettingsError as error:
                self._end(trial, TrialState.FAIL, why=f"these settings cannot be used: {error}")
                self._locks.release(str(trial.number))
                continue
            return self._begin(trial, to_dict(settings))

    def _left_behind(self) -> optuna.Trial | None:
        """The first trial that has not ended and that no worker has."""
        for trial in self._trials():
            if not trial.state.is_finished() and self._locks.take(str(trial.number)):
                if self._trials()[trial.number].state.is_finished():  # its worker told so meanwhile
                    self._locks.release(str(trial.number))
                    continue
                self._study.sampler = self._sampler(trial.number)
                if trial.state == TrialState.WAITING:  # a person put it in by Optuna's `enqueue_trial`
                    return self._study.ask()
                return optuna.Trial(self._study, trial._trial_id)
        return None

    def _new(self) -> optuna.Trial | None:
        """A new trial, where there are fewer than wanted."""
        number = len(self._trials())
        if number >= self._spec.trials:
            return None
        self._locks.take(str(number))
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        assert trial.number == number, "somebody made a trial without the lock"
        return trial

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = (self._spec.seed * 1_000_003 + number) % 2**32
        if self._spec.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        sampler = optuna.samplers.RandomSampler(seed=seed)
        if not self._grid:
            return sampler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            fixed = {dimension.name: stored(self._grid[number][dimension.name]) for dimension in self._space}
            return optuna.samplers.PartialFixedSampler(fixed, sampler)

    def _begin(self, trial: optuna.Trial, settings: dict[str, Any]) -> _Active:
        """The trial's run, new or as an earlier worker left it."""
        name = self._spec.run_name(trial.number)
        run = RunDirectory(self._runs_dir / name)
        if (run.path / "run.json").is_file():
            spec = directory.find(self._runs_dir, name).spec
            wanted = msgspec.json.decode(msgspec.json.encode(settings))
            if (spec.group, spec.architecture, spec.settings) != (self._spec.name, self._card.name, wanted):
                raise SweepError(
                    f"the run {name} is not the one that the sweep {self._spec.name} made; remove or rename it, and another is made"
                )
        else:
            run = directory.create(self._runs_dir, self._card.name, settings, self._spec.origin, name, group=self._spec.name)
        frozen = self._trials()[trial.number]
        here = frozen.user_attrs.get("machine") == platform.node()
        return _Active(
            trial,
            run,
            History(self._spec.metric, self._spec.better),
            Follower(run.journal_path),
            reported=set(frozen.intermediate_values),
            pruned=frozen.user_attrs.get("pruned", ""),
            here=here,
            gpu=frozen.user_attrs.get("gpu", "") if here else "",
        )

    # --- following ------------------------------------------------------------------------------------------------------------------------

    def _advance(self, active: _Active) -> None:
        """Read on in the run's journal, and do what it calls for."""
        trains = active.process.returncode is None if active.process else holder(active.run.lock_path) is not None
        active.history.add(active.follower.take())
        if active.follower.loading:
            return
        self._report(active)
        finished, failure = active.history.finished, active.history.failure
        if active.pruned:
            self._stop(active.run)
            self._conclude(active, TrialState.PRUNED, active.pruned)
        elif failure is not None:
            words = failure.what + (f": {failure.why}" if failure.why else "")
            self._conclude(active, TrialState.FAIL, f"{words} (step {failure.step:,})")
        elif finished is not None and finished.reason == "stopped":
            self._conclude(active, TrialState.PRUNED, f"it was stopped by hand at step {finished.step:,}")
        elif finished is not None and finished.reason != "interrupted":
            value = finished.metrics.get(self._spec.metric, math.nan)
            if math.isnan(value):
                self._conclude(active, TrialState.FAIL, f"the run measured no {self._spec.metric}")
            else:
                self._conclude(active, TrialState.COMPLETE, value=value)
        elif not trains and active.process is not None:
            self._start_again(active, active.process)
        elif not trains:
            self._start(active)

    def _report(self, active: _Active) -> None:
        """Report the evaluations, until one of them is a reason to prune the trial: that is kept before anything is done about it.

        The one before the first step says nothing of the settings, and is left out.
        """
        series = active.history.held_out.get(self._spec.metric)
        if series is None or active.pruned:
            return
        for step, value in zip(series.x.astype(int).tolist(), series.y.tolist(), strict=True):
            if step == 0 or step in active.reported:
                continue
            active.reported.add(step)
            active.trial.report(value, step)
            if step < (active.history.steps or math.inf) and active.trial.should_prune():
                words = f"{self._spec.metric} {format_number(value)} at step {step:,} was not among the better ones ({self._spec.prune})"
                active.trial.set_user_attr("pruned", words)
                active.pruned = words
                return

    @staticmethod
    def _stop(run: RunDirectory) -> None:
        try:
            launch.stop_run(run)
        except RunError as error:
            raise SweepError(str(error)) from None

    def _start(self, active: _Active) -> None:
        """Start a process that trains the run from its last checkpoint, or from the beginning."""
        arguments = ["resume", active.run.name, "--headless", "--runs-dir", str(self._runs_dir)]
        if self._code:
            arguments.append("--trust-code")
        if self._gpus:
            active.gpu = least_used(self._gpus, [other.gpu for other in self._active if other is not active])
            arguments += ["--device", active.gpu]
            active.trial.set_user_attr("gpu", active.gpu)
        if not active.here:
            active.trial.set_user_attr("machine", platform.node())
            active.here = True
        active.process = launch.launch_blocking(arguments, active.run.log_path)

    def _start_again(self, active: _Active, process: Launched) -> None:
        """Its process has died, or was refused."""
        status, words = process.returncode, process.last_words(1).removeprefix("dlplay: ")
        if status == _HELD:
            active.process = None  # another process trains it, which is followed
            return
        if status == _DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(active.run.path))
        active.deaths = active.deaths + 1 if active.history.saved_step == active.saved else 1
        active.saved = active.history.saved_step
        if status == _USAGE:
            self._conclude(active, TrialState.FAIL, words)
        elif active.deaths >= MOST_DEATHS:
            self._conclude(active, TrialState.FAIL, f"its process died {active.deaths} times (status {status}): {words}")
        else:
            self._start(active)

    def _conclude(self, active: _Active, state: TrialState, why: str = "", value: float | None = None) -> None:
        self._end(active.trial, state, why, value, active.history.step)
        self._drop(active)

    def _drop(self, active: _Active) -> None:
        active.follower.close()
        self._active.remove(active)
        self._locks.release(str(active.trial.number))

    def _end(self, trial: optuna.Trial, state: TrialState, why: str = "", value: float | None = None, step: int = 0) -> None:
        """Tell Optuna, and whoever watches."""
        if why:
            trial.set_user_attr("why", why)
        trial.set_user_attr("step", step)
        self._study.tell(trial, value, state=state, skip_if_finished=True)
        frozen = self._trials()[trial.number]
        self._tell(
            Told(
                run=self._spec.run_name(trial.number),
                state=STATES[frozen.state],
                step=step,
                value=frozen.value,
                settings={dimension.name: msgspec.to_builtins(dimension.value(frozen.params[dimension.name])) for dimension in self._space},
                why=why,
            )
        )

    # --- ending ---------------------------------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Save and end the runs that train on this machine."""
        here = [active for active in self._active if active.here]
        for active in here:
            if active.process is not None and active.process.returncode is None:
                launch.terminate(active.process)
            else:
                launch.interrupt_run(active.run)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(holder(active.run.lock_path) for active in here):
            time.sleep(POLL)
