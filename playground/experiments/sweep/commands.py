"""`dlplay sweep …`: what its commands do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from dlplay.engine.settings import Settings, SettingsError, code, field, parse, show
from dlplay.experiments.pool import at_once
from dlplay.experiments.sweep import outage
from dlplay.experiments.sweep.locks import is_free
from dlplay.experiments.sweep.report import print_report, report
from dlplay.experiments.sweep.slurm import cancel_waiting, parse_options, submit
from dlplay.experiments.sweep.spec import (
    VARIABLE,
    SweepError,
    SweepFolder,
    SweepSpec,
    check_choice,
    find,
    names,
    staged,
)
from dlplay.experiments.sweep.storage import Backend, address, create, described, opened
from dlplay.experiments.sweep.worker import Told
from dlplay.runs import launch
from dlplay.runs.console import format_number, print_line
from dlplay.runs.directory import RunDirectory, RunNameError, sweeps_dir
from dlplay.runs.lock import holder
from dlplay.runs.trust import agreed

PATIENCE, POLL = 90.0, 0.1
"""Seconds that workers and runs have to end, and between two looks whether they have."""


@dataclasses.dataclass(frozen=True)
class How:
    """How workers are started, here or elsewhere."""

    jobs: int = 0
    """Trials at a time of a worker, 0: as many as there are GPUs or cores; with Slurm the number of workers, one trial each."""
    per_gpu: int = 0
    """Trials at a time on each GPU, 0: one, or as many as `jobs` takes."""
    url: str = dataclasses.field(default="", repr=False)
    """The database's address for SQLAlchemy; empty: none was given."""
    slurm: Mapping[str, Any] | None = None
    """What Slurm is told; None: the worker is this process."""
    as_json: bool = False


def how(jobs: int, storage: str | None, on: str | None = None, slurm: str | None = None, *, per_gpu: int = 0, as_json: bool) -> How:
    """From the flags. Raises `SettingsError`."""
    parse(field(Settings, "jobs"), jobs)
    parse(field(Settings, "per_gpu"), per_gpu)
    if per_gpu and on == "slurm":
        raise SettingsError(f"--per-gpu {per_gpu}: with --on slurm each worker has one trial at a time; leave it out", "per_gpu")
    check_choice("on", on, Literal["slurm"])
    if slurm is not None and on is None:
        raise SettingsError("--slurm needs --on slurm")
    return How(jobs, per_gpu, address(storage), parse_options(slurm or "") if on == "slurm" else None, as_json)


def start(spec: SweepSpec, runs_dir: Path, way: How) -> int:
    """Begin a sweep, as it is `planned`, and work on it. Returns the exit status. Raises `SettingsError`, `RunNameError`, `SweepError`,
    `DataError`, and `KeyboardInterrupt`."""
    _jobs(spec, way)  # what it refuses is told before there is a sweep
    with staged(runs_dir, spec) as draft:
        create(draft, spec, way.url)
    if not way.as_json:
        amount = "1 trial" if spec.trials == 1 else f"{spec.trials} trials"
        print_line(f"sweep {spec.name}: {amount} for the best {spec.metric} ({spec.better}); its runs are {spec.name}-1, {spec.name}-2 …")
    return _work(find(runs_dir, spec.name), way, code=bool(code(spec.card.settings, spec.settings)))


def work(name: str, runs_dir: Path, way: How, *, trials: int | None, trust_code: bool) -> int:
    """Go on with a sweep, as its only worker or beside others, to so many trials; returns the exit status. One that others began is taken
    from the database.

    Raises `RunNameError`, `SweepError`, `SettingsError`, `DataError`, and `KeyboardInterrupt`."""
    folder = _joined(name, runs_dir, way.url)
    spec = folder.spec
    _jobs(spec, way)
    named = agreed(spec.card, spec.settings, f"the sweep {name}", trusted=trust_code)
    if trials is not None:
        with opened(folder, spec, way.url) as backend:
            backend.extend(trials)
    return _work(folder, way, code=bool(named))


def stop(name: str, runs_dir: Path, way: How) -> int:
    """End a sweep's workers, on every machine, and its runs, once these are saved; `work` goes on with it. Raises as that does."""
    folder = _joined(name, runs_dir, way.url)
    cancel_waiting(folder)
    with opened(folder, folder.spec, way.url) as backend:
        backend.stop()
        _wait(lambda: not any(True for _ in _in_work(backend)), f"a worker of {name}")
        trials = backend.study.get_trials(deepcopy=False)[: backend.spec.trials]
    begun = [trial for trial in trials if not trial.state.is_finished()]
    left = [
        RunDirectory(runs_dir / backend.spec.run_name(trial.number))
        for trial in begun
        if trial.user_attrs.get("machine") == platform.node()
    ]
    for run in left:  # those whose worker had died
        launch.interrupt_run(run)
    _wait(lambda: not any(holder(run.lock_path) for run in left), f"a run of {name}")
    ended, wanted = len(trials) - len(begun), backend.spec.trials
    if way.as_json:
        print_line(json.dumps({"name": name, "ended": ended, "begun": len(begun), "trials": wanted}))
    elif ended == wanted:
        print_line(f"{name} has ended, with {wanted} trials; dlplay sweep resume {name} --trials {2 * wanted} adds as many")
    else:
        saved = f", {len(begun)} started and saved" if begun else ""
        print_line(f"stopped {name}: {ended} of {wanted} trials have ended{saved}; dlplay sweep resume {name} goes on")
    return 0


