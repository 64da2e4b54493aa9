"""The screen and a run: started, steered, killed, resumed, left; replayed from its journal; refused in words."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dlplay.architectures.convnet.settings import ConvNetSettings
from dlplay.engine.events import Applied, Baselines, Evaluated, Failed, Finished, Saved, Started, Status, Stepped
from dlplay.engine.settings import to_dict
from dlplay.runs import directory
from dlplay.runs.journal import Journal
from dlplay.runs.launch import Launched
from dlplay.runs.launcher import Process
from dlplay.runs.lock import RunLock, holder
from dlplay.screen.run.peer import Peer, PeerDied
from dlplay.screen.run.run_link import RunLink
from dlplay.widgets import LineChart
from tests.conftest import Dlplay
from tests.screen_pilot import opened, part_text, screen_text, until
from tests.test_screen_runs import finished_run

QUICK = {"steps": 100_000, "batch": 16, "channels": "4", "eval_every": 50, "save_every": 50, "threads": 1}


def started(steps: int) -> Started:
    """The first event of a run."""
    settings = {"steps": steps}
    return Started(architecture="convnet", name="it", settings=settings, device="cpu", device_name="", threads=1, parameters=1, data="")


async def test_a_run_is_trained_changed_killed_resumed_and_left(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", settings=QUICK) as (app, pilot):
        link = app.tab.link
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.step > 100)
        await until(lambda: "test accuracy" in part_text(app, "RunBar") and "▶ training" in part_text(app, "RunBar"))
        await until(lambda: "▶" in part_text(app, "TabBar"))
        await until(lambda: "layer 0, 4 of 3x3" in part_text(app, "#right Inspector"))  # a panel answered

        # a live setting takes effect at once and is marked
        app.tab.form.put("eval_every", "40")
        await until(lambda: (link.history.settings["eval_every"], [words for _, words in link.history.marks]) == (40, ["eval every 40"]))
        app.tab.form.put("batch", "8")
        await until(lambda: "1 on reset" in part_text(app, "#form-title"))

        # pause holds it, a single step is one step
        await pilot.press("space")
        await until(lambda: link.state == "paused")
        await until(lambda: link.history.paused)
        before = link.history.step
        await pilot.press("s")
        await until(lambda: link.history.step == before + 1)
        await pilot.press("ctrl+s")
        await until(lambda: link.history.saved_step == before + 1)

        # killed: told in words, with what to do
        assert link.history.started is not None
        os.kill(link.history.started.pid, signal.SIGKILL)
        await until(lambda: "killed by signal 9 (SIGKILL)" in part_text(app, ".dialog"))
        assert f"checkpoint is from step {before + 1:,}" in part_text(app, ".dialog")
        await pilot.press("escape")
        await until(lambda: "interrupted" in part_text(app, "RunBar"))

        # and it goes on from there
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.step > before + 10)
        steps = link.history.training["train_loss"].x
        assert np.array_equal(steps, np.arange(1, len(steps) + 1))

        # stopped, it says so, and goes on when it is told to
        await pilot.press("ctrl+x")
        await until(lambda: "□ stopped" in part_text(app, "RunBar"))
        stopped = link.history.step
        await until(lambda: f"the run was stopped at step {stopped:,}" in part_text(app, "ActionStage"))
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.step > stopped)

        # reset ends it, keeps it, and starts afresh, paused, with the settings of the form
        run = link.run
        await pilot.press("r")
        await until(lambda: link.run is not None and run is not None and link.run.name != run.name and link.state == "paused", 90)
        assert link.history.step == 0
        assert link.history.settings["batch"] == 8
        assert directory.names(tmp_path) == ["convnet-1", "convnet-2"]

        # leaving asks, and what is stopped is gone
        await pilot.press("q")
        await until(lambda: "stop and save" in screen_text(app))
        await pilot.press("s")
        await until(lambda: app._exit)
    await until(lambda: all(holder(tmp_path / name / "lock") is None for name in ("convnet-1", "convnet-2")))


async def test_after_a_failure_the_form_says_what_starts(tmp_path: Path) -> None:
    wild = {"optimizer": "sgd", "norm": "none", "schedule": "constant", "lr": 10.0, "save_every": 1000, "eval_every": 1000}
    async with opened(tmp_path, tab="convnet", settings=QUICK | wild) as (app, pilot):
        link = app.tab.link
        await pilot.press("space")
        await until(lambda: "The run failed" in screen_text(app))
        assert link.history.failure is not None
        failed_at = link.history.failure.step
        await pilot.press("escape")
        await until(lambda: link.state == "failed" and len(app.screen_stack) == 1)
        assert app.tab.form.put("lr", "0.0001")
        assert app.tab.form.put("batch", "9")  # which takes another run
        await pilot.press("space")
        await until(lambda: "batch: takes effect when you start over (r)" in screen_text(app))
        await until(lambda: link.state == "training" and link.history.step > failed_at)
        assert (link.history.settings["lr"], link.history.settings["batch"]) == (0.0001, 16)
        assert any(words == "lr 0.0001" for _, words in link.history.marks)
        assert directory.names(tmp_path) == ["convnet-1"]
        await pilot.press("ctrl+x")
        await until(lambda: link.state == "stopped")


@pytest.mark.parametrize("late", [False, True])
async def test_a_run_that_has_failed_is_commanded_no_more_though_its_process_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """`late`: the end of its process is noticed when the one that resumes the run has begun already."""
    async with opened(tmp_path, tab="convnet", settings=QUICK) as (app, pilot):
        link = app.tab.link
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.saved_step is not None)
        assert link._peer is not None
        assert link._peer.process is not None
        process = link._peer.process
        assert link._peer.client is not None
        assert link.status is not None
        receive, failed = link._receive, msgspec.structs.replace(link.status, state="failed")
        link._peer._on_event = link._peer.client._on_event = lambda event: receive(failed if isinstance(event, Status) else event)
        await until(lambda: link.state == "failed")
        assert not link.attached
        assert not await link.save()
        await link.step_once()
        await link.set("lr", 0.01)
        if late:
            before, launch = link._peer, Peer.launch
            link._peer.client._on_closed = lambda *_: None

            async def launched(peer: Peer, arguments: list[str]) -> None:
                before._closed()
                await launch(peer, arguments)

            monkeypatch.setattr(Peer, "launch", launched)
        await pilot.press("s")  # which resumes it for a step once the process has gone
        os.kill(process.pid, signal.SIGTERM)
        await until(lambda: link.state == "paused")
        assert len(app.screen_stack) == 1
        await link.end()


async def test_a_connection_that_breaks_is_made_again_while_the_run_lives(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", settings=QUICK) as (app, pilot):
        link = app.tab.link
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.step > 20)
        assert link.run is not None
        door, aside = link.run.socket_path, link.run.path / "aside"
        door.rename(aside)
        assert link._peer is not None
        assert link._peer.client is not None
        link._peer.client._writer.transport.abort()
        await until(lambda: "▷ reconnecting" in part_text(app, "RunBar"))
        behind = link.history.step
        await until(lambda: link.history.step > behind)  # its journal is read on
        assert len(app.screen_stack) == 1
        await pilot.press("q")
        await until(lambda: "keep it running" in screen_text(app))
        await pilot.press("escape")
        aside.rename(door)
        await until(lambda: link.state == "training")
        assert await link.save()
        await pilot.press("ctrl+x")
        await until(lambda: link.state == "stopped")


async def test_a_run_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", settings={"data": str(tmp_path / "nowhere")}) as (app, pilot):
        await pilot.press("space")
        await until(
            lambda: "could not start" in screen_text(app) and "nowhere" in "".join(screen_text(app).split())
        )  # a long path is cut anywhere
        assert "Traceback" not in screen_text(app)
        await pilot.press("escape")
        await until(lambda: "no model" in part_text(app, "RunBar"))
        await until(lambda: directory.names(tmp_path) == [])


async def test_after_a_run_that_cannot_start_the_run_before_is_shown_again(tmp_path: Path) -> None:
    finished_run(tmp_path, "before", 0.9)
    async with opened(tmp_path, tab="convnet", attach="before") as (app, pilot):
        await until(lambda: "■ finished" in part_text(app, "RunBar"))
        app.tab.form.put("data", str(tmp_path / "nowhere"))
        await pilot.press("r")
        await until(lambda: "could not start" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.tab.link.run is not None and app.tab.link.run.name == "before")
        await until(lambda: "■ finished" in part_text(app, "RunBar"))
        assert directory.names(tmp_path) == ["before"]


FAILED = Failed(step=50, what="the loss is not finite", why="it was nan", remedy="lower lr")


@pytest.mark.parametrize(("reason", "words"), [("minutes", "■ time is up"), ("until", "■ goal reached"), ("steps", "■ finished")])
async def test_a_run_that_ended_before_its_last_step_says_why(tmp_path: Path, reason: str, words: str) -> None:
    run = directory.create(tmp_path, "convnet", {"steps": 900})
    with Journal(run.journal_path) as journal:
        journal.append(started(900))
        journal.append(Stepped(first=1, step=50, metrics={"train_loss": [1.0] * 50}, seconds=1.0))
        journal.append(Finished(step=50, reason=reason, metrics={}, baselines={}, steps_per_second=9.0, seconds=1.0))
    async with opened(tmp_path, tab="convnet", attach=run.name) as (app, _):
        await until(lambda: words in part_text(app, "RunBar"))


FINISHED = Finished(step=50, reason="steps", metrics={}, baselines={}, steps_per_second=9.0, seconds=1.0)


@pytest.mark.parametrize("last", [FAILED, FINISHED], ids=["failed", "finished"])
async def test_a_resume_that_fails_is_told_however_the_run_had_ended(
    tmp_path: Path, last: Failed | Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    async def launch(peer: Peer, arguments: list[str]) -> None:
        asked.append(arguments)
        raise PeerDied("there is no such device")

    monkeypatch.setattr(Peer, "launch", launch)
    run = directory.create(tmp_path, "convnet", {})
    settings = to_dict(ConvNetSettings(steps=50, lr=0.1))
    with Journal(run.journal_path) as journal:
        journal.append(
            Started(
                architecture="convnet", name=run.name, settings=settings, device="cpu", device_name="", threads=1, parameters=1, data="",
            )
        )  # fmt: skip
        journal.append(Stepped(first=1, step=50, metrics={"train_loss": [1.0] * 50}, seconds=1.0))
        journal.append(last)
    async with opened(tmp_path, tab="convnet", attach=run.name) as (app, pilot):
        await until(lambda: app.tab.form.values["lr"] == 0.1)
        if last is FAILED:
            await until(lambda: "the loss is not finite" in part_text(app, ".dialog"))
            await pilot.press("escape")
            await until(lambda: len(app.screen_stack) == 1)
        app.tab.form.put("steps", "90")
        app.tab.form.put("lr", "0.01")
        await until(lambda: set(app.tab.form.pending) == {"steps", "lr"})
        await pilot.press("space")
        await until(lambda: "there is no such device" in part_text(app, ".dialog"))
    assert {asked[0][at + 1] for at, word in enumerate(asked[0]) if word == "--set"} == {"steps=90", "lr=0.01"}


async def test_a_finished_run_is_replayed_from_its_journal(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "convnet", {"steps": 300})
    with Journal(run.journal_path) as journal:
        started = Started(
            architecture="convnet", name=run.name, settings={"steps": 300, "batch": 21}, device="cpu", device_name="CPU", threads=1,
            parameters=10, data="digits",
        )  # fmt: skip
        journal.append(started)
        journal.append(Baselines(values={"test_accuracy": {"coin": 0.5}}))
        for first in range(1, 300, 50):
            losses: list[float | None] = [1.0 / (first + i) for i in range(50)]
            journal.append(Stepped(first=first, step=first + 49, metrics={"train_loss": losses}, seconds=1.0))
            journal.append(Evaluated(step=first + 49, metrics={"test_accuracy": 0.5 + first / 1000, "test_loss": 1.0 / first}))
        journal.append(Applied(step=200, what="lr", value=0.5, before=0.1))
        journal.append(Saved(step=300, checkpoint="step-300", bytes=1))
        journal.append(
            Finished(step=300, reason="steps", metrics={"test_accuracy": 0.751}, baselines={}, steps_per_second=9.0, seconds=1.0)
        )
    async with opened(tmp_path, tab="convnet", attach=run.name) as (app, pilot):
        await until(lambda: "■ finished" in part_text(app, "RunBar"))
        assert "300 / 300" in part_text(app, "RunBar")
        await until(lambda: "best 75.10 % at step 300" in screen_text(app))
        assert "coin 50" in part_text(app, "ChartColumn")
        assert app.tab.form.values["batch"] == 21
        await pilot.press("space")  # nothing is left to train: says how to go on
        await until(lambda: "All 300 steps are done" in screen_text(app))


async def test_a_run_that_is_over_before_there_is_a_connection_is_shown_as_it_ended(tmp_path: Path) -> None:
    """One that goes on by itself, such as a member of a group of seeds, may end at any moment."""
    run = directory.create(tmp_path, "convnet", {"steps": 50})
    with Journal(run.journal_path) as journal:
        journal.append(started(50))
        journal.append(Stepped(first=1, step=50, metrics={"train_loss": [1.0] * 50}, seconds=1.0))
        journal.append(FINISHED)
    lock = RunLock(run.lock_path)
    lock.acquire()
    try:
        async with opened(tmp_path, tab="convnet", attach=run.name) as (app, _):
            await until(lambda: "◌ starting" in part_text(app, "RunBar"))
            lock.release()
            await until(lambda: "■ finished" in part_text(app, "RunBar"), 20)
            assert len(app.screen_stack) == 1, "that is no failure"
    finally:
        lock.release()


async def test_a_model_whose_process_ends_without_a_word_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def launch(peer: Peer, arguments: list[str]) -> None:
        peer.process = Launched(Process(["true"]), tmp_path / "nothing")
        await peer.connect()

    monkeypatch.setattr(Peer, "launch", launch)
    async with opened(tmp_path, tab="convnet", explore=True) as (app, _):
        await until(lambda: "convnet-digits could not be opened" in screen_text(app) and "ended before it answered" in screen_text(app))


async def test_a_chart_that_fills_the_window_goes_on_growing(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "convnet", {"steps": 300})
    with Journal(run.journal_path) as journal:
        journal.append(started(300))
        journal.append(Stepped(first=1, step=50, metrics={"train_loss": [1.0] * 50}, seconds=1.0))
        async with opened(tmp_path, tab="convnet", attach=run.name) as (app, pilot):
            chart = app.tab.query(LineChart).first()
            await until(lambda: any(curve.x[-1] == 50 for curve in chart.curves if not curve.behind))
            chart.focus()
            await until(lambda: chart.has_focus)
            await pilot.press("m")
            await until(lambda: app.screen.maximized is not None)
            journal.append(Stepped(first=51, step=100, metrics={"train_loss": [0.5] * 50}, seconds=2.0))
            await until(lambda: any(curve.x[-1] == 100 for curve in chart.curves if not curve.behind), 20)


async def test_a_finished_run_goes_on_with_its_own_settings_however_soon_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its model is still being opened the form had its defaults, and the run went on with these."""
    own = {"lr": 0.0042, "steps": 30, "weight_decay": 0.0}
    run = directory.create(tmp_path, "convnet", own)
    with Journal(run.journal_path) as journal:
        journal.append(msgspec.structs.replace(started(30), settings=own))
        journal.append(Finished(step=30, reason="steps", metrics={}, baselines={}, steps_per_second=9.0, seconds=1.0))
    never, resumed = asyncio.Event(), []

    async def opening(link: RunLink, origin: str = "") -> None:
        await never.wait()

    async def resume(link: RunLink, **how: object) -> None:
        resumed.append(how)

    monkeypatch.setattr(RunLink, "explore", opening)
    monkeypatch.setattr(RunLink, "resume", resume)
    async with opened(tmp_path, tab="convnet", explore=True) as (app, pilot):
        attaching = asyncio.create_task(app.tab.controls.attach(run.name))
        await until(lambda: app.tab.link.run is not None)
        await pilot.press("f5")
        await until(lambda: any("All 30 steps are done" in note.message for note in app._notifications))
        assert resumed == []
        assert {name: app.tab.form.values[name] for name in own} == own
        never.set()
        await attaching


