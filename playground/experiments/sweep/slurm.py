"""Workers of a sweep as an array of Slurm jobs, through submitit."""

from __future__ import annotations

import difflib
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError
from dlplay.experiments.sweep.spec import SweepFolder

PROGRAM = Path(__file__).absolute().parents[2] / "__main__.py"
OURS = ("job_name", "array_parallelism", "setup", "teardown", "srun_args", "additional_parameters", "map_count", "command", "folder")
"""Parameters of submitit that are not a person's to give here."""


def parse_options(text: str) -> dict[str, Any]:
    """`partition=gpu,gres=gpu:1,time=60` as submitit's parameters; the time is in minutes.

    Raises `SettingsError`, also where there is no submitit or no Slurm."""
    known = _parameters()
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not value or not re.fullmatch(r"[\w:.\-+/@%*\[\] ]+", value):
            raise SettingsError(f"--slurm {part[:60]!r}: write names and values, as in partition=gpu,gres=gpu:1,time=60")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise SettingsError(f"--slurm {name[:60]}: there is no such option; {hint}")
        found[name] = int(value) if value.isdecimal() else value
    if not isinstance(found.get("time"), int):
        raise SettingsError("--slurm: say for how many minutes a worker may have its place, such as time=60")
    if shutil.which("srun") is None:
        raise SettingsError("--on slurm: there is no srun on this machine; submit from a login node of the cluster")
    return found


def _parameters() -> list[str]:
    return sorted(set(_executor_class()._valid_parameters()) - set(OURS))


def _executor_class() -> Any:
    try:
        from submitit.slurm.slurm import SlurmExecutor
    except ImportError:
        raise SettingsError("--on slurm needs the package submitit: pip install 'dlplay[slurm]'") from None
    return SlurmExecutor


def cancel_waiting(folder: SweepFolder) -> None:
    """Cancel the sweep's workers that Slurm has not started yet."""
    jobs = sorted({path.name.partition("_")[0] for path in (folder.path / "slurm").glob("*_submitted.pkl")})
    if jobs and shutil.which("scancel"):
        subprocess.run(["scancel", "--state=PENDING", *jobs], check=False, capture_output=True)


def submit(
    folder: SweepFolder, workers: int, options: dict[str, Any], arguments: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Submit so many workers, each one `dlplay sweep work NAME ARGUMENTS`; returns the jobs' ids. Slurm hands the environment on, and it is
    written to no file of ours. Raises `DataError` when Slurm refuses."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.helpers import CommandFunction

    logging.getLogger("submitit").setLevel(logging.ERROR)
    executor = _executor_class()(folder.path / "slurm")
    executor.update_parameters(job_name=f"dlplay-{folder.name}", **{"signal_delay_s": 90, **options})
    command = [
        sys.executable,
        "-P",
        str(PROGRAM),
        "sweep",
        "work",
        folder.name,
        "--runs-dir",
        str(folder.runs_dir),
        "--jobs",
        "1",
        *arguments,
    ]
    work = CommandFunction(command, verbose=False)
    try:
        os.environ |= environment
        with executor.batch():
            jobs = [executor.submit(work) for _ in range(workers)]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        words = " ".join(str(error).split())
        raise DataError(
            f"Slurm refused the workers: {words[-300:]}; correct --slurm, then dlplay sweep work {folder.name} --on slurm"
        ) from None
    finally:
        for name in environment:
            os.environ.pop(name, None)
    return [str(job.job_id) for job in jobs]
