"""`dlplay sweep`: searches, and what is asked of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dlplay.commands.given import absolute, check_until, path, settings_given, typed
from dlplay.commands.parameters import (
    AsJson,
    RunsDir,
    Storage,
    SweepName,
    TrustCode,
)
from dlplay.engine.card import Card
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.runs import directory
from dlplay.runs.directory import RunNameError


@contextlib.contextmanager
def _needs_optuna() -> Iterator[None]:
    """Raises `SettingsError` where a module of the extra `sweep` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "dlplay":
            raise
        raise SettingsError(f"a sweep needs the package {package}: pip install 'dlplay[sweep]'") from None


def sweep(card: Card, given: dict[str, Any]) -> int:
    """`dlplay sweep ARCH`: search over its settings."""
    runs_dir = directory.default_runs_dir(path(given.get("runs_dir")))
    settings = make(card.settings, settings_given(card, given, runs_dir))
    check_until(card.of(to_dict(settings)), settings)
    with _needs_optuna():
        from dlplay.experiments.sweep import commands
        from dlplay.experiments.sweep.spec import planned, whole

    way = commands.how(
        settings.jobs,
        given.get("storage"),
        given.get("on"),
        given.get("slurm"),
        per_gpu=settings.per_gpu,
        as_json=bool(given.get("json")),
    )
    spec = planned(
        card,
        settings,
        [*typed(card, given)],
        absolute(str(given.get("from", ""))),
        runs_dir,
        search=given.get("search", []),
        name=given.get("name"),
        trials=whole("trials", given["trials"]) if "trials" in given else None,
        sampler=given.get("sampler", "tpe"),
        prune=given.get("prune", "none"),
        metric=given.get("metric"),
        database=bool(way.url),
    )
    return commands.start(spec, runs_dir, way)


def work_on(
    name: SweepName,
    /,
    *,
    jobs: Annotated[
        int,
        Parameter(name="--jobs", help="Trials at a time, with --on slurm workers; 0: as many as there are GPUs or cores."),
    ] = 0,
    per_gpu: Annotated[int, Parameter(name="--per-gpu", help="Trials at a time on each GPU; 0: one, or as many as --jobs takes.")] = 0,
    storage: Storage = None,
    on: Annotated[Literal["slurm"] | None, Parameter(name="--on", help="Submit the workers to Slurm instead of working here.")] = None,
    slurm: Annotated[
        str | None, Parameter(name="--slurm", help="What Slurm is told, such as partition=gpu,gres=gpu:1,time=60 (minutes).")
    ] = None,
    trials: Annotated[int | None, Parameter(name="--trials", help="From now on so many trials in all, more than before.")] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Go on with a sweep, after whatever ended its workers, or as a further worker beside them, from any machine."""
    folder = directory.default_runs_dir(runs_dir)
    with _needs_optuna():
        from dlplay.experiments.sweep import commands

    way = commands.how(jobs, storage, on, slurm, per_gpu=per_gpu, as_json=as_json)
    return commands.work(name, folder, way, trials=trials, trust_code=trust_code)


def stop_sweep(name: SweepName, /, *, storage: Storage = None, as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """Stop a sweep: its workers end, wherever they are, and its runs are saved."""
    folder = directory.default_runs_dir(runs_dir)
    with _needs_optuna():
        from dlplay.experiments.sweep import commands

    return commands.stop(name, folder, commands.how(0, storage, as_json=as_json))


def remove_trials(sweeps: Mapping[str, float | None], storage: str | None) -> list[str]:
    """Delete the trials of sweeps from their database; of each it is given when it began, or None where this machine does not know it.

    Returns what to tell: trials of the first kind stay where the database refuses. Raises `RunNameError` where there is none of the second
    kind, `DataError` where the database refuses, and for both `SweepError` while a worker has a trial, and `SettingsError`.
    """
    with _needs_optuna():
        from dlplay.experiments.sweep.storage import DatabaseRefuses, address, delete
    url, told = address(storage), []
    for name, begun in sweeps.items():
        try:
            found = delete(name, url, begun)
        except DatabaseRefuses as refused:
            if begun is None:
                raise
            way = f"dlplay rm {name} --storage postgresql://USER@HOST/DATABASE"
            told.append(f"the trials of {name} stay in their database: {refused.why}; to delete them there: {way}")
            continue
        if found:
            told.append(f"removed the trials of {name} from the database")
        elif begun is None:
            raise RunNameError(f"there is no run, group or sweep {name!r}, neither here nor in the database")
    return told


def show_sweep(name: SweepName, /, *, storage: Storage = None, as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """Show what a sweep has found: its trials, the best settings as a command, and which settings matter."""
    folder = directory.default_runs_dir(runs_dir)
    with _needs_optuna():
        from dlplay.experiments.sweep import commands

    return commands.show_sweep(name, folder, commands.how(0, storage, as_json=as_json))


def list_sweeps(*, as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """List the sweeps."""
    folder = directory.default_runs_dir(runs_dir)
    with _needs_optuna():
        from dlplay.experiments.sweep import commands

    return commands.list_sweeps(folder, as_json)
