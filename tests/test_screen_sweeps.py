"""A sweep on the screen: its trials, pictures of them, one opened in its tab, one's settings taken into the form."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from dlplay import architectures, cli
from dlplay.experiments.sweep import storage
from dlplay.experiments.sweep.spec import VARIABLE, find, planned
from dlplay.experiments.sweep.spec import names as sweep_names
from dlplay.runs import directory, launch
from dlplay.runs.lock import RunLock, alive
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.dialogs.dialog import ChoiceRow
from dlplay.screen.run import answer
from dlplay.screen.runs.new_sweep import NewSweepDialog
from dlplay.screen.runs.parallel import ParallelCoordinates, positions
from dlplay.screen.runs.sweeps import SweepScreen, SweepsDialog
from dlplay.widgets import LineChart, TableView
from tests.screen_pilot import opened, part_text, screen_text, until

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


@pytest.mark.slow
async def test_a_sweep_is_stopped_and_gone_on_with(runs: Path) -> None:
    with storage.opened(find(runs, "mine"), find(runs, "mine").spec, "") as backend:
        backend.extend(4)
    async with opened(runs, tab="convnet") as (app, pilot):
        await pilot.press("escape", "W")
        await until(lambda: isinstance(app.screen, SweepScreen) and "3 complete of 4 trials" in screen_text(app))
        await pilot.press("s")
        await until(lambda: any("3 of 4 trials have ended, 0 started" in note.message for note in app._notifications))
        await pilot.press("g")
        await until(lambda: "4 complete of 4 trials" in screen_text(app))


async def test_a_sweep_is_deleted_with_its_runs_after_a_question(runs: Path) -> None:
    async with opened(runs, tab="convnet") as (app, pilot):
        await pilot.press("W")
        await until(lambda: isinstance(app.screen, SweepScreen) and "3 complete of 3 trials" in screen_text(app))
        await pilot.press("d")
        await until(lambda: "Delete mine?" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, SweepScreen))
        with RunLock(directory.find(runs, "mine-2").lock_path):
            await pilot.press("d")
            await until(lambda: "Delete mine?" in screen_text(app))
            await pilot.press("d")
            await until(lambda: any("mine-2" in note.message and note.severity == "error" for note in app._notifications))
        assert len(directory.names(runs)) == 3
        await pilot.press("d")
        await until(lambda: "Delete mine?" in screen_text(app))
        await pilot.press("d")
        await until(lambda: len(app.screen_stack) == 1 and any("removed the sweep mine" in note.message for note in app._notifications))
        assert directory.names(runs) == sweep_names(runs) == []


async def test_what_makes_the_trials_hard_to_compare_is_told(tmp_path: Path) -> None:
    command = ["sweep", "convnet", *SEARCH, *SMALL, "--minutes", "5", "--trials", "1", "--name", "mine", "--runs-dir", str(tmp_path)]
    assert cli.run(command) == 0
    async with opened(tmp_path, (80, 24), tab="convnet") as (app, pilot):
        await pilot.press("W")
        await until(lambda: "1 of 1 trials came to their last step before their time was over" in part_text(app, "#sweep-note"))


async def test_of_several_sweeps_one_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"name": name, "architecture": "convnet", "metric": "test_accuracy"} for name in ("one", "two")]

    async def answers(arguments: list[str], runs_dir: Path) -> list[dict[str, Any]]:
        return listed

    monkeypatch.setattr("dlplay.screen.run.answer.answers", answers)
    monkeypatch.setattr("dlplay.experiments.sweep.spec.names", lambda runs_dir: ["one", "two"])
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press("W")
        await until(lambda: isinstance(app.screen, SweepsDialog) and "two" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        await pilot.press("W")
        await until(lambda: isinstance(app.screen, SweepsDialog) and "two" in screen_text(app))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, NewSweepDialog))


# --- a new one ----------------------------------------------------------------------------------------------------------------------------


async def new_sweep(app: PlaygroundApp, pilot: Pilot[None]) -> NewSweepDialog:
    """The dialog, by its keys; there is no sweep yet."""
    await pilot.press("W")
    await until(lambda: isinstance(app.screen, SweepsDialog) and "There is no sweep yet" in screen_text(app))
    await pilot.press("n")
    await until(lambda: isinstance(app.screen, NewSweepDialog) and app.screen.focused is not None)
    assert isinstance(app.screen, NewSweepDialog)
    return app.screen


def put_small(app: PlaygroundApp) -> None:
    """Into the form: settings with which a trial costs nothing."""
    for name, value in {"steps": 4, "eval_every": 2, "channels": "2", "batch": 8, "lr": 0.5, "seeds": "0..3"}.items():
        assert app.tab.form.put(name, value)


async def put(pilot: Pilot[None], line: Input, text: str) -> None:
    """Type it over what stands there."""
    line.focus()
    await pilot.press("end", *["backspace"] * len(line.value), *text)
    await until(lambda: line.value == text)


@pytest.mark.slow
async def test_a_sweep_is_begun_with_the_settings_of_the_tab_and_shown(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        put_small(app)
        dialog = await new_sweep(app, pilot)
        assert dialog.search == ["lr=1e-4..1e-1:log", "channels=8,16/16,32,64"]
        lines = list(dialog.query(".searched").results(Input))
        await put(pilot, lines[1], "channels=2/3")
        await put(pilot, lines[2], "dropout=0..0.5")
        await until(lambda: len(dialog.query(".searched")) == 4)  # there is room for another one
        await put(pilot, lines[0], "")
        await put(pilot, dialog.query_one("#trials", Input), "2")
        await put(pilot, dialog.query_one("#jobs", Input), "2")
        words = "dlplay sweep convnet --search channels=2/3 --search dropout=0..0.5 --trials 2 --jobs 2 --name convnet-sweep-1"
        await until(lambda: words in part_text(app, "#sweep-command"))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, SweepScreen) and "2 complete of 2 trials" in screen_text(app))
        spec = find(tmp_path, "convnet-sweep-1").spec
        assert (spec.search, spec.trials) == ({"channels": "2/3", "dropout": "0..0.5"}, 2)
        assert {name: spec.settings[name] for name in ("steps", "batch", "lr", "seeds")} == {"steps": 4, "batch": 8, "lr": 0.5, "seeds": ""}
        assert "convnet-sweep-1-1 complete" in (tmp_path / ".sweeps" / "convnet-sweep-1" / "log.txt").read_text()
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, NewSweepDialog))
        assert app.screen.query_one("#name", Input).value == "convnet-sweep-2"
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, SweepScreen) and "2 complete of 2 trials" in screen_text(app))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, NewSweepDialog) and app.screen.focused is not None)
        await put(pilot, app.screen.query_one("#trials", Input), "1")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, SweepScreen) and "1 complete of 1 trials" in screen_text(app))


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        ("search", "lr=0.1..0.01", "--search lr=0.1..0.01: a range goes from the lower to the higher number, and 0.1 is not below 0.01"),
        ("search", "dropuot=0..1", "--search dropuot=0..1: there is no setting 'dropuot'; did you mean dropout?"),
        ("search", "channels=2/3", "channels is searched already"),
        ("trials", "0", "--trials 0: use 1 to 100,000"),
        ("trials", "many", "--trials 'many' is not a whole number"),
        ("jobs", "2000", "--jobs 2000 is out of bounds; use 0 to 1024"),
        ("name", "Mine", "'Mine' cannot be a run's name"),
        ("name", "", "'' cannot be a run's name"),
        ("name", "taken", "there is a run or a group 'taken' already"),
    ],
)
async def test_what_cannot_be_begun_is_said_as_on_the_command_line_and_nothing_is_lost(
    line: str, text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.create(tmp_path, "convnet", {}, name="taken")
    started: list[str] = []
    monkeypatch.setattr("dlplay.screen.runs.new_sweep.launch", lambda *_: started.append("a process"))
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        dialog = await new_sweep(app, pilot)
        field = dialog.query(".searched").first(Input) if line == "search" else dialog.query_one(f"#{line}", Input)
        await put(pilot, field, text)
        before = dialog.command
        await pilot.press("enter")
        await until(lambda: words in part_text(app, "#sweep-says"))
        assert dialog.command == before
        assert app.screen is dialog
    assert started == []


async def test_what_a_command_refuses_is_said_in_the_dialog(program: Path, tmp_path: Path) -> None:
    """Such as without the package that it needs."""
    words = "a sweep needs the package optuna: pip install 'dlplay[sweep]'"
    program.write_text(f'#!/bin/sh\necho "dlplay: {words}" >&2\nexit 2\n')
    async with opened(tmp_path / "runs", tab="convnet") as (app, pilot):
        dialog = await new_sweep(app, pilot)
        for _ in range(2):
            await put(pilot, dialog.query_one("#trials", Input), "3")
            await pilot.press("enter")
            await until(lambda: words in part_text(app, "#sweep-says"))
            await put(pilot, dialog.query_one("#trials", Input), "4")
            assert words not in part_text(app, "#sweep-says")
            assert dialog.search


async def test_the_database_is_handed_on_unseen(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the variable does that is named on the command line: no list of processes shows it."""
    monkeypatch.setenv(VARIABLE, "postgresql://before@host/trials")
    got = tmp_path / "got"
    program.write_text(f'#!/bin/sh\necho "$@" > {got}\necho "$DLPLAY_STORAGE" >> {got}\necho "dlplay: not now" >&2\nexit 2\n')
    async with opened(tmp_path / "runs", tab="convnet") as (app, pilot):
        dialog = await new_sweep(app, pilot)
        await put(pilot, dialog.query_one("#storage", Input), "postgresql://me:secret@host/trials")
        await until(lambda: "--storage postgresql://me:***@host/trials" in part_text(app, "#sweep-command").replace("\n", ""))
        assert "postgresql://USER@HOST/DATABASE" in part_text(app, "#sweep-says")
        await pilot.press("enter")
        await until(lambda: "not now" in part_text(app, "#sweep-says"))
        typed, variable = got.read_text().splitlines()
        assert "--storage" not in typed
        assert "secret" not in typed
        assert variable == "postgresql://me:secret@host/trials"
        assert os.environ[VARIABLE] == "postgresql://before@host/trials"  # it was refused, and nothing of it is left


