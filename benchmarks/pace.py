"""The pace of the real program and of the bare loop, each in a process of its own with the same threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import psutil

from benchmarks.timing import Pace
from playground.engine.events import DurableEvent, Finished, Saved, Stepped
from playground.runs.directory import RunDirectory

Onlooker = Callable[[RunDirectory], AbstractContextManager[None]]
"""Something that looks at a run while the context lasts."""

_decoder: msgspec.json.Decoder[DurableEvent] = msgspec.json.Decoder(DurableEvent)


def environment(threads: int) -> dict[str, str]:
    """This process's own, with the tensor library's thread pool held to `threads`."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def bare(architecture: str, steps: int, threads: int) -> Pace:
    """Of `benchmarks/bare_ARCHITECTURE.py`. Raises `subprocess.CalledProcessError`."""
    command = [sys.executable, "-m", f"benchmarks.bare_{architecture}", str(steps), str(threads)]
    done = subprocess.run(command, env=environment(threads), check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Pace)


def program(architecture: str, steps: int, threads: int, onlooker: Onlooker | None = None) -> Pace:
    """Of `dlplay ARCHITECTURE --headless --json`, from the first training step to the last, by the times of its own events.

    Evaluations and saves come before the first step and after the last one, as in the bare loop there are none.
    """
    with tempfile.TemporaryDirectory() as runs_dir:
        flags = {"steps": steps, "threads": threads, "eval-every": steps, "save-every": steps, "runs-dir": runs_dir, "name": "bench"}
        command = [sys.executable, "-m", "playground", architecture, "--headless", "--json", "--device", "cpu"]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(subprocess.Popen(command, env=environment(threads), stdout=subprocess.PIPE))
            return _follow(process, RunDirectory(Path(runs_dir) / "bench"), onlooker, stack)


def _follow(process: subprocess.Popen[bytes], run: RunDirectory, onlooker: Onlooker | None, stack: contextlib.ExitStack) -> Pace:
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
            loss = last.metrics["train_loss"][-1]
            stack.close()  # a run waits at its end for those who look on
            return Pace(last.step / (last.time - began), used / last.step * 1000, loss or 0.0, event.steps_per_second)
    raise RuntimeError(f"{run.name} ended without a finished event, exit status {process.wait()}")


def _cpu(meter: psutil.Process) -> float:
    times = meter.cpu_times()
    return float(times.user + times.system)
