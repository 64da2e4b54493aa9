"""Starting a run so that it outlives us, and stopping one: by its socket, by a signal, with words when neither helps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlplay.runs import directory
from dlplay.runs.client import RunError
from dlplay.runs.directory import RunDirectory
from dlplay.runs.launch import launch, launch_blocking, stop_run, terminate
from dlplay.runs.lock import alive, holder

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
PATIENCE = 60.0


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of Python: says how it was called, then waits to be killed."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\necho "$@"; cat; echo err >&2; exec sleep 600\n')
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


async def test_the_command_runs_in_a_session_of_its_own_and_its_words_go_to_the_log(program: Path, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "gpt-1" / "log.txt"
    launched = await launch(["gpt", "--headless", "--steps", "3"], log)
    try:
        wait_until(lambda: log.exists() and log.read_text().endswith("err\n"))  # standard input was empty
        said = log.read_text().splitlines()
        assert said[0] == f"-P {ROOT}/dlplay/__main__.py gpt --headless --steps 3"
        assert os.getsid(launched.pid) == launched.pid
        assert launched.returncode is None
        assert alive(launched.pid)
        assert log.stat().st_mode & 0o777 == 0o600
        assert launched.last_words(1) == "err"
    finally:
        os.kill(launched.pid, signal.SIGKILL)
    assert await asyncio.wait_for(launched.wait(), PATIENCE) == -signal.SIGKILL
    assert launched.returncode == -signal.SIGKILL
    assert not alive(launched.pid)


def test_what_was_started_outlives_the_event_loop_and_the_process_that_started_it(program: Path, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from dlplay.runs.launch import launch\n"
        "sys.executable = sys.argv[1]\n"
        "print(asyncio.run(launch([], Path(sys.argv[2]))).pid)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [PYTHON, "-W", "error", "-c", script, program, tmp_path / "log"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    pid = int(done.stdout)
    try:
        assert done.stderr == ""
        wait_until(lambda: (tmp_path / "log").read_text().endswith("err\n"))
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))


def test_a_program_that_cannot_be_started_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        launch_blocking([], tmp_path / "log")


def test_last_words_carry_no_control_characters(program: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\none\n\x1b[2Jtwo\xff\n")
    launched = launch_blocking([], log)
    os.kill(launched.pid, signal.SIGKILL)
    wait_until(lambda: launched.returncode is not None)
    log.write_bytes(b"x" * 100_000 + b"\none\n\x1b[2Jtwo\xff\n")
    assert launched.last_words(2) == "one\n[2Jtwo\ufffd"
    log.unlink()
    assert launched.last_words() == ""


def test_remains_and_strangers_are_not_alive() -> None:
    with subprocess.Popen(["true"]) as process:
        wait_until(lambda: not alive(process.pid))  # ended, and not yet waited for
    assert alive(os.getpid())
    assert alive(1)
    assert not alive(0)
    assert not alive(-1)
    assert not alive(2**31 - 1)
    assert not alive(2**70)


# --- stopping ----------------------------------------------------------------------------------------------------------------------------

RUN = """
import signal, sys
from pathlib import Path
from dlplay.engine.commands import Stop
from dlplay.engine.events import Finished, Stepped
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import Journal
from dlplay.runs.lock import RunLock
from dlplay.runs.server import Server

run, kind = RunDirectory(Path(sys.argv[1])), sys.argv[2]
ends = []
signal.signal(signal.SIGTERM, (lambda *_: ends.append("signal")) if kind != "deaf" else signal.SIG_IGN)
with RunLock(run.lock_path), Journal(run.journal_path) as journal:
    server = Server(run.socket_path)
    if kind == "socket":
        server.start()
    print("ready", flush=True)
    while not ends:
        ends += ["socket" for _, command in server.poll(0.01) if isinstance(command, Stop)]
    journal.append(Stepped(step=1234, first=1234, metrics={}, seconds=1.0))
    server.close()
print(ends[0], flush=True)
"""


@contextlib.contextmanager
def running(run: RunDirectory, kind: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", RUN, str(run.path), kind], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return directory.create(tmp_path / "runs", "gpt", {"steps": 5000})


@pytest.mark.parametrize("kind", ["socket", "signal"])
def test_a_run_is_stopped_by_its_socket_or_else_by_a_signal(run: RunDirectory, kind: str) -> None:
    with running(run, kind) as process:
        assert stop_run(run, PATIENCE) == "stopped run gpt-1 at step 1,234"
        assert holder(run.lock_path) is None
        assert process.stdout
        assert process.stdout.read() == f"{kind}\n"
    assert stop_run(run) == "run gpt-1 is not running"


def test_a_run_that_does_not_stop_is_told_with_the_way_out(run: RunDirectory) -> None:
    with (
        running(run, "deaf") as process,
        pytest.raises(RunError, match=rf"run gpt-1 did not stop within 0\.1 s; process {process.pid} still holds it: kill {process.pid}"),
    ):
        stop_run(run, 0.1)


def test_a_process_that_has_just_ended_is_left_alone() -> None:
    """Its launcher has waited for it, and has not told so yet."""
    ended = subprocess.Popen(["true"])
    ended.wait()

    class Unheard:
        pid, returncode = ended.pid, None

    terminate(Unheard())  # type: ignore[arg-type]
