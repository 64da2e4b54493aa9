"""What lies in a run's folder may have been put there by somebody else: links, pipes and devices are neither followed nor waited for."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from dlplay import cli
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory, RunNameError
from dlplay.runs.launch import Launched, Process, launch_blocking, stop_run
from tests.conftest import Small, flags

FILES = ("run.json", "events.jsonl", "lock", "log.txt", "socket")


@pytest.fixture(scope="module")
def trained(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with the run `it`."""
    runs = tmp_path_factory.mktemp("trained")
    assert cli.run(["convnet", "--headless", *flags(small("convnet") | {"steps": 4}), "--name", "it", "--runs-dir", str(runs)]) == 0
    (runs / "it" / "log.txt").write_text("words\n")
    return runs


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, and another run, `other`."""
    for name in ("it", "other"):
        shutil.copytree(trained / "it", tmp_path / "runs" / name)
        (tmp_path / "runs" / name).chmod(0o700)
    return tmp_path / "runs"


def put(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"a link": path.parents[1] / "other" / path.name, "a device": Path("/dev/zero")}[kind])


@pytest.mark.parametrize("kind", ["a link", "a device", "a pipe"])
@pytest.mark.parametrize("name", FILES)
def test_nothing_is_followed_or_waited_for(name: str, kind: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = {path: path.read_bytes() for path in (runs / "other").rglob("*") if path.is_file()}
    put(kind, runs / "it" / name)
    for command in (["runs"], ["stop", "it"], ["export", "it", str(runs.parent / "curves.csv"), "--to", "csv"]):
        assert cli.run([*command, "--runs-dir", str(runs)]) in (0, 2)
    status = cli.run(["resume", "it", "--headless", "--steps", "8", "--runs-dir", str(runs)])
    assert status == (0 if name == "log.txt" else 2)
    assert "Traceback" not in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (runs / "other").rglob("*") if path.is_file()} == others


@pytest.mark.parametrize("name", ["checkpoints", "history"])
def test_the_checkpoints_of_another_run_are_not_reached_through_a_link(name: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = {path: path.read_bytes() for path in (runs / "other").rglob("*") if path.is_file()}
    assert any(path.is_relative_to(runs / "other" / name) for path in others)
    shutil.rmtree(runs / "it" / name)
    (runs / "it" / name).symlink_to(runs / "other" / name)
    assert cli.run(["resume", "it", "--headless", "--steps", "8", "--runs-dir", str(runs)]) == 2
    assert f"{runs / 'it' / name} is a link, and links are not followed" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (runs / "other").rglob("*") if path.is_file()} == others


@pytest.mark.parametrize("kind", ["a link", "a device", "a pipe"])
def test_the_log_is_neither_written_nor_read_through(kind: str, runs: Path) -> None:
    log = runs / "it" / "log.txt"
    put(kind, log)
    with pytest.raises(OSError, match="not a regular file"):
        launch_blocking(["--version"], log)
    assert Launched(Process(["true"]), log).last_words() == ""
    assert (runs / "other" / "log.txt").read_text() == "words\n"


def test_a_linked_socket_leads_to_no_other_run(runs: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(runs / "other" / "socket"))
        listener.listen()
        listener.setblocking(False)
        (runs / "it" / "socket").symlink_to(runs / "other" / "socket")
        with directory.RunLock(runs / "it" / "lock"), pytest.raises(Exception, match="did not stop within"):
            stop_run(RunDirectory(runs / "it"), timeout=0.1)
        with pytest.raises(BlockingIOError):  # nobody has connected
            listener.accept()


def test_a_folder_that_anybody_may_change_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.chmod(0o777)
    assert cli.run(["runs", "--runs-dir", str(runs)]) == 2
    assert f"close it to others (chmod o-w '{runs}')" in capsys.readouterr().err
    runs.chmod(0o1777)
    assert cli.run(["runs", "--runs-dir", str(runs)]) == 0


def test_what_belongs_to_another_user_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    assert directory.default_runs_dir(runs) == runs
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(RunNameError, match=f"it belongs to user {owner}, not to you"):
        directory.find(runs, "it")
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **more: os.stat_result((*real(self, **more)[:4], owner + 2, *real(self, **more)[5:])))
    with pytest.raises(RunNameError, match=f"{runs} belongs to user {owner + 2}, not to you"):
        directory.default_runs_dir(runs)
