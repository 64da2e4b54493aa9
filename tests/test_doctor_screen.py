"""An advice that is tried from the screen: what is said before, meanwhile and after, and that nobody who types is interrupted."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from textual.geometry import Size
from textual.widgets import Input

from dlplay.screen.app import PlaygroundApp
from dlplay.screen.dialogs.doctor import DoctorDialog
from dlplay.screen.run.run_bar import RunBar, RunBarState
from dlplay.screen.runs.compare import CompareScreen
from dlplay.widgets import LineChart
from tests.screen_pilot import opened, part_text, screen_text, until
from tests.test_compare import make

DIAGNOSIS: dict[str, Any] = {
    "name": "dead-units",
    "title": "Dead units",
    "found": "all of them",
    "number": 1.0,
    "bound": 0.6,
    "rule": "r",
    "source": "s",
    "advice": "a lower rate: --lr 0.1",
    "changes": {"lr": 0.1},
    "curve": "",
    "bars": {},
}
WHAT = "6 runs of 75 steps"
FOUND = {"run": "mine", "step": 300, "diagnoses": [DIAGNOSIS], "rules": ["x"], "layers": "", "trials": {"dead-units": WHAT}}
VERDICT = "the advice --lr 0.1 helped: test_accuracy +0.0787 (+0.00107 to +0.156)"


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A run `mine` whose trial has come to its end when this is set."""
    ended = asyncio.Event()
    make(tmp_path, "mine")
    for arm in ("without", "with"):
        for seed in range(3):
            make(tmp_path, f"mine-{arm}-s{seed}", group=f"mine-{arm}", seed=seed)

    async def examination(run: str, runs_dir: Path) -> dict[str, Any]:
        return FOUND

    async def trial(run: str, rule: str, runs_dir: Path) -> dict[str, Any]:
        assert (run, rule) == ("mine", "dead-units")
        await ended.wait()
        return {"verdict": VERDICT, "next": "next: look elsewhere", "groups": ["mine-without", "mine-with"]}

    monkeypatch.setattr("dlplay.screen.dialogs.doctor.examination", examination)
    monkeypatch.setattr("dlplay.screen.dialogs.doctor.trial", trial)
    return ended


async def test_the_run_bar_tells_of_an_examination_until_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "mine")
    fails = asyncio.Event()

    async def examination(run: str, runs_dir: Path) -> dict[str, Any]:
        await fails.wait()
        raise OSError("the disk is gone")

    monkeypatch.setattr("dlplay.screen.dialogs.doctor.examination", examination)
    async with opened(tmp_path, (80, 42), tab="convnet") as (app, pilot):
        app.do(app.tab, app.tab.controls.load("mine", run=True, train=False))
        await until(lambda: app.tab.link.run is not None and app.tab.link.history.step == 100)
        await pilot.press("D")
        await until(lambda: "the doctor examines it" in part_text(app, "RunBar"))
        fails.set()
        await until(lambda: "the disk is gone" in screen_text(app))
        await until(lambda: "examines" not in screen_text(app))


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize(
    "state",
    [
        RunBarState("failed", name="mine", problem="the loss of step 6, or its gradient, is not a finite number"),
        RunBarState("training", name="mine", step=100, steps=300),
        RunBarState("exploring", showing="convnet-digits (pretrained)"),
    ],
    ids=["failed", "training", "no run"],
)
def test_what_is_done_beside_a_run_is_told_in_every_state(monkeypatch: pytest.MonkeyPatch, width: int, state: RunBarState) -> None:
    monkeypatch.setattr(RunBar, "content_size", Size(width, 1))
    bar = RunBar()
    bar.state = dataclasses.replace(state, beside="the doctor examines it, which takes some seconds")
    assert "the doctor examines it" in bar.render().plain[:width]


async def test_what_the_doctor_found_comes_once_and_not_over_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "mine")
    make(tmp_path, "other")
    ends, asked = asyncio.Event(), []

    async def examination(run: str, runs_dir: Path) -> dict[str, Any]:
        asked.append(run)
        await ends.wait()
        return FOUND | {"diagnoses": [DIAGNOSIS | {"curve": "train_loss"}]}

    monkeypatch.setattr("dlplay.screen.dialogs.doctor.examination", examination)
    async with opened(tmp_path, (140, 42), tab="convnet") as (app, pilot):
        link = app.tab.link
        app.do(app.tab, app.tab.controls.load("mine", run=True, train=False))
        await until(lambda: link.run is not None and link.history.step == 100)
        await pilot.press("D")
        await until(lambda: asked)
        await pilot.press("D")
        await until(lambda: "the doctor examines mine already" in screen_text(app))
        app.do(app.tab, app.tab.controls.load("other", run=True, train=False))
        await until(lambda: link.run is not None and link.run.name == "other")
        link.history.clear()
        app.tab.show_setting("lr")
        await until(lambda: "▸lr" in screen_text(app) and app.focused is not None and app.focused.id == "form-scroll")
        await pilot.press("enter")
        await until(lambda: isinstance(app.focused, Input))
        ends.set()
        await until(lambda: any("examined mine; its page opens when this line is left" in note.message for note in app._notifications))
        assert len(app.screen_stack) == 1
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, DoctorDialog))
        curve = app.screen.query_one(LineChart)
        assert len(curve.curves[0].y) > 1  # of the run that was examined, whatever is shown meanwhile
        assert asked == ["mine"]


async def begin(app: PlaygroundApp, pilot: Any) -> None:
    """Open the run and have its advice tried."""
    app.do(app.tab, app.tab.controls.load("mine", run=True, train=False))
    await until(lambda: app.tab.link.run is not None and app.tab.link.history.step == 100)
    await pilot.press("D")
    await until(lambda: isinstance(app.screen, DoctorDialog) and "try --lr 0.1: 6 runs of 75 steps" in screen_text(app))
    assert "steps, then a page opens" in screen_text(app)
    await pilot.press("t")  # it may be part of what was being typed
    dialog = app.screen
    assert isinstance(dialog, DoctorDialog)
    await until(lambda: dialog.armed)
    await pilot.press("t")
    await until(lambda: "trying --lr 0.1: 6 runs of 75 steps" in part_text(app, "RunBar"))


@pytest.mark.parametrize("width", [80, 140])
async def test_what_is_tried_stays_on_the_screen_and_its_verdict_comes_first(tmp_path: Path, done: asyncio.Event, width: int) -> None:
    async with opened(tmp_path, (width, 42), tab="convnet") as (app, pilot):
        await begin(app, pilot)
        done.set()
        await until(lambda: isinstance(app.screen, CompareScreen) and "next: look elsewhere" in screen_text(app))
        assert screen_text(app).index(VERDICT[:60]) < screen_text(app).index("3 runs of ConvNet")
        assert "chance" not in screen_text(app)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1 and "mine" in part_text(app, "RunBar"))
        await until(lambda: "trying" not in part_text(app, "RunBar"))


async def test_no_page_opens_over_a_dialog(tmp_path: Path, done: asyncio.Event) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await begin(app, pilot)
        await pilot.press("f1")
        await until(lambda: len(app.screen_stack) == 2)
        dialog = app.screen
        done.set()
        await until(lambda: any("its page opens when this is closed" in note.message for note in app._notifications))
        assert app.screen is dialog
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, CompareScreen) and VERDICT in screen_text(app))
