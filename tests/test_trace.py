"""`--profile STEPS`: a trace of a few training steps, in the run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlplay.engine.device import prepare
from dlplay.engine.loop import Loop
from dlplay.engine.recorder import Progress
from dlplay.engine.trace import Trace
from dlplay.runs.directory import RunDirectory
from tests.conftest import Dlplay
from tests.test_loop import Memory
from tests.toy import ToySettings, ToyTask, card

SHORT = ["--data", "digits", "--eval-every", "20", "--save-every", "20", "--device", "cpu", "--threads", "1"]


def ranges(path: Path) -> list[dict[str, Any]]:
    """Those that the trace has beside PyTorch's own, in order of time."""
    events = json.loads(path.read_text())["traceEvents"]
    return sorted((event for event in events if event.get("cat") == "user_annotation"), key=lambda event: float(event["ts"]))


def test_a_trace_has_the_steps_after_a_warm_up_with_their_parts(dlplay: Dlplay, tmp_path: Path) -> None:
    folder = ["--runs-dir", str(tmp_path / "runs")]
    ended = dlplay("convnet", "--headless", "--json", *SHORT, "--steps", "30", "--profile", "4", "--name", "r", *folder)
    assert ended.status == 0
    run = RunDirectory(tmp_path / "runs" / "r")
    path = run.path / "trace-6-9.json"
    assert f"{path}: a trace of the steps 6 to 9; open it at https://ui.perfetto.dev" in ended.err
    assert all(json.loads(line) for line in ended.out.splitlines()), "standard output stays JSON"
    assert path.stat().st_mode & 0o777 == 0o600
    found = ranges(path)
    steps = [event for event in found if event["name"].startswith("step ")]
    assert [event["name"] for event in steps] == ["step 6", "step 7", "step 8", "step 9"]
    first = steps[0]
    within = [event["name"] for event in found if first["ts"] <= event["ts"] < first["ts"] + first["dur"]]
    assert [name for name in within if name in ("data", "forward", "backward", "optimiser")] == [
        "data",
        "forward",
        "backward",
        "optimiser",
        "data",
    ]
    assert any(event.get("cat") == "cpu_op" for event in json.loads(path.read_text())["traceEvents"]), "PyTorch's operations"

    resumed = dlplay("resume", "r", "--headless", "--steps", "45", "--profile", "3", *folder)
    assert resumed.status == 0
    assert [event["name"] for event in ranges(run.path / "trace-36-38.json") if event["name"].startswith("step ")] == [
        "step 36",
        "step 37",
        "step 38",
    ]
    assert "trace-36-38.json" in dlplay("runs", "--system", "r", *folder).out


@pytest.mark.parametrize("value", ["0", "201", "-1", "1.5", "many", "", "9" * 30])
def test_a_wrong_number_of_steps_is_refused_in_words(dlplay: Dlplay, tmp_path: Path, value: str) -> None:
    ended = dlplay("convnet", "--headless", "--profile", value, "--runs-dir", str(tmp_path))
    assert ended.status == 2
    assert "a number of steps from 1 to 200" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not list(tmp_path.glob("convnet*")), "no run is left"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--profile", "3"], "--profile needs --headless"),
        (["--headless", "--profile", "3", "--seeds", "0..1"], "--profile is for one run"),
        (["--headless", "--profile", "3", "--find-lr"], "leave out --profile"),
        (["--headless", "--profile", "3", "--panel", "anatomy"], "--profile is for training"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused(dlplay: Dlplay, tmp_path: Path, words: list[str], why: str) -> None:
    ended = dlplay("convnet", *words, "--runs-dir", str(tmp_path))
    assert ended.status == 2
    assert why in ended.err


def traced(folder: Path, steps: int, of: int) -> tuple[ToyTask, list[str]]:
    """A toy run of so many steps, of which so many are to be traced."""
    settings = ToySettings(steps=steps, eval_every=10, save_every=20)
    task, memory, told = ToyTask(settings, prepare(settings)), Memory(), list[str]()
    loop = Loop(card, task, memory, memory, lambda: lambda: ("step", 1), baselines={}, progress=Progress())
    loop.times.trace = Trace(task, of, folder, told.append)
    loop.run()
    return task, told


@pytest.mark.usefixtures("as_before")
def test_a_run_that_ends_too_soon_says_what_there_is(tmp_path: Path) -> None:
    _, told = traced(tmp_path, steps=8, of=10)
    assert told == [f"{tmp_path}/trace-6-8.json: a trace of the steps 6 to 8, fewer than the 10 asked for, since the run ended; "
                    "open it at https://ui.perfetto.dev"]  # fmt: skip
    _, told = traced(tmp_path, steps=5, of=10)
    assert told == ["nothing was traced: the run ended before step 6, the first one after a warm-up of 5"]


@pytest.mark.usefixtures("as_before")
def test_training_goes_on_where_the_trace_cannot_be_written(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    task, told = traced(gone, steps=20, of=3)
    assert task.step == 20
    assert len(told) == 1
    assert told[0].startswith(f"the trace could not be written to {gone}/trace-6-8.json: ")


@pytest.mark.usefixtures("as_before")
def test_a_traced_run_has_the_same_weights(tmp_path: Path) -> None:
    one, _ = traced(tmp_path, steps=20, of=3)
    other, _ = traced(tmp_path, steps=20, of=1)
    assert all(a.equal(b) for a, b in zip(one.weights().values(), other.weights().values(), strict=True))
