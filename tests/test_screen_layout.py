"""Where the parts of a tab stand in windows of every size, what folds, and what the column of runs shows."""

import os
import shutil
import time
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import numpy as np
import pytest
from textual.widgets import Input

from dlplay import architectures
from dlplay.architectures.dqn.player.player import Player
from dlplay.engine.settings import fields
from dlplay.screen import recent_runs
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.form import groups
from dlplay.screen.recent_runs import LatestRuns, RecentRuns
from dlplay.screen.run.run_link import RunLink
from tests.screen_pilot import opened, part_text, screen_text, until
from tests.test_screen_runs import finished_run

PARTS = ("#left", "ActionStage", "#below", "ChartColumn", "#right Inspector")


def shown(app: PlaygroundApp) -> list[str]:
    return [part for part in PARTS if (found := app.query(part)) and found.first().is_on_screen and found.first().size]


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        ((220, 60), [*PARTS]),
        ((300, 80), [*PARTS]),
        ((140, 42), [*PARTS]),
        ((110, 32), [*PARTS[1:]]),
        ((60, 80), [*PARTS]),
        ((80, 24), ["ActionStage"]),
    ],
)
async def test_a_window_of_any_size_begins_with_the_stage(size: tuple[int, int], parts: list[str], tmp_path: Path) -> None:
    async with opened(tmp_path, size, tab="gpt") as (app, _):
        await until(lambda: shown(app) == parts)
        stage = app.tab.stage
        assert stage is not None
        assert stage.size.width >= min(40, size[0] - 2)
        assert not isinstance(app.focused, Input), "no line takes the focus by itself"


async def test_a_wall_shows_six_panels_and_every_part_ends_where_the_next_begins(tmp_path: Path) -> None:
    async with opened(tmp_path, (220, 60), tab="gpt") as (app, _):
        await until(lambda: sum(len(inspector.visible_panels()) for inspector in app.tab.inspectors) >= 6)
        regions = [app.query(part).first().region for part in ("#left", "#middle", "#right")]
        assert regions[0].x == 0
        assert regions[-1].right == 220
        assert all(before.right < after.x <= before.right + 1 for before, after in zip(regions, regions[1:], strict=False))
        names = [card.name for inspector in app.tab.inspectors for card in inspector.visible_panels()]
        assert len(names) == len(set(names)), "no panel stands twice"


async def test_the_settings_unfold_and_fold_with_one_key(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", settings={"batch": 9}) as (app, pilot):
        form = app.tab.form
        await until(lambda: "batch" in part_text(app, "SettingsForm") and "kernel" not in part_text(app, "SettingsForm"))
        assert f"F2 all ({len(form.applying)})" in part_text(app, "#form-title")
        await pilot.press("f2")
        await until(lambda: all(word in part_text(app, "SettingsForm") for word in ("data", "kernel", "training", "momentum")))
        await pilot.press("f2")
        await until(lambda: "kernel" not in part_text(app, "SettingsForm"))


async def test_a_narrow_tall_window_has_the_settings_in_a_line_that_a_click_unfolds(tmp_path: Path) -> None:
    async with opened(tmp_path, (60, 80), tab="gpt") as (app, pilot):
        form = app.tab.form
        await until(lambda: "preset none lr 0.003 steps 4000" in part_text(app, "#left"))
        assert form.size.height == 1
        assert form.put("dropout", 0.3)
        await until(lambda: ") dropout 0.3 preset none lr 0.003" in part_text(app, "#left"))  # what was changed stands first
        await pilot.click("#form-title")
        await until(lambda: form.size.height > 10 and form.has_focus_within)
        await pilot.press("f2")
        await until(lambda: form.size.height == 1 and not form.has_focus_within)


async def test_the_palette_finds_settings_and_panels(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, _):
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        commands["Setting: weight decay"]()
        await until(lambda: app.focused is app.query_one("#form-scroll") and "▸weight decay" in screen_text(app))
        commands["Panel: Confusion matrix (confusion)"]()
        await until(lambda: "Confusion matrix" in part_text(app, "#right Inspector"))
        await until(lambda: app.focused is not None and app.tab.inspector in app.focused.ancestors)


def test_every_setting_stands_under_one_heading_and_no_heading_is_empty() -> None:
    for card in architectures.cards().values():
        names = [field.name for field in fields(card.settings)]
        assert sorted(groups.grouped(names)) == sorted(names)
        assert {groups.group(name) for name in names} == set(groups.ORDER)
    known = {field.name for card in architectures.cards().values() for field in fields(card.settings)}
    assert known >= groups.DATA | groups.MODEL, "a heading names settings that nobody has"
    assert not groups.DATA & groups.MODEL


async def test_the_column_of_runs_compares_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("first", 0.91), ("second", 0.93)):
        finished_run(tmp_path, name, value)
    loaded: list[str] = []

    monkeypatch.setattr(RunLink, "show", lambda link, name: loaded.append(name))
    monkeypatch.setattr(RunLink, "open", AsyncMock())
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await until(lambda: "second" in part_text(app, "RecentRuns"))
        words = part_text(app, "RecentRuns")
        assert "91.00 %" in words
        assert words.index("pretrained") < words.index("SVC"), "the best first"
        row = next(y for y, line in enumerate(screen_text(app).splitlines()) if "first" in line[:28]) - app.query_one(RecentRuns).region.y
        await pilot.click("RecentRuns", offset=(4, row))
        await until(lambda: loaded == ["first"])
    assert LatestRuns(tmp_path, "gpt").read(5) == []


