"""A run of the real program that trains for as long as it is looked at."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pace import environment
from benchmarks.terminal import Terminal, terminal
from dlplay.runs.directory import RunDirectory

ENDLESS = 1_000_000_000


@contextlib.contextmanager
def running(architecture: str, threads: int) -> Iterator[tuple[subprocess.Popen[bytes], RunDirectory]]:
    """A headless run with the usual evaluations and saves that has begun to train."""
    with tempfile.TemporaryDirectory() as runs_dir:
        command = [sys.executable, "-m", "dlplay", architecture, "--headless", "--json", "--device", "cpu", "--name", "bench"]
        command += ["--steps", str(ENDLESS), "--threads", str(threads), "--runs-dir", runs_dir]
        with subprocess.Popen(command, env=environment(threads), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                while b'"type":"stepped"' not in (line := process.stdout.readline()):
                    if not line:
                        raise RuntimeError(f"the run ended before it trained, exit status {process.wait()}")
                with _drained(process):
                    yield process, RunDirectory(Path(runs_dir) / "bench")
            finally:
                process.kill()


@contextlib.contextmanager
def attached(architecture: str, threads: int) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """Such a run, and the screen that shows it."""
    with running(architecture, threads) as (process, run), terminal("attach", run.name, "--runs-dir", str(run.path.parent)) as screen:
        screen.wait_for("training")
        yield process, screen


@contextlib.contextmanager
def _drained(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """What it prints is thrown away by a process of its own."""
    sink = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        sink.wait()
