"""Runs trained side by side, a few at a time, each in a process of its own that outlives this one."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType

from dlplay.engine.settings import SettingsError
from dlplay.runs import launch
from dlplay.runs.client import RunError
from dlplay.runs.directory import RunDirectory, recorded, summary
from dlplay.runs.launch import Launched

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0
"""Between two looks at the journals of those that train."""

Ended = Callable[[RunDirectory, int], None]
"""Called with a run and the exit status of its process."""


class Interrupted(KeyboardInterrupt):
    """A signal came: the runs that were training have been saved and ended."""


def train_all(runs: Sequence[RunDirectory], flags: Sequence[str], jobs: int, ended: Ended, gpus: Sequence[str] = ()) -> None:
    """Train each run to its end, at most `jobs` at a time, each on that of the `gpus` on which the fewest of them train; `flags` go with
    `dlplay resume RUN --headless`.

    SIGINT and SIGTERM save and end those that are training, and raise `Interrupted`. Raises `OSError` when no process can be started.
    """
    waiting, training = deque(runs), dict[RunDirectory, Launched]()
    placed: dict[RunDirectory, str] = {}
    sizes: dict[RunDirectory, int] = {}
    """Of the journals before these processes wrote to them."""
    look_at = 0.0
    with signals() as came:
        while (waiting or training) and not came:
            while waiting and len(training) < jobs:
                run = waiting.popleft()
                sizes[run] = recorded(run)
                arguments = ["resume", run.name, "--headless", "--runs-dir", str(run.path.parent), *flags]
                if gpus:
                    placed[run] = least_used(gpus, [placed[other] for other in training])
                    arguments += ["--device", placed[run]]
                training[run] = launch.launch_blocking(arguments, run.log_path)
            now = time.monotonic()
            for run, process in list(training.items()):
                status = process.returncode
                if status is None and now >= look_at and recorded(run) > sizes[run] and summary(run).state == "finished":
                    status = 0  # it answers a screen that is attached to it, and trains no more
                if status is not None:
                    del training[run]
                    ended(run, status)
            if now >= look_at:
                look_at = now + LOOK_SECONDS
            time.sleep(POLL_SECONDS)
        if came:
            _stop(training)
            raise Interrupted


def _stop(training: dict[RunDirectory, Launched]) -> None:
    for process in training.values():  # all at once: each saves while the others do
        launch.terminate(process)
    for run, process in training.items():
        while process.returncode is None:
            try:
                launch.stop_run(run)
            except (RunError, OSError):
                break
            time.sleep(POLL_SECONDS)


@contextmanager
def signals() -> Iterator[Sequence[int]]:
    """The signals that came, of those that ask a process to end: within it they do nothing else."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    kept = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def at_once(threads: int, device: str, jobs: int = 0, per_gpu: int = 0) -> int:
    """How many runs train side by side: `jobs` or, where that is 0, `per_gpu` (0: one) on each GPU that they use, else one for every
    `threads` cores. Raises `SettingsError` where they use no GPU and `per_gpu` is given, or `jobs` are more than it allows."""
    gpus = len(devices(device)) or int(device.startswith("cuda:"))
    if per_gpu and not gpus:
        raise SettingsError(f"--per-gpu {per_gpu}: with --device {device} these runs take no GPU here; leave it out", "per_gpu")
    if per_gpu and jobs > per_gpu * gpus:
        most = f"{per_gpu * gpus} at a time on {gpus} GPU{'s' * (gpus > 1)}"
        raise SettingsError(f"--jobs {jobs}: --per-gpu {per_gpu} allows {most}; leave one of them out", "jobs")
    if jobs or gpus:
        return jobs or gpus * (per_gpu or 1)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores // threads)


def least_used(gpus: Sequence[str], used: Sequence[str]) -> str:
    """The GPU that stands in `used` the fewest times; of several the first."""
    return min(gpus, key=used.count)


def devices(device: str) -> list[str]:
    """The GPUs that runs with `--device DEVICE` take in turn, found without torch; empty when they stay where they are told to be."""
    if device not in ("auto", "cuda") or metadata.version("torch").endswith("+cpu"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"])
    else:
        folder = Path("/proc/driver/nvidia/gpus")
        count = len(list(folder.iterdir())) if folder.is_dir() else 0
    return [f"cuda:{number}" for number in range(count)]
