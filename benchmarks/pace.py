"""The pace of the real program and of the bare loop, each in a process of its own with the same threads."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.timing import Pace
from dlplay import architectures
from dlplay.engine.events import DurableEvent, Finished, Saved, Stepped
from dlplay.runs.directory import RunDirectory

Onlooker = Callable[[RunDirectory], AbstractContextManager[None]]
"""Something that looks at a run while the context lasts."""

_decoder: msgspec.json.Decoder[DurableEvent] = msgspec.json.Decoder(DurableEvent)


def environment(threads: int) -> dict[str, str]:
    """This process's own, with the tensor library's thread pool held to `threads`."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def bare(architecture: str, steps: int, threads: int) -> Pace:
    """Of `benchmarks/bare_ARCHITECTURE.py` (a hyphen in its name is an underscore there). Raises `subprocess.CalledProcessError`."""
    return script(f"bare_{architecture.replace('-', '_')}", str(steps), str(threads), threads=threads)


def script(name: str, *arguments: str, threads: int) -> Pace:
    """Of `benchmarks/NAME.py`, which prints it last. Raises `subprocess.CalledProcessError`."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, env=environment(threads), check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Pace)


def program(architecture: str, steps: int, threads: int, onlooker: Onlooker | None = None, settings: Mapping[str, Any] = {}) -> Pace:
    """Of `dlplay ARCHITECTURE --headless --json`, from the first training step to the last, by the times of its own events.

    Evaluations and saves come before the first step and after the last one, as in the bare loop there are none.
    """
    with tempfile.TemporaryDirectory() as runs_dir:
        flags = {"steps": steps, "threads": threads, "eval-every": steps, "save-every": steps, "runs-dir": runs_dir, "name": "bench"}
        command = [sys.executable, "-m", "dlplay", architecture, "--headless", "--json", "--device", "cpu"]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        if settings:
            (Path(runs_dir) / "settings.json").write_text(json.dumps(dict(settings)))
            command += ["--set-file", str(Path(runs_dir) / "settings.json")]
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(subprocess.Popen(command, env=environment(threads), stdout=subprocess.PIPE))
            metric = architectures.card(architecture).charts[0].train[0]
            return _follow(process, RunDirectory(Path(runs_dir) / "bench"), metric, onlooker, stack)


def _follow(
    process: subprocess.Popen[bytes], run: RunDirectory, metric: str, onlooker: Onlooker | None, stack: contextlib.ExitStack
) -> Pace:
    meter = psutil.Process(process.pid)
    began, cpu, last = 0.0, 0.0, None
    assert process.stdout is not None
    for line in process.stdout:
        event = _decoder.decode(line)
        if isinstance(event, Saved) and event.step == 0:
            began, cpu = event.time, _cpu(meter)
            if onlooker is not None:
                stack.enter_context(onlooker(run))
        elif isinstance(event, Stepped):
            last, used = event, _cpu(meter) - cpu
        elif isinstance(event, Finished) and last is not None:
            loss = next((value for value in reversed(last.metrics.get(metric, [])) if value is not None), 0.0)
            stack.close()  # a run waits at its end for those who look on
            return Pace(last.step / (last.time - began), used / last.step * 1000, loss, event.steps_per_second)
    raise RuntimeError(f"{run.name} ended without a finished event, exit status {process.wait()}")


def _cpu(meter: psutil.Process) -> float:
    times = meter.cpu_times()
    return float(times.user + times.system)