async def test_workers_are_submitted_to_slurm(program: Path, tmp_path: Path) -> None:
    got = tmp_path / "got"
    program.write_text(f'#!/bin/sh\necho "$@" > {got}\necho "dlplay: not now" >&2\nexit 2\n')
    async with opened(tmp_path / "runs", tab="convnet") as (app, pilot):
        dialog = await new_sweep(app, pilot)
        assert not dialog.query_one("#slurm").display
        dialog.query_one("#on").focus()
        await pilot.press("right")
        await until(lambda: "--on slurm" in part_text(app, "#sweep-command"))
        await put(pilot, dialog.query_one("#slurm", Input), "partition=gpu,time=60")
        await put(pilot, dialog.query_one("#jobs", Input), "8")
        assert "Submit --jobs workers" in part_text(app, "#sweep-says")
        await pilot.press("enter")
        await until(lambda: "not now" in part_text(app, "#sweep-says"))
        assert "--jobs 8" in got.read_text()
        assert "--on slurm --slurm partition=gpu,time=60" in got.read_text()
        dialog.query_one("#on").focus()
        await pilot.press("left")
        await until(lambda: "slurm" not in part_text(app, "#sweep-command"))


@pytest.mark.parametrize(
    ("storage", "slurm", "words"),
    [
        ("mysql://host/trials", None, "what was given does not begin with postgresql://"),
        ("", "partition=gpu", "--slurm: say for how many minutes a worker may have its place"),
        ("", "partion=gpu,time=1", "--slurm partion: there is no such option; did you mean partition?"),
    ],
)
async def test_what_a_database_or_slurm_cannot_be_told_is_said_as_on_the_command_line(
    storage: str, slurm: str | None, words: str, tmp_path: Path
) -> None:
    async with opened(tmp_path / "runs", tab="convnet") as (app, pilot):
        dialog = await new_sweep(app, pilot)
        await put(pilot, dialog.query_one("#storage", Input), storage)
        if slurm is not None:
            dialog.query_one("#on").focus()
            await pilot.press("right")
            await until(lambda: dialog.query_one("#slurm").display)
            await put(pilot, dialog.query_one("#slurm", Input), slurm)
        await pilot.press("enter")
        await until(lambda: words in part_text(app, "#sweep-says"))
        assert sweep_names(tmp_path / "runs") == []


