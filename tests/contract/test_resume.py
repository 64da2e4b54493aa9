"""Nothing is lost: a run killed at any moment, stopped, watched, changed or broken goes on from its last checkpoint to the same weights."""

import asyncio
import json
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlplay import architectures
from dlplay.engine import commands as cmd
from dlplay.engine.events import Applied, Evaluated, Failed, Finished, Saved, Shown, Started, Stepped, Warned
from dlplay.engine.settings import SettingsError, field, fields, make, to_dict
from dlplay.runs import directory, process
from dlplay.runs.client import NotListening, RunClient
from dlplay.runs.console import PlainLines
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import JournalReader, history
from dlplay.runs.lock import holder
from tests.conftest import Command, Dlplay, Small, flags, wait_until

ARCHITECTURES = list(architectures.cards())
EVERY = 20
"""Steps between two checkpoints."""


def begin(dlplay: Dlplay, name: str, run: RunDirectory, settings: dict[str, Any], *more: str) -> Command:
    """Start training, headless."""
    typed = flags({"device": "cpu", "save_every": EVERY, "eval_every": EVERY, **settings})
    return dlplay.start(name, "--headless", "--runs-dir", str(run.path.parent), "--name", run.name, *typed, *more)


def resume(dlplay: Dlplay, run: RunDirectory, *more: str) -> Command:
    return dlplay.start("resume", run.name, "--headless", "--runs-dir", str(run.path.parent), *more)


def weights(run: RunDirectory) -> tuple[int, dict[str, np.ndarray]]:
    """Of the newest checkpoint, with its step."""
    checkpoint, problems = run.store.newest()
    assert checkpoint is not None
    assert problems == []
    return checkpoint.step, checkpoint.weights


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """To the bit."""
    return list(one) == list(other) and all(one[key].tobytes() == other[key].tobytes() for key in one)


def curves(run: RunDirectory) -> dict[str, dict[int, float | None]]:
    """Every metric's value by step where it has one, of training and held out; fails when a step comes twice or in the wrong place."""
    table: dict[str, dict[int, float | None]] = {}
    at = 0
    for event in history(run.journal_path):
        if isinstance(event, Stepped):
            assert event.first == at + 1
            at = event.step
            for name, column in event.metrics.items():
                assert len(column) == event.step - event.first + 1
                measured = zip(range(event.first, event.step + 1), column, strict=True)
                table.setdefault(name, {}).update((step, value) for step, value in measured if value is not None)
        elif isinstance(event, Evaluated):
            assert event.step not in table.setdefault("held out", {})
            table["held out"][event.step] = json.dumps(event.metrics)  # type: ignore[assignment]
    return table


