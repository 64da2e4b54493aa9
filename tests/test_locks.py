"""The lock: one writer a run, whoever comes second is told who the first is, and a killed holder holds nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlplay.runs.lock import Held, RunLock, holder

ROOT = Path(__file__).parents[1]

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from dlplay.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
ready, begun = os.pipe()
forked = os.fork()  # neither a fork nor a started program may hold on to it
if forked == 0:
    os.write(begun, b"x")
    time.sleep(600)
os.read(ready, 1)  # on a busy machine it would hold on to it until it runs for the first time
started = subprocess.Popen(["sleep", "600"], close_fds=False)
print(forked, started.pid, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock and has children of both kinds."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    children = [int(word) for word in process.stdout.readline().split()]
    assert len(children) == 2
    try:
        yield process
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "gpt-1"
    folder.mkdir()
    return folder / "lock"


def test_the_second_is_refused_with_the_name_of_the_first_and_the_way_out(path: Path) -> None:
    with another_holder(path) as process:
        with pytest.raises(
            Held, match=rf"run gpt-1 is held by process {process.pid}; attach to it, or stop it first: dlplay stop gpt-1"
        ) as caught:
            RunLock(path).acquire()
        assert caught.value.pid == process.pid
        found = holder(path)
        assert found is not None
        assert found.pid == process.pid


def test_a_killed_holder_frees_it_at_once_though_its_children_live_on(path: Path) -> None:
    with another_holder(path) as process:
        process.kill()
        process.wait()
        assert holder(path) is None
        with RunLock(path):
            found = holder(path)
            assert found is not None
            assert found.pid == os.getpid()


def test_two_in_one_process_exclude_each_other_too(path: Path) -> None:
    first, second = RunLock(path), RunLock(path)
    first.acquire()
    with pytest.raises(Held, match=f"process {os.getpid()}"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert holder(path) is None


def test_asking_who_holds_it_never_keeps_anyone_from_taking_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()
    asker = os.open(path, os.O_RDONLY)  # as `holder` does, for an instant
    fcntl.flock(asker, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(asker, fcntl.LOCK_UN))
    with RunLock(path):
        os.close(asker)


def test_nobody_holds_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") is None
    os.mkfifo(tmp_path / "fifo")
    assert holder(tmp_path / "fifo") is None
    with pytest.raises(FileNotFoundError):
        RunLock(tmp_path / "none" / "lock").acquire()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="links are not followed"):
        RunLock(path).acquire()
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("text", [b"", b"x y", b"9" * 400, b"12 \x1b[2Jrm\n", b"\xff\xff"])
def test_what_stands_in_the_file_is_not_trusted(path: Path, text: bytes) -> None:
    with RunLock(path):
        path.write_bytes(text)
        found = holder(path)
        assert found is not None
        assert found.pid == (12 if text.startswith(b"12") else 0)
        assert found.command.isprintable()
