"""The settings form: bounds in words as you type, choices, presets, what waits for a reset."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from textual.widgets import Input

from dlplay import architectures
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.form.form import SettingsForm
from dlplay.screen.run.run_link import RunLink
from tests.screen_pilot import opened, part_text, screen_text, until


def go_to(form: SettingsForm, name: str) -> None:
    form.fold(False)
    form.go_to(name)
    form.query_one("#form-scroll").focus()
    form.draw()


def editor(app: PlaygroundApp) -> Input:
    return app.tab.form.query_one("#editor-input", Input)


async def test_a_value_out_of_bounds_is_told_while_it_is_typed(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        form = app.tab.form
        go_to(form, "lr")
        await pilot.press("enter")
        await until(lambda: editor(app).has_focus)
        await pilot.press(*"1e9")
        await until(lambda: "out of bounds" in part_text(app, "SettingsForm"))
        await pilot.press("enter")
        assert form.editing
        assert form.values["lr"] == form.fields["lr"].default
        await pilot.press("escape")
        await until(lambda: not form.editing)
        assert "out of bounds" not in part_text(app, "SettingsForm")
        assert form.values["lr"] == form.fields["lr"].default


async def test_a_folder_that_is_not_there_is_told_while_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        form = app.tab.form
        go_to(form, "data")
        await pilot.press("enter")
        await until(lambda: editor(app).has_focus)
        editor(app).value = "own-images"
        await until(lambda: "there is no" in part_text(app, "SettingsForm"))
        editor(app).value = "own"
        await until(lambda: "there is no" not in part_text(app, "SettingsForm"))
        editor(app).value = "own-images"
        await pilot.press("enter")
        await until(lambda: not form.editing)
        assert form.values["data"] == str(tmp_path / "own-images")  # it may be put there before the training begins


async def test_while_a_value_is_typed_the_footer_says_what_takes_it(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        go_to(app.tab.form, "lr")
        await pilot.press("enter")
        await until(lambda: "enter apply  esc leave the field" in screen_text(app).splitlines()[-1])


async def test_a_good_value_is_taken_with_enter(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        form = app.tab.form
        go_to(form, "batch")
        await pilot.press("enter")
        await until(lambda: editor(app).has_focus)
        await pilot.press(*"17", "enter")
        await until(lambda: not form.editing)
        assert form.values["batch"] == 17
        assert form.settings.batch == 17  # type: ignore[attr-defined]
        await pilot.press("backspace")
        assert form.values["batch"] == form.fields["batch"].default


async def test_what_is_typed_is_not_markup(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        go_to(app.tab.form, "batch")
        await pilot.press("enter")
        await until(lambda: editor(app).has_focus)
        editor(app).value = "[/red]"
        await until(lambda: "[/red]" in app.tab.form.problem)
        await pilot.press("enter", "escape")
        await until(lambda: not app.tab.form.editing)


def row_of_form(app: PlaygroundApp, row: int) -> str:
    """What stands in this row of the settings above the editor."""
    region = app.screen.query("#rows-above").first().region
    return screen_text(app).splitlines()[region.y + row][region.x : region.right]


async def test_choices_cycle_with_the_arrows_and_the_mouse(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        form = app.tab.form
        choices = list(form.fields["norm"].choices)
        go_to(form, "norm")
        before = form.values["norm"]
        await pilot.press("right")
        assert form.values["norm"] == choices[(choices.index(before) + 1) % len(choices)]
        await pilot.press("left")
        assert form.values["norm"] == before
        row = form.lines.index("norm")
        await pilot.click("#rows-above", offset=(row_of_form(app, row).index("‹"), row))
        await until(lambda: form.values["norm"] == choices[choices.index(before) - 1])


async def test_a_click_on_a_value_edits_it(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        app.tab.show_all_settings(True)
        await until(lambda: "batch" in part_text(app, "#rows-above"))
        row = app.tab.form.lines.index("batch")
        line = row_of_form(app, row)
        await pilot.click("#rows-above", offset=(line.index(str(app.tab.form.values["batch"])), row))
        await until(lambda: editor(app).has_focus)
        assert editor(app).value == str(app.tab.form.values["batch"])


async def test_a_preset_sets_its_values_and_says_why(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        form = app.tab.form
        form.query_one("#form-scroll").focus()
        await pilot.press("home", "right")
        name = next(iter(form.card.presets))
        assert form.preset == name
        for field, value in form.card.presets[name].values.items():
            assert form.values[field] == value
        first_word = form.card.presets[name].why.split()[0]
        await until(lambda: first_word in part_text(app, "#form-help"))
        await pilot.press("ctrl+r")
        await until(lambda: form.preset == "")
        assert form.values == {field.name: field.default for field in form.fields.values()}


async def test_the_row_under_the_cursor_says_what_it_does(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        go_to(app.tab.form, "seed")
        await until(lambda: "the same seed gives the same initial weights" in part_text(app, "#form-help"))
        await pilot.press("down", "up", "pagedown", "end", "home")
        assert app.tab.form.cursor == 0


async def test_a_change_in_mid_run_says_when_it_takes_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="convnet") as (app, _):
        form = app.tab.form
        monkeypatch.setattr(app.tab, "draw_changes", lambda: None)  # there is no run
        form.show_running({**form.values})
        assert form.pending == []
        form.put("batch", "17")
        form.put("steps", "99")
        assert sorted(form.pending) == ["batch", "steps"]
        await until(lambda: "Settings 1 on reset" in part_text(app, "#form-title"))
        await until(lambda: "17 on reset" in part_text(app, "#rows-above") and "99 next step" in part_text(app, "#rows-above"))


async def test_a_preset_that_is_chosen_in_mid_run_is_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key that changes many settings must not turn a run that trains into another one."""
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        form = app.tab.form
        set_in_the_run = AsyncMock()
        monkeypatch.setattr(app.tab, "draw_changes", lambda: None)  # there is no run
        monkeypatch.setattr(app.tab.link, "set", set_in_the_run)
        monkeypatch.setattr(RunLink, "attached", True)
        form.show_running({**form.values})
        form.choose_preset(next(name for name, preset in form.card.presets.items() if "lr" in preset.values))
        changed = form.pending
        assert "lr" in changed
        assert form.fields["lr"].live
        await until(lambda: f"Settings {len(changed)} on reset" in part_text(app, "#form-title"))
        await pilot.pause()
        set_in_the_run.assert_not_awaited()
        value = form.values["lr"]
        form.put("lr", value)  # confirmed by a person
        await until(lambda: set_in_the_run.await_args == (("lr", value),))
        assert form.live("lr"), "one that a person sets by itself takes effect at once"
        form.choose_preset("")
        form.choose_preset("")
        assert form.pending == []
        assert form.live("lr"), "back to the run's values"