class Following:
    """The events of a run as they come."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._reader = JournalReader(run.journal_path)
        self.events: list[Any] = []

    def of(self, kind: type) -> list[Any]:
        self.events += self._reader.read()
        return [event for event in self.events if isinstance(event, kind)]

    def reached(self, step: int, command: Command) -> bool:
        """Whether this process has trained that far."""
        starts = self.of(Started)
        return bool(starts) and starts[-1].pid == command.pid and self.events[-1].step >= max(step, starts[-1].step + 1)

    def wait_for(self, step: int, command: Command) -> None:
        """Until it has, or has ended."""
        wait_until(lambda: self.reached(step, command) or not command.running, f"step {step}")


def caught_saving(following: Following, step: int, command: Command) -> bool:
    """Whether a checkpoint is being written just now; or it is too late for that, at this step."""
    return any(following.run.path.glob("checkpoints/.tmp-*")) or following.reached(step, command) or not command.running


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_run_killed_again_and_again_ends_as_one_that_never_was(
    name: str, kills: int, small: Small, dlplay: Dlplay, tmp_path: Path
) -> None:
    steps = 200 + 20 * kills
    settings = small(name) | {"steps": steps}
    calm, run = RunDirectory(tmp_path / "runs" / "calm"), RunDirectory(tmp_path / "runs" / "killed")
    undisturbed = begin(dlplay, name, calm, settings)
    chance = random.Random(name)
    following = Following(run)
    command = begin(dlplay, name, run, settings)
    for number, target in enumerate(sorted(chance.sample(range(1, steps - 100), kills))):
        following.wait_for(target, command)
        if number % 2:  # in the middle of a save
            wait_until(partial(caught_saving, following, target + EVERY, command), "a save")
        assert command.kill().status == -signal.SIGKILL, command.wait().err
        assert holder(run.lock_path) is None
        command = resume(dlplay, run)
    assert command.wait().status == 0
    assert undisturbed.wait().status == 0
    starts = following.of(Started)
    assert len(starts) == len({event.pid for event in starts}) == kills + 1
    assert len({event.step for event in starts}) >= 3  # of resumes from resumes
    expected, got = weights(calm), weights(run)
    assert expected[0] == got[0] == steps
    assert same(expected[1], got[1])
    assert curves(run) == curves(calm)
    assert [*run.path.glob("checkpoints/.*")] == []


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_watched_run_trains_the_same_weights(name: str, small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    card = architectures.card(name)
    settings = small(name) | {"steps": 200}
    alone, watched = RunDirectory(tmp_path / "runs" / "alone"), RunDirectory(tmp_path / "runs" / "watched")
    unseen = begin(dlplay, name, alone, settings)
    command = begin(dlplay, name, watched, settings, "--paused")
    shown: list[Shown] = []
    client = await attached(watched, lambda event: shown.append(event) if isinstance(event, Shown) else None)
    client.watch([cmd.View(panel.name) for panel in card.panels], rate=30)
    await client.command(cmd.Resume(), timeout=60)
    following = Following(watched)
    while not following.of(Finished):
        for panel in card.panels:
            await client.ask(panel.name, timeout=60)
    client.close()
    assert (await asyncio.to_thread(command.wait)).status == 0
    assert (await asyncio.to_thread(unseen.wait)).status == 0
    assert {event.view for event in shown if 0 < event.step < 200} == set(range(len(card.panels)))
    assert same(weights(alone)[1], weights(watched)[1])
    assert curves(alone) == curves(watched)


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_change_in_mid_run_is_recorded_and_outlives_a_kill(name: str, small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    item = next(item for item in fields(architectures.card(name).settings) if item.live and item.kind == "float")
    assert item.low is not None
    value = item.low + 0.00125  # the first live number that its room has: a learning rate, mostly
    run = RunDirectory(tmp_path / "runs" / "changed")
    command = begin(dlplay, name, run, small(name) | {"steps": 10**6})
    following = Following(run)
    client = await attached(run)
    await asyncio.to_thread(following.wait_for, 30, command)
    await client.command(cmd.Set(field=item.name, value=str(value)), timeout=60)
    command.send(signal.SIGKILL)
    await asyncio.to_thread(command.wait)
    [applied] = following.of(Applied)
    assert (applied.what, applied.value) == (item.name, value)
    assert applied.step >= 30
    again = resume(dlplay, run, "--steps", str(applied.step + 5))
    assert (await asyncio.to_thread(again.wait)).status == 0
    assert following.of(Started)[-1].settings[item.name] == value
    assert following.of(Started)[-1].step == applied.step
    assert [event.what for event in history(run.journal_path) if isinstance(event, Applied)] == [item.name]
    assert following.of(Finished)[-1].step == applied.step + 5


WILD = [name for name, card in architectures.cards().items() if {"lr", "weight_decay"} <= {item.name for item in fields(card.settings)}]
"""Rooms in which settings alone can make a loss infinite. That no update follows one is checked for every room in `test_task`."""


@pytest.mark.parametrize("name", WILD)
def test_a_loss_that_is_not_finite_ends_the_run_in_words(name: str, small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    card = architectures.card(name)
    run = RunDirectory(tmp_path / "runs" / "wild")
    wild = {item: field(card.settings, item).high for item in ("lr", "weight_decay")}  # a decay of more than all of a weight
    ended = begin(dlplay, name, run, small(name) | {"steps": 2000, "save_every": 2, **wild}, "--json").wait()
    assert ended.status == 1
    assert "Traceback" not in ended.err
    last = json.loads(ended.out.splitlines()[-1])
    assert last["type"] == "failed"
    assert "not a finite number" in last["what"]
    assert "--lr" in last["remedy"]
    step, kept = weights(run)
    assert step < last["step"]
    assert not any(np.isnan(array).any() for array in kept.values())
    assert history(run.journal_path)[-1] == Following(run).of(Failed)[-1]


@pytest.fixture
def living(dlplay: Dlplay, small: Small, tmp_path: Path) -> tuple[RunDirectory, Command]:
    """A run of the first architecture that has trained a while and would go on for long."""
    run = RunDirectory(tmp_path / "runs" / "living")
    command = begin(dlplay, ARCHITECTURES[0], run, small(ARCHITECTURES[0]) | {"steps": 10**6})
    following = Following(run)
    following.wait_for(25, command)
    return run, command


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_told_to_end_saves_first(number: int, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    command.send(signal.SIGHUP)  # a closed terminal is no reason to stop
    command.send(number)
    assert command.wait(5.0).status == 130
    finished = Following(run).of(Finished)[-1]
    assert finished.reason == "interrupted"
    assert weights(run)[0] == finished.step > 0
    assert not run.socket_path.exists()


def test_a_living_run_has_one_writer_and_a_killed_one_none(dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    size = len(Following(run).of(Started))
    second = resume(dlplay, run).wait()
    assert second.status == 3
    assert str(command.pid) in second.err
    assert f"dlplay stop {run.name}" in second.err
    assert len(second.err.splitlines()) == 1
    removed = dlplay("rm", run.name, "--runs-dir", str(run.path.parent))
    assert removed.status == 3
    assert command.running
    assert len(Following(run).of(Started)) == size
    command.kill()
    assert holder(run.lock_path) is None
    third = resume(dlplay, run, "--paused")
    wait_until(lambda: len(Following(run).of(Started)) == size + 1, "the third has it")
    stopped = dlplay("stop", run.name, "--runs-dir", str(run.path.parent))
    assert (stopped.status, third.wait().status) == (0, 0)
    assert stopped.out.startswith("stopped run living at step ")
    again = dlplay("stop", run.name, "--runs-dir", str(run.path.parent))
    assert (again.status, again.out) == (0, "run living is not running\n")


def test_resumed_with_other_threads_it_goes_on_and_says_so(dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    command.kill()
    at = weights(run)[0]
    assert resume(dlplay, run, "--threads", "2", "--steps", str(at + 3)).wait().status == 0
    following = Following(run)
    assert [event.what for event in following.of(Warned)] == ["resumed with threads 2 instead of 1"]
    assert following.of(Finished)[-1].step == at + 3


async def test_a_run_that_is_stopped_ends_though_someone_looks_on(dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    client = await attached(run)
    stopped = await asyncio.to_thread(dlplay, "stop", run.name, "--runs-dir", str(run.path.parent))
    assert stopped.out.startswith("stopped run living at step ")
    assert (await asyncio.to_thread(command.wait, 10.0)).status == 0
    assert Following(run).of(Finished)[-1].reason == "stopped"
    client.close()


def test_a_run_taken_up_after_its_end_trains_on(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    name, settings = ARCHITECTURES[0], small(ARCHITECTURES[0])
    run = RunDirectory(tmp_path / "runs" / "longer")
    assert begin(dlplay, name, run, settings | {"steps": 20}).wait().status == 0
    assert resume(dlplay, run).wait().status == 0
    assert resume(dlplay, run, "--steps", "30").wait().status == 0
    following = Following(run)
    assert [event.step for event in following.of(Finished)] == [20, 20, 30]
    assert [event.step for event in following.of(Saved)] == [0, 20, 30]
    assert [*curves(run)["train_loss"]] == [*range(1, 31)]


def test_a_run_goes_on_with_no_other_data(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("so on and so on, and no more of it. " * 100)
    run = RunDirectory(tmp_path / "runs" / "own")
    assert begin(dlplay, "gpt", run, small("gpt") | {"text": str(text), "steps": 3}).wait().status == 0
    text.write_text("so on and so on, and no more of that. " * 100)
    refused = resume(dlplay, run, "--steps", "6").wait()
    assert refused.status != 0
    assert refused.err.count("\n") == 1, "one line"
    assert "no longer those that this run began with: they are now own.txt" in refused.err
    text.write_text("so on and so on, and no more of it. " * 100)
    assert resume(dlplay, run, "--steps", "6").wait().status == 0
    assert [*curves(run)["train_loss"]] == [*range(1, 7)]


def test_what_could_not_be_saved_is_not_begun(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "DATA_LIMIT", 1000)
    settings = make(architectures.card("convnet").settings, small("convnet"))
    run = directory.create(tmp_path, "convnet", to_dict(settings))
    with pytest.raises(SettingsError, match="can be asked here but not trained"):
        process.run(run, lambda: PlainLines(architectures.card("convnet")))
    assert not run.journal_path.exists()


async def attached(run: RunDirectory, on_event: Callable[[Any], None] = lambda event: None) -> RunClient:
    """A client, once the run listens."""
    while True:
        try:
            return await RunClient.connect(run.socket_path, on_event)
        except NotListening:
            await asyncio.sleep(0.01)
