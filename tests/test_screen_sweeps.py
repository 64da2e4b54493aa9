"""A sweep on the screen: its trials, pictures of them, one opened in its tab, one's settings taken into the form."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from dlplay import cli
from dlplay.experiments.sweep import storage
from dlplay.experiments.sweep.spec import find
from dlplay.runs import launch
from dlplay.runs.lock import alive
from dlplay.screen.run import answer
from dlplay.screen.runs.parallel import ParallelCoordinates, positions
from dlplay.screen.runs.sweeps import SweepScreen, SweepsDialog
from dlplay.widgets import LineChart, TableView
from tests.screen_pilot import opened, screen_text, until

SEARCH = ["--search", "lr=1e-4..1e-1:log", "--search", "optimizer=sgd,adamw"]
SMALL = ["--steps", "4", "--eval-every", "2", "--channels", "2", "--batch", "8"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    command = ["sweep", "convnet", *SEARCH, *SMALL, "--trials", "3", "--jobs", "2", "--name", "mine", "--runs-dir", str(tmp_path)]
    assert cli.run(command) == 0
    return tmp_path


async def test_a_sweep_is_looked_at_opened_and_adopted(runs: Path) -> None:
    async with opened(runs, tab="gpt") as (app, pilot):
        await pilot.press("escape", "W")
        await until(lambda: "reading its trials" in screen_text(app))
        await until(lambda: isinstance(app.screen, SweepScreen) and app.screen.report)
        screen = app.screen
        assert isinstance(screen, SweepScreen)
        await until(lambda: "3 complete of 3 trials" in screen_text(app) and "best so far" in screen_text(app))
        chart = screen.query_one(LineChart)
        best = [trial["value"] for trial in sorted(screen.report["trials"], key=lambda trial: trial["number"])]
        steps = [max(best[: at + 1]) for at in range(3)]
        assert list(chart.curves[0].y) == [steps[0], steps[0], steps[1], steps[1], steps[2], steps[2]], "it rises where a trial is better"
        await until(lambda: "test accuracy against lr" in screen_text(app) and "0.001" in screen_text(app))
        for words in ("test accuracy against optimizer", "parallel coordinates"):
            await pilot.press("v")
            await until(lambda words=words: words in screen_text(app))  # type: ignore[misc]
        await until(lambda: any(picture.display for picture in screen.query(ParallelCoordinates)))
        await until(lambda: "0.1" in screen_text(app) and "adamw" in screen_text(app))
        wanted = screen.report["trials"][1]
        await pilot.press("v", "v")
        await pilot.click(TableView, offset=(5, 2))  # moves the cursor, and the pictures show where that trial is
        await until(lambda: f"◆ {wanted['run']}" in screen_text(app))
        await pilot.press("a")
        await until(lambda: app.opened == "convnet" and app.opened in app.tabs)
        await until(lambda: {name: app.tab.form.values[name] for name in ("lr", "optimizer")} == wanted["settings"])
        await pilot.press("W")
        await until(lambda: isinstance(app.screen, SweepScreen) and app.screen.query_one(TableView).rows)
        await pilot.press("enter")
        await until(lambda: app.tab.link.run is not None and app.tab.link.run.name == screen.report["trials"][0]["run"])


async def test_a_sweep_is_stopped_and_gone_on_with(runs: Path) -> None:
    with storage.opened(find(runs, "mine"), find(runs, "mine").spec, "") as backend:
        backend.extend(4)
    async with opened(runs, tab="convnet") as (app, pilot):
        await pilot.press("escape", "W")
        await until(lambda: isinstance(app.screen, SweepScreen) and "3 complete of 4 trials" in screen_text(app))
        await pilot.press("s")
        await until(lambda: any("3 of 4 trials have ended, 0 begun" in note.message for note in app._notifications))
        await pilot.press("g")
        await until(lambda: "4 complete of 4 trials" in screen_text(app))


async def test_without_a_sweep_the_way_to_one_is_told_and_of_several_one_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[dict[str, Any]] = []

    async def answers(arguments: list[str], runs_dir: Path) -> list[dict[str, Any]]:
        return listed

    monkeypatch.setattr("dlplay.screen.run.answer.answers", answers)
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press("W")
        await until(lambda: any("no sweeps yet" in note.message for note in app._notifications))
        listed += [{"name": name, "architecture": "convnet", "metric": "test_accuracy"} for name in ("one", "two")]
        await pilot.press("W")
        await until(lambda: isinstance(app.screen, SweepsDialog) and "two" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


def test_values_that_are_no_numbers_stand_side_by_side() -> None:
    assert positions([1.0, 100.0], True)[0].tolist() == [0.0, 2.0]
    assert positions([1.0, 100.0], True)[1:] == (True, ())
    assert positions([3, 1], False)[0].tolist() == [3.0, 1.0]
    assert positions([0.0, 10.0], True)[0].tolist() == [0.0, 10.0]
    x, powers, names = positions(["sgd", "adamw", "sgd"], False)
    assert (x.tolist(), powers, names) == ([1.0, 0.0, 1.0], False, ("adamw", "sgd"))
    assert positions([True, False], False)[0].tolist() == [1.0, 0.0]
    assert positions([[16, 32], [8]], False)[2] == ("8", "16,32"), "in order of their numbers"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of Python, with a script to be written."""
    path = tmp_path / "python"
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(launch, "_launcher", None)
    return path


@pytest.mark.parametrize("printed", ['{"name": "s"', "{'name': 1}", '{"name": "' + "x" * 2000 + '"}', ""])
async def test_an_answer_that_is_none_is_told_in_words(
    printed: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "ANSWER_BYTES", 1000)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\n")
    with pytest.raises(RuntimeError, match="dlplay sweep list"):
        await answer.last_answer(["sweep", "list"], tmp_path)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_question_that_nobody_waits_for_any_more_ends(
    begun: bool, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, may_begin = tmp_path / "pid", asyncio.Event()

    async def slowly(arguments: list[str], log: Path) -> launch.Launched:
        process = await launch.launch(arguments, log)
        await may_begin.wait()
        return process

    monkeypatch.setattr(answer, "launch", slowly)
    if begun:
        may_begin.set()
    program.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 600\n")
    asked = asyncio.ensure_future(answer.answers(["sweep", "list"], tmp_path / "runs"))
    await until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    asked.cancel()
    await asyncio.sleep(0)
    may_begin.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await until(lambda: not alive(int(pid.read_text())))
