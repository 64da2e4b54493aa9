"""The list of all runs on the screen, and the curves of other runs behind a tab's own."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from dlplay.engine.events import Evaluated, Finished, Started, Stepped
from dlplay.experiments.compare.statistics import Difference, difference
from dlplay.runs import directory, labels
from dlplay.runs.directory import RunDirectory, RunNameError
from dlplay.runs.journal import Journal
from dlplay.runs.lock import Held, RunLock
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.dialogs.palette import Palette
from dlplay.screen.keys import KeyHints
from dlplay.screen.runs import rows
from dlplay.screen.runs.compare import CompareScreen, Report
from dlplay.screen.runs.screen import DeleteDialog, RunsScreen
from dlplay.widgets import LineChart, TableView
from tests.screen_pilot import opened, screen_text, until
from tests.terminal import Terminal


def finished_run(
    folder: Path,
    name: str,
    accuracy: float,
    architecture: str = "convnet",
    *,
    group: str = "",
    parent: str = "",
    parent_step: int = 7,
    **settings: object,
) -> RunDirectory:
    settings = {"steps": 20} | settings
    run = directory.create(folder, architecture, settings, name=name, group=group, parent=parent, parent_step=parent_step)
    journal = Journal(run.journal_path)
    started = {"settings": settings, "device": "cpu", "device_name": "cpu", "threads": 1, "parameters": 1, "data": "", "versions": {}}
    journal.append(Started(step=0, architecture=architecture, name=name, origin="", pid=1, **started))
    journal.append(Stepped(step=20, first=1, metrics={"train_loss": [2.0 - 0.05 * step for step in range(20)]}, seconds=1.0))
    journal.append(Evaluated(step=20, metrics={"test_accuracy": accuracy, "test_loss": 1.0 - accuracy}))
    journal.append(Finished(step=20, reason="steps", seconds=1.0, steps_per_second=20.0, metrics={"test_accuracy": accuracy}, baselines={}))
    journal.close()
    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, accuracy in (("wide", 0.9), ("narrow", 0.7), ("deep", 0.8)):
        finished_run(tmp_path, name, accuracy)
    return tmp_path


async def test_the_list_follows_the_runs_while_it_is_open(runs: Path) -> None:
    async with opened(runs) as (app, pilot):
        screen = await list_of(app, pilot)
        await until(lambda: all(item.summary is not None for item in screen.shown))
        journal = Journal(RunDirectory(runs / "narrow").journal_path)
        journal.append(Evaluated(step=40, metrics={"test_accuracy": 0.7654, "test_loss": 0.3}))
        journal.close()
        await until(lambda: "76.54 %" in screen_text(app), 20)
        finished_run(runs, "late", 0.5)
        await until(lambda: "late" in listed(app), 20)
        looked: list[list[rows.Item]] = []
        changed = screen._changed
        screen._changed = lambda known: (looked.append(changed(known)), looked[-1])[1]  # type: ignore[method-assign]
        await until(lambda: len(looked) > 2, 20)
        assert looked[1:] == [[]] * len(looked[1:]), "nothing has changed, and nothing is drawn again"


def listed(app: PlaygroundApp) -> list[str]:
    assert isinstance(app.screen, RunsScreen)
    return [item.name for item in app.screen.shown]


async def list_of(app: PlaygroundApp, pilot: object, count: int = 3) -> RunsScreen:
    app.action_runs()
    await until(lambda: isinstance(app.screen, RunsScreen) and len(app.screen.shown) == count)
    screen = app.screen
    assert isinstance(screen, RunsScreen)
    await until(lambda: all(item.summary for item in screen.shown))
    return screen


async def test_runs_are_filtered_as_one_types_and_sorted_by_any_column(runs: Path) -> None:
    labels.write(directory.find(runs, "deep"), ("first-try",), "three layers")
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot)
        assert "#first-try three layers" in screen_text(app)
        assert "90.00 %" in screen_text(app)
        await pilot.press("slash", *"row")
        await until(lambda: listed(app) == ["narrow"])
        screen.query_one("#runs-filter", Input).value = "#first convnet finished"
        await until(lambda: listed(app) == ["deep"])
        screen.query_one("#runs-filter", Input).value = ""
        await pilot.press("enter")
        await until(lambda: isinstance(app.focused, TableView))
        await until(lambda: len(listed(app)) == 3)
        for order in (["deep", "narrow", "wide"], ["wide", "narrow", "deep"]):  # by name, in both directions
            await pilot.press("s" if order[0] == "deep" and screen.sorted_by else "S")
            while screen.sorted_by:
                await pilot.press("s")
            assert listed(app) == order
        await pilot.click(TableView, offset=(50, 0))  # the head of the column that is there
        column = screen.sorted_by
        assert column
        await pilot.click(TableView, offset=(50, 0))
        assert (screen.sorted_by, screen.reverse) == (column, True)


async def test_marks_stay_in_sight_when_the_list_is_drawn_anew(runs: Path) -> None:
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot)
        await until(lambda: len(listed(app)) == 3)
        await pilot.press("x", "x", "x")
        await until(lambda: "3 marked" in screen_text(app))
        screen._draw()
        assert sum(line.lstrip().startswith("●") for line in screen_text(app).splitlines()) == 3


async def test_keys_that_come_at_once_are_taken_one_after_the_other(runs: Path) -> None:
    """As over a slow line: `/`, a name, and enter twice arrive in one packet."""
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot)
        for key in ("slash", *"narrow", "enter", "x", "slash", "o"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: screen.query_one("#runs-filter", Input).value == "o")  # which replaces what was selected
        assert app.screen is screen
        assert screen._marked == {"narrow"}


async def test_branches_stand_below_their_parent_unless_the_list_is_sorted(runs: Path) -> None:
    for name, parent in (("wider", "wide"), ("widest", "wider"), ("tall", "wide")):
        finished_run(runs, name, 0.5, parent=parent)
    for age, name in enumerate(("deep", "widest", "tall", "wider", "wide", "narrow")):
        os.utime(directory.find(runs, name).journal_path, (1e9 - age, 1e9 - age))
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot, 6)
        table = screen.query_one(TableView)

        def names() -> list[str]:
            return [row[0] for row in table.rows]

        family = ["wide", "├ tall", "└ wider", "  └ widest"]
        await until(lambda: names() == ["deep", *family, "narrow"])
        assert "branch of wider from step 7" in screen_text(app)
        await pilot.press("down", "down", "x")
        await until(lambda: screen.chosen[0].name == "tall")
        await pilot.press("S")  # the oldest first, without lines
        await until(lambda: names() == ["narrow", "wide", "wider", "tall", "widest", "deep"])
        await pilot.press("S", "slash", *"wider")
        await until(lambda: names() == ["wider", "└ widest"])


async def test_a_group_is_one_line_and_a_branch_stands_below_its_parent(runs: Path) -> None:
    for seed, accuracy in enumerate((0.81, 0.82, 0.86)):
        finished_run(runs, f"many-s{seed}", accuracy, group="many", seed=seed, lr=0.01)
    finished_run(runs, "half", 0.5, parent="deep", parent_step=10)
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot, 5)
        names = listed(app)
        assert names[names.index("deep") + 1] == "half"
        await until(lambda: "└ half" in screen_text(app) and "branch of deep from step 10" in screen_text(app))
        (line,) = [line for line in screen_text(app).splitlines() if "+ many" in line]
        assert "finished" in line
        assert "82.00 %" in line
        assert "lr 0.01" in line
        assert "seed" not in line
        assert "median of 3 runs" in line
        row = names.index("many") + 1
        await pilot.click(TableView, offset=(5, row))  # a click moves the cursor, a second one chooses
        assert listed(app) == names
        await pilot.click(TableView, offset=(5, row))
        await until(lambda: set(listed(app)) == {*names, "many-s0", "many-s1", "many-s2"})
        await pilot.press("x")
        assert {item.name for item in screen.chosen} == {"many-s0", "many-s1", "many-s2"}
        await pilot.press("up", "e")
        await until(lambda: any("many is a group" in note.message for note in app._notifications))
        hints = screen.query_one(KeyHints)
        y, start, _, _ = next(span for span in hints._spans if span[3].binding.action == "compare")
        await pilot.click(KeyHints, offset=(start, y))
        await until(lambda: isinstance(app.screen, CompareScreen) and "3 runs of ConvNet" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.screen is screen)
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, Palette) and "rename (e)" in screen_text(app))


async def test_a_run_is_tagged_noted_renamed_exported_and_opened(runs: Path) -> None:
    async with opened(runs, tab="gpt") as (app, pilot):
        screen = await list_of(app, pilot)
        screen.query_one("#runs-filter", Input).value = "wide"
        await until(lambda: listed(app) == ["wide"])
        for key, words in (("t", "good, wide"), ("n", "the one to keep"), ("e", "best")):
            await pilot.press(key)
            line = screen.query_one("#runs-line", Input)
            await until(lambda line=line: line.has_focus)  # type: ignore[misc]
            line.value = words
            await pilot.press("enter")
            await until(lambda line=line: not line.display)  # type: ignore[misc]
        screen.query_one("#runs-filter", Input).value = "#good"
        await until(lambda: listed(app) == ["best"] and "the one to keep" in screen_text(app))
        assert labels.read(directory.find(runs, "best")) == labels.Labels(tags=("good", "wide"), note="the one to keep")
        await pilot.press("w")
        screen.query_one("#runs-line", Input).value = str(runs / "curves.csv")
        await pilot.press("enter")
        await until(lambda: (runs / "curves.csv").exists())
        assert "train_loss" in (runs / "curves.csv").read_text()
        await pilot.press("enter")
        await until(lambda: app.opened == "convnet" and app.opened in app.tabs)
        await until(lambda: app.tab.link.run is not None and app.tab.link.run.name == "best")


async def test_an_export_that_cannot_be_started_is_told(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(arguments: list[str], log: Path) -> None:
        raise OSError(28, "No space left on device")

    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot)
        monkeypatch.setattr("dlplay.screen.runs.screen.launch", full)
        await pilot.press("w", "enter")
        await until(lambda: any("No space left on device" in note.message for note in app._notifications))
        assert app.screen is screen


async def test_a_wrong_answer_is_told_and_can_be_corrected(runs: Path) -> None:
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot)
        await pilot.press("e")
        line = screen.query_one("#runs-line", Input)
        line.value = "NO"
        await pilot.press("enter")
        await until(lambda: any("cannot be a run's name" in note.message for note in app._notifications))
        assert line.has_focus
        await pilot.press("escape")
        assert not line.display
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, RunsScreen))


async def test_marked_runs_are_deleted_after_a_question_but_those_in_use_are_not(runs: Path) -> None:
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot)
        first, second, third = listed(app)
        with RunLock(runs / second / "lock"):
            await pilot.press("x", "x", "d")
            await until(lambda: isinstance(app.screen, DeleteDialog))
            directory.remove(RunDirectory(runs / first))  # another screen was quicker
            await pilot.press("d")
            await until(lambda: listed_is(app, [second, third]))
        assert any("is held by process" in note.message for note in app._notifications)
        assert screen is app.screen


@pytest.mark.slow
def test_two_screens_compare_and_delete_the_same_runs(runs: Path) -> None:
    finished_run(runs, "last", 0.5)
    with Terminal("convnet", "--runs-dir", str(runs)) as one, Terminal("convnet", "--runs-dir", str(runs)) as other:
        for screen in (one, other):
            screen.until("held-out image 0")
            screen.press("R")
            screen.until("4 runs")
            screen.press("/", *"finished", "enter", "x", "x", "x")
            screen.until("3 marked")
        one.press("c")  # which reads them while the other screen deletes them
        other.press("d")
        other.until("this cannot be undone")
        other.press("d")
        other.until(lambda: re.search(r"Runs +1 run", other.text))
        one.until(lambda: "takes more seeds" in one.text or "no run" in one.text)
        one.press("escape")
        one.until("enter open")
        left = directory.names(runs)
        assert len(left) == 1

        # both ask about the last one, and both say yes
        for screen in (one, other):
            screen.press("escape")
            screen.until(lambda screen=screen: "enter open" not in screen.text)  # type: ignore[misc]
            screen.press("R")
            screen.until(lambda screen=screen: re.search(r"Runs +1 run", screen.text))  # type: ignore[misc]
            screen.press("d")
            screen.until(f"Delete {left[0]}?")
        one.press("d")
        other.press("d")
        for screen in (one, other):
            screen.until(lambda screen=screen: re.search(r"Runs +0 runs", screen.text))  # type: ignore[misc]
            assert screen.status is None
        assert directory.names(runs) == []


def listed_is(app: PlaygroundApp, names: list[str]) -> bool:
    return isinstance(app.screen, RunsScreen) and sorted(listed(app)) == sorted(names)


async def test_marked_runs_are_drawn_over_each_other(runs: Path) -> None:
    finished_run(runs, "other", 0.5, architecture="gan")
    async with opened(runs, (220, 60), tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot, 4)
        screen.query_one("#runs-filter", Input).value = "convnet"
        await until(lambda: len(listed(app)) == 3)
        await pilot.press("x", "x", "x", "o")
        await until(lambda: not isinstance(app.screen, RunsScreen))
        await until(lambda: sorted(names_behind(app)) == ["deep", "narrow", "wide"])
        await until(lambda: "■ wide" in screen_text(app))
        directory.remove(directory.find(runs, "deep"))
        await pilot.press("E")
        await until(lambda: names_behind(app) == [])
        await pilot.press("E")
        await until(lambda: sorted(names_behind(app)) == ["narrow", "wide"])


async def test_marked_runs_are_compared_and_a_group_is_one_of_them(runs: Path) -> None:
    for seed in range(3):
        finished_run(runs, f"many-s{seed}", 0.8 + 0.01 * seed, group="many")
    async with opened(runs, tab="convnet") as (app, pilot):
        screen = await list_of(app, pilot, 4)
        screen.query_one("#runs-filter", Input).value = "many"
        await until(lambda: listed(app) == ["many"])
        await pilot.press("x")
        screen.query_one("#runs-filter", Input).value = "deep"
        await until(lambda: listed(app) == ["deep"])
        await pilot.press("x", "c")
        await until(lambda: isinstance(app.screen, CompareScreen) and "test accuracy" in screen_text(app))
        assert isinstance(app.screen, CompareScreen)
        assert sorted(app.screen.names) == ["deep", "many"]
        assert "3 runs of ConvNet" in screen_text(app)
        words = "\n".join("".join(segment.text for segment in row) for row in app.screen.query_one(Report)._rows)
        assert "many has a better mean than deep, by 1.00 points" in " ".join(words.split())
        await pilot.resize_terminal(80, 24)
        await until(lambda: app.screen.query_one(Report).virtual_size.width < 80)
        await pilot.press("x")
        await until(lambda: app.screen._axis == 1)  # type: ignore[attr-defined]
        await pilot.press("escape")
        await until(lambda: app.screen is screen)


def names_behind(app: PlaygroundApp) -> list[str]:
    chart = app.tab.query(LineChart).first()
    return [curve.name.removesuffix(" test") for curve in chart.curves if curve.marker]


async def test_the_screen_does_not_wait_for_the_statistics(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def noted(*groups: list[object]) -> Difference:
        threads.add(threading.current_thread())
        return difference(*groups)  # type: ignore[arg-type]

    monkeypatch.setattr("dlplay.experiments.compare.comparison.difference", noted)
    for number in range(2):
        finished_run(runs, f"g-s{number}", 0.5, group="g")
    async with opened(runs, tab="convnet") as (app, pilot):
        await list_of(app, pilot, 4)
        await pilot.press("x", "x", "x", "x", "c")
        await until(lambda: isinstance(app.screen, CompareScreen) and "95 % interval" in screen_text(app))
    assert threads
    assert threading.main_thread() not in threads


async def test_the_run_before_stays_behind_the_next_one(tmp_path: Path) -> None:
    quick = {"steps": 6, "batch": 8, "channels": "2", "eval_every": 2, "threads": 1}
    async with opened(tmp_path, tab="convnet", settings=quick) as (app, pilot):
        for number in (1, 2, 3):
            await pilot.press("r")
            await until(lambda number=number: app.tab.link.run is not None and app.tab.link.run.name == f"convnet-{number}")  # type: ignore[misc]
            await until(lambda: app.tab.link.state == "paused")
            await pilot.press("space")
            await until(lambda: app.tab.link.history.finished is not None)
            await until(lambda number=number: names_behind(app) == [f"convnet-{before}" for before in range(1, number)])  # type: ignore[misc]
        first = directory.find(tmp_path, "convnet-1")
        app.do(app.tab, app.tab.controls.load(first.name, run=True, train=False))
        await until(lambda: names_behind(app) == ["convnet-2", "convnet-3"])  # a run is not behind itself


async def test_seeds_in_the_form_train_a_group(tmp_path: Path) -> None:
    quick = {"steps": 6, "batch": 8, "channels": "2", "eval_every": 2, "threads": 1, "seeds": "0..2", "jobs": 1}
    async with opened(tmp_path, tab="convnet", settings=quick) as (app, pilot):
        await pilot.press("space")
        await until(lambda: app.tab.link.run is not None and app.tab.link.run.name == "convnet-seeds-1-s0")
        await until(lambda: "3 seeds" in screen_text(app))
        await until(lambda: {item.state for item in directory.listing(tmp_path)} == {"finished"})
        await until(
            lambda: "median, quartiles" in (tmp_path / "convnet-seeds-1-s0" / "group.txt").read_text()
        )  # though a screen is attached
        assert {run.name for run in directory.members(tmp_path, "convnet-seeds-1")} == set(directory.names(tmp_path))
        assert "3 of 3 runs to train, 1 at a time" in (tmp_path / "convnet-seeds-1-s0" / "group.txt").read_text(), "the form's jobs"


@pytest.mark.parametrize(("members", "low", "high"), [(3, 0.70, 0.80), (5, 0.72, 0.78)])
async def test_a_group_of_seeds_is_drawn_as_its_median_with_a_band(tmp_path: Path, members: int, low: float, high: float) -> None:
    """Of few members the band is their range, else the quartiles; runs of a group with other settings are no seeds of one run."""
    values = [0.70, 0.75, 0.80] if members == 3 else [0.60, 0.72, 0.75, 0.78, 0.90]
    for seed, value in enumerate(values):
        finished_run(tmp_path, f"many-s{seed}", value, group="many", seed=seed)
    finished_run(tmp_path, "many-wide", 0.99, group="many", steps=30)
    async with opened(tmp_path, tab="convnet") as (app, _):
        app.do(app.tab, app.tab.controls.load("many-s1", run=True, train=False))
        accuracy = next(chart for chart in app.tab.query(LineChart) if chart.percent)
        await until(lambda: any(curve.bands for curve in accuracy.curves))
        *_, median = accuracy.curves
        (band,) = median.bands
        assert (median.y[-1], band.low[-1], band.high[-1]) == pytest.approx((0.75, low, high))
        await until(lambda: f"test, {members} seeds 75.0 %" in screen_text(app))
        assert [curve.y[-1] for curve in accuracy.curves if curve.behind and curve.y[-1] in values] == [values[1]]
        app.tab.link.companions.revision += 1  # drawn again, though nothing has changed
        await until(lambda: accuracy.curves[-1] is not median)
        assert accuracy.curves[-1].bands == median.bands
        app.tab.link.leave()
        await until(lambda: names_behind(app) == [f"many, {members} seeds"])


def test_a_run_that_is_held_keeps_its_name_and_no_name_is_taken_twice(runs: Path) -> None:
    wide = directory.find(runs, "wide")
    with RunLock(wide.lock_path), pytest.raises(Held):
        directory.rename(wide, "other")
    for name in ("deep", "../x", "-x", ""):
        with pytest.raises(RunNameError):
            directory.rename(wide, name)
    assert directory.names(runs) == ["deep", "narrow", "wide"]
    assert directory.rename(wide, "best").name == "best"
    assert directory.names(runs) == ["best", "deep", "narrow"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"tags": "x"}', b'{"tags": ["a b"]}', b'{"note": 5}', b"[" * 100_000, b'{"note": "' + b"x" * 3000]
)
def test_labels_that_are_not_ours_count_as_none(runs: Path, content: bytes) -> None:
    run = directory.find(runs, "wide")
    (run.path / labels.FILE).write_bytes(content)
    assert labels.read(run) == labels.NONE


def test_labels_are_bounded(runs: Path) -> None:
    run = directory.find(runs, "wide")
    for tags in ("a/b", "x" * 41, " ".join(map(str, range(33)))):
        with pytest.raises(RunNameError):
            labels.parse_tags(tags)
    with pytest.raises(RunNameError, match="2,000 characters"):
        labels.write(run, (), "x" * 2001)
    labels.write(run, ("a",), "two\nlines")
    assert json.loads((run.path / labels.FILE).read_text()) == {"tags": ["a"], "note": "two lines"}
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".labels")] == []


async def test_the_keys_of_a_long_list_are_seen_in_a_small_window(tmp_path: Path) -> None:
    for number in range(25):
        finished_run(tmp_path, f"convnet-{number}", 0.5)
    async with opened(tmp_path, (80, 24), tab="convnet") as (app, pilot):
        await pilot.press("o")
        await until(lambda: "convnet-24" in screen_text(app))
        await until(lambda: all(words in screen_text(app) for words in ("train a new run from these weights", "esc    close")))