@pytest.mark.slow
async def test_a_dialog_that_is_closed_before_the_sweep_is_there_begins_none(program: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 600\n")
    async with opened(tmp_path / "runs", tab="convnet") as (app, pilot):
        await new_sweep(app, pilot)
        await pilot.press("enter")
        await until(lambda: pid.exists() and pid.read_text().endswith("\n") and "starting convnet-sweep-1" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1 and not alive(int(pid.read_text())))


async def test_a_new_sweep_by_palette_and_mouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, (80, 24), tab="gpt") as (app, pilot):
        (command,) = [item for item in app.get_system_commands(app.screen) if item.title == "New sweep of this tab's settings"]
        command.callback()
        await until(lambda: isinstance(app.screen, NewSweepDialog) and "gpt-sweep-1" in part_text(app, "#sweep-command"))
        dialog = app.screen
        assert isinstance(dialog, NewSweepDialog)
        assert dialog.search == ["lr=1e-4..1e-2:log", "width=32,64,128"]
        await pilot.click("#prune", offset=(3, 0))
        await pilot.click("#sampler", offset=(0, 0))
        await until(lambda: "--sampler grid --prune median" in part_text(app, "#sweep-command"))
        assert "Which runs are ended early" not in screen_text(app)
        assert "How values are chosen" in part_text(app, "#sweep-says")
        await pilot.click(ChoiceRow)
        await until(lambda: "--sampler grid needs values" in part_text(app, "#sweep-says"))
        await pilot.press(*["up"] * 9)  # to an empty line
        await until(lambda: "a setting and its values" in part_text(app, "#sweep-says"))


async def test_what_is_typed_in_a_burst_lands_in_the_lines_in_its_order(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        dialog = await new_sweep(app, pilot)
        for key in ("down", "down", *"norm=batch,group", "down", "down", *"9", "tab", "backspace", *"3", "shift+tab", *"0"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        words = "--search norm=batch,group --trials 0 --jobs 3"  # what stands in a line is selected when it gets the focus
        await until(lambda: words in part_text(app, "#sweep-command"))
        assert dialog.search[2:] == ["norm=batch,group"]


def test_every_room_has_an_example_to_search() -> None:
    for card in architectures.cards().values():
        spec = planned(
            card,
            card.settings(),
            (),
            "",
            Path("/nowhere"),
            search=card.search,
            name=None,
            trials=None,
            sampler="tpe",
            prune="none",
            metric=None,
            database=False,
        )
        assert len(spec.search) == 2, card.name


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