async def test_settings_given_on_the_command_line_stand_in_the_form(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", settings={"steps": 321, "batch": 9}) as (app, _):
        assert (app.tab.form.values["steps"], app.tab.form.values["batch"]) == (321, 9)
        await until(lambda: "321" in part_text(app, "#rows-above"))


def test_a_preset_is_recognised_by_its_settings() -> None:
    card = architectures.card("recurrent")
    values = dict(card.presets["adding-gru"].values)
    assert SettingsForm(card, values | {"seed": 7}).preset == "adding-gru"
    assert SettingsForm(card, values | {"width": 33}).preset == ""
    assert SettingsForm(card).preset == ""


async def test_the_row_under_the_cursor_is_in_sight_after_the_form_had_the_whole_window(tmp_path: Path) -> None:
    async with opened(tmp_path, (140, 32), tab="convnet") as (app, pilot):
        form = app.tab.form
        app.tab.show_all_settings(True)
        form.query_one("#form-scroll").focus()
        await pilot.press("end")
        await until(lambda: "save every" in part_text(app, "SettingsForm"))
        await pilot.press("m")
        await until(lambda: form.size.width > 100)
        await pilot.press("escape")
        await until(lambda: form.size.width < 100)
        await until(lambda: "save every" in part_text(app, "SettingsForm"))


async def test_settings_that_change_nothing_are_hidden(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="autoencoder") as (app, pilot):
        form = app.tab.form
        go_to(form, "noise")
        assert not {"noise_level", "test_noise", "beta", "rho", "whiten"} & set(form.lines)
        await pilot.press("right")
        await until(lambda: {"noise_level", "test_noise"} <= set(form.lines))
        assert form.lines[form.cursor] == "noise"
        form.go_to("variational")
        await pilot.press("right")
        await until(lambda: "beta" in form.lines)
        assert form.lines[form.cursor] == "variational"  # a row has come above the cursor


async def test_a_changed_setting_that_changes_nothing_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="autoencoder") as (app, pilot):
        form = app.tab.form
        go_to(form, "variational")
        assert form.put("variational", True)
        assert form.put("beta", 4.0)
        assert "no effect" not in part_text(app, "SettingsForm")
        assert form.put("variational", False)
        form.go_to("beta")
        await until(lambda: "no effect" in part_text(app, "SettingsForm"))
        assert "--variational" in str(form.help())
        form.fold(True)
        assert {row.label: row.note for row in form.rows()}["beta"] == "no effect"
        form.fold(False)
        form.go_to("beta")
        await pilot.press("backspace")
        await until(lambda: "beta" not in form.lines)


async def test_how_many_settings_there_are_counts_those_that_apply(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="autoencoder", size=(140, 42)) as (app, _):
        form = app.tab.form
        applying = [name for name in form.fields if name not in form.settings.unused()]
        assert form.folded
        await until(lambda: f"F2 all ({len(applying)})" in part_text(app, "SettingsForm"))