async def test_the_column_of_runs_says_what_the_run_bar_says(tmp_path: Path) -> None:
    finished_run(tmp_path, "own", 0.9)
    async with opened(tmp_path, tab="convnet", attach="own") as (app, _):
        await until(lambda: "● own" in part_text(app, "RecentRuns") and "90.00 %" in part_text(app, "RunBar"))
        series = app.tab.link.history.held_out["test_accuracy"]
        app.tab.runs._due = float("inf")  # it does not read the folder again
        series.append([30], [0.9321])
        await until(lambda: "93.21 %" in part_text(app, "RunBar"))
        assert "93.21 %" in part_text(app, "RecentRuns"), "at the same time"


def test_a_run_is_read_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        finished_run(tmp_path, name, 0.9)
    read: list[str] = []
    summary = recent_runs.directory.summary
    monkeypatch.setattr(recent_runs.directory, "summary", lambda run: (read.append(run.name), summary(run))[1])
    runs = LatestRuns(tmp_path, "convnet")
    assert sorted(found.name for found in runs.read(5)) == ["first", "second"]
    runs.read(5)
    assert sorted(read) == ["first", "second"]
    later = time.time() + 5
    os.utime(tmp_path / "first" / "events.jsonl", (later, later))
    assert [found.name for found in runs.read(1)] == ["first"]
    assert read[2:] == ["first"]
    shutil.rmtree(tmp_path / "first")
    assert [found.name for found in runs.read(5)] == ["second"]


async def test_only_what_was_measured_on_the_same_data_is_compared(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, _):
        await until(lambda: "pretrained" in part_text(app, "RecentRuns"))
        assert app.tab.form.put("data", "digits")
        await until(lambda: "pretrained" not in part_text(app, "RecentRuns"))


async def test_a_small_window_shows_the_curves_on_every_page_while_training(tmp_path: Path) -> None:
    quick = {"steps": 10**6, "batch": 8, "channels": "2", "threads": 1, "eval_every": 20, "data": "digits"}
    async with opened(tmp_path, (80, 24), tab="convnet", settings=quick) as (app, pilot):
        assert "train loss" not in screen_text(app)
        await pilot.press("f5")
        await until(lambda: "train loss" in part_text(app, "CurveStrip") and "test accuracy" in part_text(app, "CurveStrip"))
        await pilot.press("4")
        await until(lambda: "preset" in screen_text(app) and "train loss" in part_text(app, "CurveStrip"))
        await pilot.press("2")
        await until(lambda: not app.query_one("CurveStrip").is_on_screen)
        await app.tab.link.end()


