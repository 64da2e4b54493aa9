"""The card's own actions on the screen: by key, from the palette, by mouse; refused, done and told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.app import App

from dlplay import architectures
from dlplay.engine.events import Stepped
from dlplay.engine.panels import AnyPanel
from dlplay.runs.client import RunError
from dlplay.runs.history import History
from dlplay.screen.dialogs.doctor import DoctorDialog
from dlplay.screen.dialogs.failure import FailureDialog
from dlplay.screen.dialogs.find_lr import FindRateDialog
from dlplay.screen.dialogs.pad import drawing_summary, read_pad, write_pad
from dlplay.screen.run.run_link import NOTHING_TRAINS, RunLink
from dlplay.screen.runs.compare import CompareScreen
from dlplay.widgets import LineChart
from tests.screen_pilot import opened, part_text, screen_text, until

SCROLLBAR = {ord(character): None for character in "▁▂▃▄▅▆▇█"}


async def test_a_key_does_the_action_with_the_options_of_the_tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, dict[str, Any]]] = []

    async def act(link: RunLink, name: str, options: dict[str, Any], *, urgent: bool = False) -> AnyPanel | None:
        assert urgent
        done.append((name, options))
        return None

    monkeypatch.setattr(RunLink, "act", act)
    async with opened(tmp_path, tab="gan", options={"point": "0.5,1", "latent_place": "1,1"}) as (app, pilot):
        action = next(action for action in app.tab.card.actions if action.name == "place")
        await pilot.press(action.key)
        await until(lambda: done == [("place", {"point": "0.5,1"})])
        await until(lambda: "done, and marked on the curves" in part_text(app, "ActionStage .message"))
        found = {command.title for command in app.get_system_commands(app.screen)}
        assert f"{action.title} ({action.key})" in found
        await pilot.press("f1")
        await until(lambda: action.help in " ".join(screen_text(app).translate(SCROLLBAR).split()))


async def test_what_changes_the_training_needs_a_training(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gan") as (app, pilot):
        action = next(action for action in app.tab.card.actions if action.lasting and action.key)
        with pytest.raises(RunError, match="nothing is training yet"):
            await app.tab.link.act(action.name, {})
        await pilot.press(action.key)
        await until(lambda: NOTHING_TRAINS in part_text(app, "ActionStage .message"))


async def test_a_key_of_another_tab_does_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def act(link: RunLink, name: str, options: dict[str, Any], *, urgent: bool = False) -> AnyPanel | None:
        done.append(name)
        return None

    monkeypatch.setattr(RunLink, "act", act)
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press(*(action.key for action in architectures.card("gan").actions if action.key))
        await pilot.press("n")
        await until(lambda: len(app.screen_stack) == 2)
        assert done == []


async def test_a_setting_that_is_a_drawing_opens_a_pad(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gan", settings={"data": "drawn"}) as (app, pilot):
        form = app.tab.form
        size = form.fields["drawing"].pad
        assert size is not None
        app.tab.show_all_settings(True)
        form.go_to("drawing")
        form.query_one("#form-scroll").focus()
        form.draw()
        await until(lambda: "pixels" in part_text(app, "SettingsForm"))
        before = form.values["drawing"]
        await pilot.press("enter")
        await until(lambda: "use this drawing" in screen_text(app))
        await pilot.press("c", "d", "enter")
        await until(lambda: form.values["drawing"] != before)
        pixels = read_pad(form.values["drawing"], size)
        assert pixels is not None
        assert pixels[size[0] // 2, size[1] // 2] == 15
        assert write_pad(pixels) == form.values["drawing"]
        await pilot.press("enter")
        await until(lambda: "use this drawing" in screen_text(app))
        await pilot.press("c", "escape")
        await until(lambda: len(app.screen_stack) == 1)
        assert read_pad(form.values["drawing"], size) is not None
        assert np_any(form.values["drawing"], size), "left as it was"


def np_any(text: str, size: tuple[int, int]) -> bool:
    pixels = read_pad(text, size)
    return pixels is not None and bool(pixels.any())


def test_a_drawing_is_read_whole_or_not_at_all() -> None:
    assert read_pad("0f/f0", (2, 2)) is not None
    assert read_pad("0f/f", (2, 2)) is None
    assert read_pad("0f/f0", (1, 2)) is None
    assert np_any("f", (3, 3))
    assert read_pad("0g/f0", (2, 2)) is None
    assert drawing_summary("0f/f0", (2, 2)) == "2 of 4 pixels"
    assert drawing_summary("00/00", (2, 2)) == "empty pad"


async def test_a_learning_rate_is_found_beside_a_run_and_taken_into_the_form(tmp_path: Path) -> None:
    quick = {"steps": 10**6, "batch": 8, "channels": "2", "threads": 1}
    async with opened(tmp_path, tab="convnet", settings=quick) as (app, pilot):
        await pilot.press("space")
        await until(lambda: app.tab.link.history.step > 5)
        before = app.tab.form.values["lr"]
        await pilot.press("L")
        await until(lambda: isinstance(app.screen, FindRateDialog), 120)
        await until(lambda: "rising rates, on a copy of the weights" in screen_text(app))
        suggested = app.screen.found["suggestions"]["valley"]  # type: ignore[attr-defined]
        await pilot.press("v")
        await until(lambda: app.tab.form.values["lr"] == float(f"{suggested:.2g}"))
        assert before != app.tab.form.values["lr"]
        assert list(tmp_path.glob(".explore-*/find-lr-*")) == []
        await app.tab.link.end()


async def test_the_doctor_says_what_is_wrong_with_the_run_of_the_tab(tmp_path: Path) -> None:
    ill = {"data": "digits", "channels": "4", "norm": "none", "optimizer": "sgd", "lr": 10.0, "schedule": "constant", "threads": 1}
    async with opened(tmp_path, tab="convnet", settings=ill) as (app, pilot):
        app.action_doctor()
        await until(lambda: any("there is no run in this tab yet" in note.message for note in app._notifications))
        await pilot.press("space")
        await until(lambda: isinstance(app.screen, FailureDialog), 120)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        app.action_doctor()
        await until(lambda: isinstance(app.screen, DoctorDialog), 120)
        await until(lambda: "a tenth of the learning rate: --lr 1" in screen_text(app))
        assert "The loss became infinite" in screen_text(app)
        assert "t      try --lr 1: 6 runs of" in screen_text(app)
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, DoctorDialog))
        await app.tab.link.end()


class Examined(App[None]):
    def __init__(self, curve: str) -> None:
        super().__init__()
        self.history = History()
        self.history.add([Stepped(step=3, first=1, metrics={"loss": [1.0, 2.0, 4.0]}, seconds=1.0)])
        diagnosis = {"name": "x", "title": "It rises", "found": "from 1 to 4", "number": 4, "bound": 1, "rule": "r", "source": "s"}
        diagnosis |= {"advice": "less", "changes": {}, "curve": curve, "bars": {}}
        self.found = {"run": "one", "step": 3, "diagnoses": [diagnosis], "rules": ["x"], "layers": ""}

    def on_mount(self) -> None:
        self.push_screen(DoctorDialog(self.found, self.history))


@pytest.mark.parametrize(("curve", "drawn"), [("loss", True), ("val_loss", False), ("", False)])
async def test_a_diagnosis_is_seen_on_its_curve(curve: str, drawn: bool) -> None:
    app = Examined(curve)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "It rises" in screen_text(app))
        assert [list(chart.curves[0].y) for chart in app.screen.query(LineChart)] == ([[1.0, 2.0, 4.0]] if drawn else [])


@pytest.mark.slow
async def test_advice_that_was_tried_is_seen_beside_the_runs_without_it(tmp_path: Path) -> None:
    ill = {
        "data": "digits",
        "channels": "4",
        "norm": "none",
        "optimizer": "sgd",
        "lr": 10.0,
        "schedule": "constant",
        "threads": 1,
        "steps": 40,
    }
    async with opened(tmp_path, tab="convnet", settings=ill) as (app, pilot):
        await pilot.press("space")
        await until(lambda: isinstance(app.screen, FailureDialog), 120)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        app.action_doctor()
        await until(lambda: isinstance(app.screen, DoctorDialog) and app.screen.armed, 120)
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, CompareScreen), 240)
        await until(lambda: "-without" in screen_text(app) and "-with" in screen_text(app), 120)
        await pilot.press("escape")
        await app.tab.link.end()


async def test_an_architecture_without_one_loss_says_why_it_has_no_range_test(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gan") as (app, pilot):
        await pilot.press("L")
        await until(lambda: any("two networks play against each other" in note.message for note in app._notifications))