async def test_the_first_run_has_the_name_of_the_command_line_and_later_ones_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = iter([False, True, True])

    async def launch(link: RunLink, run: directory.RunDirectory, *, paused: bool) -> None:
        if next(starts):
            link._show(run)
        else:
            directory.remove(run)

    monkeypatch.setattr(RunLink, "_launch", launch)
    async with opened(tmp_path, tab="convnet", run_name="mine") as (app, pilot):
        await app.tab.controls.start_over(paused=False)
        assert (directory.names(tmp_path), app.tab.controls.run_name) == ([], "mine")  # that one could not start
        await pilot.press("f5")
        await until(lambda: directory.names(tmp_path) == ["mine"])
        await app.tab.controls.start_over(paused=False)
        assert sorted(directory.names(tmp_path)) == ["convnet-1", "mine"]


def test_a_name_that_no_run_can_have_is_refused_before_the_screen_opens(dlplay: Dlplay, tmp_path: Path) -> None:
    for name, why in (("gpt-reference", "comes with dlplay"), ("A b", "cannot be a run's name")):
        found = dlplay("gpt", "--name", name, "--runs-dir", str(tmp_path))
        assert (found.status, why in found.err) == (2, True)
    directory.create(tmp_path, "gpt", {}, name="mine")
    directory.create(tmp_path, "gpt", {}, name="three-1", group="three")
    for name, why in (("mine", "there is a run 'mine' already"), ("three", "there is a group 'three' already")):
        found = dlplay("gpt", "--name", name, "--runs-dir", str(tmp_path))
        assert (found.status, why in found.err) == (2, True)


async def test_a_run_whose_name_is_taken_meanwhile_leaves_what_is_shown(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", explore=True) as (app, _):
        link = app.tab.link
        await until(lambda: link.answering is not None)
        directory.create(tmp_path, "convnet", {}, name="mine")
        before = link.answering
        with pytest.raises(directory.RunNameError, match="there is a run 'mine' already"):
            await link.start({}, name="mine")
        assert (link.answering, link.run) == (before, None)
