"""A run that fails says so in its journal, with the cause, wherever it failed; and standard output is its events alone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dlplay import cli
from dlplay.architectures.convnet.task import ConvNetTask
from dlplay.checkpoints.store import Store
from dlplay.engine.control import Control
from dlplay.engine.errors import DataError
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import Journal
from dlplay.runs.listing import print_runs
from dlplay.runs.summary import Summary
from tests.conftest import Small, flags

Capture = pytest.CaptureFixture[str]


def trained(runs: Path, capsys: Capture, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """A ConvNet that was trained: the exit status, its events, and what else was printed."""
    status = cli.run(["convnet", "--headless", "--json", *arguments, "--name", "it", "--runs-dir", str(runs)])
    out, err = capsys.readouterr()
    return status, [json.loads(line) for line in out.splitlines()], err


def summary(runs: Path) -> Summary:
    return directory.summary(RunDirectory(runs / "it"))


def test_images_that_are_all_alike_are_trained_on(tmp_path: Path, capsys: Capture) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (12, 12), 128).save(tmp_path / "data" / name / f"{number}.png")
    small = {"steps": 4, "batch": 4, "channels": "4", "threads": 1, "data": tmp_path / "data"}
    status, events, err = trained(tmp_path / "runs", capsys, *flags(small))
    assert (status, events[-1]["type"], err) == (0, "finished", "")
    assert {"logistic regression", "nearest neighbour"} == set(events[-1]["baselines"]["test_accuracy"])


def test_baselines_that_fail_leave_the_run_without_them(
    small: Small, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConvNetTask, "baselines", lambda self: {"test_accuracy": {"ratio": 1 / 0}})
    monkeypatch.setattr(ConvNetTask, "baselines_key", lambda self: "")
    status, events, _ = trained(tmp_path, capsys, *flags(small("convnet") | {"steps": 4}))
    assert (status, events[-1]["type"], events[-1]["baselines"]) == (0, "finished", {})
    [warning] = [event for event in events if event["type"] == "warned"]
    assert "no baselines" in warning["what"]
    assert "ZeroDivisionError: division by zero" in warning["why"]
    assert "test_failures.py, line" in warning["why"]


@pytest.mark.parametrize("method", ["baselines", "train_step", "evaluate"])
def test_data_that_fail_in_mid_run_are_the_cause(
    method: str, small: Small, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ConvNetTask) -> Any:
        raise DataError("the disk with the images was pulled out")

    monkeypatch.setattr(ConvNetTask, method, broken)
    monkeypatch.setattr(ConvNetTask, "baselines_key", lambda self: "")
    status, events, err = trained(tmp_path, capsys, *flags(small("convnet") | {"steps": 4}))
    assert (status, err) == (1, "")
    assert (events[-1]["type"], events[-1]["why"]) == ("failed", "the disk with the images was pulled out")
    assert summary(tmp_path).state == "failed"


def test_an_unforeseen_error_says_where_the_details_are(
    small: Small, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConvNetTask, "train_step", lambda self: {}["loss"])
    with pytest.raises(KeyError):
        trained(tmp_path, capsys, *flags(small("convnet") | {"steps": 4}))
    last = json.loads((tmp_path / "it" / "events.jsonl").read_text().splitlines()[-1])
    assert last["type"] == "failed"
    assert "KeyError: 'loss' (" in last["why"]
    assert last["remedy"].startswith("the traceback is on standard error; resume")


def test_a_new_run_that_never_began_leaves_nothing(small: Small, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConvNetTask, "__init__", lambda self, *_: {}["model"])
    with pytest.raises(KeyError):
        trained(tmp_path, capsys, *flags(small("convnet") | {"steps": 4}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", ["checkpoint", "journal"])
def test_a_run_that_waits_for_space_says_so_in_the_list(
    refused: str, small: Small, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = {"checkpoint": Store, "journal": Journal}[refused]
    method = {"checkpoint": "save", "journal": "append"}[refused]
    real, listed = getattr(owner, method), []

    def write(self: Any, *arguments: Any) -> Any:
        if not listed and (tmp_path / "it" / "checkpoints" / "step-0").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments)

    def wait(self: Control, problem: str) -> bool:
        listed.append(summary(tmp_path))
        print_runs(listed, as_json=False)
        return False

    monkeypatch.setattr(owner, method, write)
    monkeypatch.setattr(Control, "wait_for_disk", wait)
    arguments = ["convnet", "--headless", *flags(small("convnet") | {"steps": 4, "save_every": 2, "eval_every": 2}), "--name", "it"]
    assert cli.run([*arguments, "--runs-dir", str(tmp_path)]) == 0
    assert [item.state for item in listed] == ["waiting"]
    assert listed[0].held_by == os.getpid()
    words = {"checkpoint": "disk full: cannot save a checkpoint", "journal": "disk full: cannot write the journal"}[refused]
    assert listed[0].problem == words
    assert f"  {words}  test_accuracy" in capsys.readouterr().out
    assert summary(tmp_path).state == "finished"
    assert summary(tmp_path).problem == ""


NOISY = """
import os, subprocess, gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
print("imported")
class Noisy(CartPoleEnv):
    def step(self, action):
        print("from Python")
        os.write(1, b"from C\\n")
        return super().step(action)
    def reset(self, **more):
        subprocess.run(["echo", "from a process"])
        return super().reset(**more)
gymnasium.register("own/Noisy-v0", Noisy)
"""


@pytest.mark.parametrize("question", [[], ["--panel", "environment", "--from", "dqn-cartpole"]], ids=["run", "panel"])
def test_standard_output_holds_json_alone(question: list[str], tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    small = {"hidden": "8", "steps": 30, "time_limit": 5, "eval_episodes": 1, "buffer": 100} if not question else {}
    command = ["dqn", "--headless", "--json", *flags({"env": "own/Noisy-v0", "env_module": "noisy"} | small), *question]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "dlplay", *command, "--runs-dir", str(tmp_path / "runs")],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert all(isinstance(json.loads(line), dict) for line in ended.stdout.splitlines())
    assert {"imported", "from a process"} <= set(ended.stderr.splitlines())
    assert question or {"from Python", "from C"} <= set(ended.stderr.splitlines())


def test_a_reader_that_leaves_does_not_end_the_run(small: Small, tmp_path: Path) -> None:
    """What `| head -1` does: the pipe is closed after the first line."""
    command = [sys.executable, "-P", "-m", "dlplay", "convnet", "--headless", "--json", *flags(small("convnet") | {"steps": 30})]
    process = subprocess.Popen(
        [*command, "--name", "it", "--runs-dir", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["type"] == "started"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(120) == 0
    process.stderr.close()
    assert summary(tmp_path).state == "finished"
