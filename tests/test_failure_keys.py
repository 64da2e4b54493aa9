"""What a failure's dialog advises is a key that does it, and a key is named only where it works."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from textual.widgets import Input

from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.events import Failed
from dlplay.engine.failures import not_finite, out_of_memory
from dlplay.engine.settings import make
from dlplay.engine.task import Task
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import Journal, history
from dlplay.screen.dialogs import failure as failure_dialog
from tests.conftest import Dlplay, Small
from tests.runs import begin
from tests.screen_pilot import opened, part_text, until

WILD = {"steps": 2000, "save_every": 1, "eval_every": 2000, "lr": 10.0, "weight_decay": 10.0}


def task(name: str, small: Small, **values: Any) -> Task[Any]:
    card = architectures.card(name)
    settings = make(card.settings, small(name) | {"device": "cpu"} | values)
    return card.load_task()(settings, prepare(settings), None)


@pytest.mark.usefixtures("as_before")
def test_the_advice_is_settings_that_are_used_and_allowed(small: Small) -> None:
    diverged = not_finite(task("convnet", small, lr=0.003), 7)
    assert (diverged.settings, diverged.resumes) == ({"lr": 0.001}, True)
    assert "train again with --lr 0.001" in diverged.remedy

    two_rates = not_finite(task("gan", small, lr=0.002, critic_lr=0.003), 7)
    assert two_rates.settings == {"lr": 0.0007, "critic_lr": 0.001}
    assert "--lr 0.0007 and --critic-lr 0.001" in two_rates.remedy

    without_rate = not_finite(task("seq2seq", small, schedule="paper"), 7)  # there the rate follows from width and warm-up
    assert without_rate.settings == {}
    assert "--lr" not in without_rate.remedy

    shortage = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    smaller = out_of_memory(task("convnet", small, batch=16), shortage)
    assert smaller is not None
    assert (smaller.settings, smaller.resumes) == ({"batch": 8}, True)  # batch normalisation takes each batch by itself
    added = out_of_memory(task("gpt", small, batch=8, accumulate=2), shortage)
    assert added is not None
    assert added.settings == {"batch": 4, "accumulate": 4}
    assert "--batch 4 and --accumulate 4, which adds up the same gradient from smaller batches" in added.remedy
    least = out_of_memory(task("convnet", small, batch=2), shortage)  # batch normalisation needs two
    assert least is not None
    assert least.settings == {}
    assert "--batch" not in least.remedy
    assert "a smaller model" in least.remedy


async def test_a_run_that_diverged_is_trained_again_with_a_key(small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    begin(dlplay, "convnet", RunDirectory(tmp_path / "wild"), small("convnet") | WILD).wait()
    async with opened(tmp_path, tab="convnet", attach="wild") as (app, pilot):
        link = app.tab.link
        await until(lambda: "r train again with lr 3" in part_text(app, ".dialog"))
        await pilot.press("r")
        await until(lambda: link.run is not None and link.run.name != "wild" and link.history.started is not None)
        assert link.history.settings["lr"] == 3.0
        assert link.history.started is not None
        assert (link.history.started.step, link.history.started.origin) == (0, "")
        assert app.tab.form.values["lr"] == 3.0
        await link.end()


async def test_once_the_dialog_is_closed_the_chart_says_it_and_the_key_still_does_it(small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    begin(dlplay, "convnet", RunDirectory(tmp_path / "wild"), small("convnet") | WILD).wait()
    async with opened(tmp_path, tab="convnet", attach="wild") as (app, pilot):
        link = app.tab.link
        await until(lambda: "r train again with lr 3" in part_text(app, ".dialog"))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        await until(lambda: "r train again with lr 3" in part_text(app, "ChartColumn Chart"))
        assert "✗ the loss of step" in part_text(app, "ChartColumn Chart")
        app.tab.form.put("lr", 0.5)
        await until(lambda: "train again" not in part_text(app, "ChartColumn"))  # a person knows better
        app.tab.form.put("lr", WILD["lr"])
        await until(lambda: "r train again with lr 3" in part_text(app, "ChartColumn Chart"))
        await pilot.press("r")
        await until(lambda: link.run is not None and link.run.name != "wild" and link.history.started is not None)
        assert link.history.settings["lr"] == 3.0
        await until(lambda: "✗" not in part_text(app, "ChartColumn"))
        await link.end()


async def test_it_is_resumed_from_its_checkpoint_with_a_key(small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "it")
    begin(dlplay, "convnet", run, small("convnet") | {"steps": 60, "save_every": 20}).wait()
    fail(run, Failed(step=60, what="the loss is not finite", remedy="train again", settings={"lr": 0.001, "steps": 90}, resumes=True))
    async with opened(tmp_path, tab="convnet", attach="it") as (app, pilot):
        link = app.tab.link
        await until(lambda: "s resume from step 60 with lr 0.001, steps 90" in part_text(app, ".dialog"))
        await pilot.press("s")
        await until(lambda: link.history.finished is not None and link.history.step == 90)
        assert (link.history.settings["lr"], link.history.settings["steps"]) == (0.001, 90)
        assert directory.names(tmp_path) == ["it"]


async def test_what_a_resumed_run_cannot_change_begins_from_its_weights(small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "it")
    begin(dlplay, "convnet", run, small("convnet") | {"steps": 40, "save_every": 20, "batch": 16}).wait()
    fail(run, Failed(step=40, what="out of memory", remedy="use less", settings={"batch": 8}, resumes=True))
    async with opened(tmp_path, tab="convnet", attach="it") as (app, pilot):
        link = app.tab.link
        await until(lambda: "s start from the weights of step 40 with batch 8" in part_text(app, ".dialog"))
        await pilot.press("s")
        await until(lambda: link.run is not None and link.run.name != "it" and link.history.finished is not None)
        assert link.history.started is not None
        assert (link.history.settings["batch"], link.history.started.origin) == (8, "it")


async def test_a_key_that_would_not_work_is_not_named(small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "it")
    begin(dlplay, "convnet", run, small("convnet") | {"steps": 4, "save_every": 20}).wait()
    fail(run, Failed(step=4, what="it was odd", remedy="look at it", settings={"batch": 1, "gone": 3}))  # of another version, say
    async with opened(tmp_path, tab="convnet", attach="it") as (app, pilot):
        await until(lambda: "it was odd" in part_text(app, ".dialog"))
        text = part_text(app, ".dialog")
        assert "train again" not in text
        assert "resume" not in text
        await pilot.press("r", "s")
        assert "it was odd" in part_text(app, ".dialog")
        assert directory.names(tmp_path) == ["it"]


async def test_a_run_that_was_killed_is_resumed_with_a_key(small: Small, tmp_path: Path) -> None:
    settings = small("convnet") | {"steps": 100_000, "save_every": 50, "threads": 1}
    async with opened(tmp_path, tab="convnet", settings=settings) as (app, pilot):
        link = app.tab.link
        await pilot.press("space")
        await until(lambda: link.history.saved_step)
        assert link.history.started is not None
        os.kill(link.history.started.pid, signal.SIGKILL)
        await until(lambda: "s resume from step" in part_text(app, ".dialog"))
        assert "r start over" in part_text(app, ".dialog")
        saved = link.last_checkpoint
        assert f"resume from step {saved:,}" in part_text(app, ".dialog")
        await pilot.press("s")
        await until(lambda: link.state == "training")
        assert link.history.started.step == saved
        await link.end()


async def test_what_was_being_typed_starts_no_run(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_dialog, "TYPING_SECONDS", 1e9)
    async with opened(tmp_path, tab="gpt", settings=small("gpt") | {"save_every": 5, "steps": 100_000, "threads": 1}) as (app, pilot):
        link = app.tab.link
        await pilot.press("f5")
        await until(lambda: link.history.saved_step)
        await pilot.press("slash")
        await until(lambda: isinstance(app.focused, Input))
        assert link.history.started is not None
        os.kill(link.history.started.pid, signal.SIGKILL)
        await until(lambda: "r start over" in part_text(app, ".dialog"))
        await pilot.press("r", "s")
        assert "r start over" in part_text(app, ".dialog")
        assert directory.names(tmp_path) == ["gpt-1"]
        monkeypatch.setattr(failure_dialog, "TYPING_SECONDS", 0.0)
        await pilot.press("s")
        await until(lambda: link.state == "training")
        await link.end()


def fail(run: RunDirectory, failed: Failed) -> None:
    """The run ended so."""
    journal = Journal(run.journal_path)
    journal.append(failed)
    journal.close()
    assert isinstance(history(run.journal_path)[-1], Failed)
