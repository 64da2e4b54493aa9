"""Nothing is lost in any room: killed, watched, changed or broken, a run goes on from its last checkpoint to the same weights."""

import asyncio
import json
import random
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dlplay import architectures
from dlplay.checkpoints.history import kept
from dlplay.engine import commands as cmd
from dlplay.engine.events import Applied, Failed, Finished, Shown, Started
from dlplay.engine.settings import field, fields
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import history
from dlplay.runs.lock import holder
from tests.conftest import Dlplay, Small, wait_until
from tests.rooms import has_facts
from tests.runs import EVERY, Following, attached, begin, caught_saving, curves, resume, same, weights

ARCHITECTURES = list(architectures.cards())
WATCHED = 100
"""Steps of a run that somebody watches all the while: every look comes between two of them."""


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_run_killed_again_and_again_ends_as_one_that_never_was(
    name: str, kills: int, small: Small, dlplay: Dlplay, tmp_path: Path
) -> None:
    steps = 200 + 20 * kills
    if not has_facts(name):  # a room of one's own may be as small as the template's, whose steps outrun the kills
        steps *= 20
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
    assert len({event.step for event in starts}) >= (3 if kills > 3 else 2)  # the more kills, the surer a resume from a resume
    expected, got = weights(calm), weights(run)
    assert expected[0] == got[0] == steps
    assert same(expected[1], got[1])
    assert curves(run) == curves(calm)
    assert [*run.path.glob("checkpoints/.*"), *run.path.glob("history/.*")] == []
    assert run.history.steps() == calm.history.steps() == sorted(kept(steps, 32))


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_watched_run_trains_the_same_weights(name: str, small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    card = architectures.card(name)
    settings = small(name) | {"steps": WATCHED}
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
    assert {event.view for event in shown if 0 < event.step < WATCHED} == set(range(len(card.panels)))
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