def test_the_picture_of_an_environment_is_what_has_been_drawn_in() -> None:
    player = _player()
    empty = np.full((400, 600, 3), 255, np.uint8)
    picture = empty.copy()
    picture[300:302] = 0  # a track
    picture[180:300, 290:310] = (200, 150, 100)  # a pole
    cropped = player._cropped(picture, "240x8")
    assert cropped.shape[1] == 600
    assert 122 <= cropped.shape[0] <= 160
    assert player._cropped(empty, "240x8").shape == cropped.shape, "it does not shrink again"
    picture[100:120, :20] = 0
    assert player._cropped(picture, "240x8").shape[0] > cropped.shape[0]
    player._drawn = None
    assert player._cropped(empty, "240x8").shape == empty.shape


def test_a_scene_that_is_too_wide_is_cut_to_where_something_stands_out() -> None:
    player = _player()

    def scene(at: int) -> Any:
        picture = np.full((400, 600, 3), 255, np.uint8)
        picture[300:302] = 0  # a track, the same all along
        picture[180:300, at : at + 20] = (200, 150, 100)
        return picture

    def pole(picture: Any) -> int:
        return int(np.flatnonzero((picture == (200, 150, 100)).all(axis=2).any(axis=0))[0])

    first = player._cropped(scene(290), "60x30")
    assert first.shape[1] == round(first.shape[0] * 60 / 30), "as wide as there is room for"
    assert abs(pole(first) - first.shape[1] // 2) < 20, "around what stands out"
    moved = player._cropped(scene(330), "60x30")
    assert moved.shape == first.shape
    assert pole(moved) == pole(first) + 40, "it moves in the picture, not the picture with it"
    far = player._cropped(scene(570), "60x30")
    assert far.shape[1] > first.shape[1], "all the places where it has been are seen"
    assert pole(player._cropped(scene(290), "60x30")) >= 0
    player._seen = None  # another episode
    assert player._cropped(scene(290), "60x30").shape == first.shape


def _player() -> Player:
    player = Player.__new__(Player)
    player._drawn = player._seen = None
    player._window = slice(0, 0)
    return player


async def test_f2_folds_the_settings_again_wherever_the_focus_is_and_leaves_the_full_window(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press("f2")
        await until(lambda: app.tab.has_class("-settings") and app.tab.form.has_focus_within)
        await pilot.press("2")
        await until(lambda: not app.tab.form.has_focus_within)
        await pilot.press("f2")
        await until(lambda: not app.tab.has_class("-settings"))
        await pilot.press("2", "m")
        await until(lambda: app.screen.maximized is not None)
        await pilot.press("f2")
        await until(lambda: app.screen.maximized is None and app.tab.has_class("-settings"))
        await until(lambda: app.tab.form.has_focus_within)


async def test_the_panel_that_has_the_focus_fills_the_window_and_the_panels_stay_as_they_were(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await until(lambda: app.tab.below is not None and app.tab.below.visible_panels())
        app.tab.inspector.go_to("heads")
        panels = app.tab.inspector.panels
        await until(lambda: [card.name for card in app.tab.inspector.visible_panels()] == ["heads"])
        await pilot.press("m")
        await until(lambda: app.screen.maximized is not None and "escape" in screen_text(app))
        await until(lambda: app.tab.below is not None and not app.tab.below.visible_panels())
        await pilot.pause()
        assert [card.name for card in app.tab.inspector.visible_panels()] == ["heads"]
        await pilot.press("escape")
        await until(lambda: app.screen.maximized is None and app.tab.below is not None and app.tab.below.visible_panels())
        await pilot.pause()
        assert [card.name for card in app.tab.inspector.visible_panels()] == ["heads"]
        assert app.tab.inspector.panels == panels


async def test_the_footer_of_an_option_that_is_typed_says_what_takes_it(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        app.tab.inspector.go_to("ablations")
        await pilot.press("e")
        await until(lambda: "enter apply" in screen_text(app))