def _in_work(backend: Backend) -> Iterator[int]:
    """The trials that a worker has."""
    for trial in backend.study.get_trials(deepcopy=False):
        if not trial.state.is_finished() and not is_free(backend.locks, str(trial.number)):
            yield trial.number


def _wait(done: Callable[[], bool], who: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SweepError(f"{who} did not end within {PATIENCE:g} s; look for its process, and try again")
        time.sleep(POLL)


def show_sweep(name: str, runs_dir: Path, way: How) -> int:
    """Print what a sweep has found by now. Raises as `work` does."""
    folder = _joined(name, runs_dir, way.url)
    with opened(folder, folder.spec, way.url) as backend:
        print_report(report(backend), way.as_json)
    return 0


def list_sweeps(runs_dir: Path, as_json: bool) -> int:
    """Print one line for each sweep whose state is on this machine."""
    rows = []
    for name in names(runs_dir):
        try:
            rows.append(_line(find(runs_dir, name)))
        except (ValueError, OSError) as error:
            rows.append({"name": name, "problem": str(error)})
    for row in rows:
        if as_json:
            print_line(json.dumps(row))
        elif "problem" in row:
            print_line(f"{row['name']}: {row['problem']}")
        else:
            ended = "in a database" if row["ended"] is None else f"{row['ended']} of {row['trials']} trials"
            best = f", best {row['metric']} {format_number(row['best'])} ({row['run']})" if row["run"] else ""
            print_line(f"{row['name']}: {row['architecture']}, {ended}{best}")
    if not rows and not as_json:
        print_line("no sweeps yet; start one with dlplay sweep ARCH --search lr=1e-4..1e-1:log")
    return 0


def _line(folder: SweepFolder) -> dict[str, Any]:
    spec = folder.spec
    row = {"name": spec.name, "architecture": spec.architecture, "metric": spec.metric, "trials": spec.trials, "created": spec.created}
    if spec.database:
        return {**row, "ended": None, "best": None, "run": ""}
    with opened(folder, spec, "") as backend:
        row["trials"] = backend.spec.trials
        trials = backend.study.get_trials(deepcopy=False)
        best = None
        with contextlib.suppress(ValueError):  # none is complete yet
            best = backend.study.best_trial
    ended = sum(trial.state.is_finished() for trial in trials)
    return {**row, "ended": ended, "best": best.value if best else None, "run": spec.run_name(best.number) if best else ""}


def _joined(name: str, runs_dir: Path, url: str) -> SweepFolder:
    """The sweep's folder here, written anew from the database where there is none yet."""
    try:
        return find(runs_dir, name)
    except RunNameError:
        if not url or (sweeps_dir(runs_dir) / name).exists():
            raise
    spec = described(name, url)
    with contextlib.suppress(RunNameError), staged(runs_dir, spec):  # another worker may have written it meanwhile
        pass
    return find(runs_dir, name)


def _jobs(spec: SweepSpec, way: How) -> int:
    """Trials at a time of a worker on this machine. Raises `SettingsError`."""
    threads, device = int(spec.settings["threads"]), str(spec.settings["device"])
    return 1 if way.slurm is not None else at_once(threads, device, way.jobs, way.per_gpu)


def _work(folder: SweepFolder, way: How, *, code: bool) -> int:
    spec = folder.spec
    if way.slurm is not None:
        with opened(folder, spec, way.url):  # whatever is wrong with it is told here, not in a job's log
            pass
        environment = {VARIABLE: way.url} if way.url else {}
        submitted = submit(folder, way.jobs or 1, dict(way.slurm), ["--trust-code"] if code else [], environment)
        if way.as_json:
            print_line(json.dumps({"jobs": submitted}))
        else:
            print_line(f"submitted {len(submitted)} workers to Slurm: {', '.join(submitted)}")
            print_line(f"dlplay sweep show {spec.name} tells how far they are; squeue and scancel are Slurm's own")
        return 0
    printer = _Printer(spec, way.as_json)
    try:
        found = outage.work(folder, way.url, jobs=_jobs(spec, way), code=code, tell=printer.tell)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{str(error) or 'interrupted'}; dlplay sweep resume {spec.name} goes on") from None
    if not way.as_json:
        print_line("")
    print_report(found, way.as_json)
    return 0 if found.best else 1


class _Printer:
    """Prints a line for each trial that ends here."""

    def __init__(self, spec: SweepSpec, as_json: bool) -> None:
        self._spec, self._as_json = spec, as_json

    def tell(self, told: Told) -> None:
        if self._as_json:
            print_line(msgspec.json.encode(told).decode())
            return
        value = "" if told.value is None or math.isnan(told.value) else f"  {self._spec.metric} {format_number(told.value)}"
        settings = "  ".join(f"{name} {show(v) if not isinstance(v, float) else f'{v:.4g}'}" for name, v in told.settings.items())
        print_line(f"{told.run} {told.state}{value}  {settings}" + (f"  {told.why}" if told.why else ""))
