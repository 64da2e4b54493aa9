"""What every architecture owes to the clock without doing anything for it: its steps are divided into parts, and are the same steps."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine import step_times
from dlplay.engine.marks import BETWEEN, marked
from dlplay.engine.settings import fields, to_dict
from dlplay.engine.step_times import PARTS, StepTimes
from dlplay.engine.task import Task
from tests.conftest import Build

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = architectures.cards()
LEARNS = 300
"""Steps after which every architecture learns; DQN's memory has to be filled first."""


def times_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_times, "FIRST", 0)
    monkeypatch.setattr(step_times, "SECONDS", 0.0)


def trained(task: Task[Any], steps: int) -> tuple[StepTimes, list[dict[str, list[float]]]]:
    times, found = StepTimes(task), []
    for _ in range(steps):
        metrics = times.advance()
        task.step += 1
        found.append({name: value.tolist() for name, value in metrics.items()})
    return times, found


@pytest.mark.parametrize("name", CARDS)
def test_timed_steps_have_every_part_and_are_the_same_to_the_bit(name: str, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = LEARNS if name == "dqn" else 6
    monkeypatch.setattr(step_times, "FIRST", steps)
    never, before = trained(build(name), steps)
    times_every_step(monkeypatch)
    task = build(name)
    began = time.perf_counter()
    times, after = trained(task, steps)
    lasted = time.perf_counter() - began
    assert after == before
    assert (never.timed, times.timed) == (0, steps)
    assert all(times.seconds[part] > 0 for part in PARTS), times.seconds
    assert 0.2 * lasted < sum(times.seconds.values()) < lasted
    assert task.mark("backward") == "backward", "nothing is left behind"
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not torch.nn.modules.module._global_forward_hooks


@pytest.mark.parametrize("name", CARDS)
def test_the_parts_of_a_step_come_in_order(name: str, build: Build) -> None:
    task, marks = build(name), list[str]()
    for _ in range(LEARNS if name == "dqn" else 1):
        marks.clear()
        with marked(task, marks.append):
            task.advance()
        task.step += 1
    assert marks[0] == "data"
    assert marks[-1] == ""
    updates = [part for part in marks if part not in (BETWEEN, "")]
    joined = [part for part, before in zip(updates, ["", *updates], strict=False) if part != before]
    assert "forward" in joined
    for at, part in enumerate(joined):
        if part == "backward":
            assert joined[at - 1] == "forward"
            assert joined[at + 1 : at + 3] == ["optimiser", "data"]


def test_with_accumulated_batches_there_are_as_many_gradients_and_one_update(build: Build) -> None:
    task, marks = build("gpt", accumulate=3), list[str]()
    with marked(task, marks.append):
        task.advance()
    assert (marks.count("backward"), marks.count("optimiser")) == (3, 1)


def test_how_often_steps_are_timed_does_not_hang_on_how_long_they_take(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fourth step is slow: it is timed as often as it comes, about every fourth time."""
    now = [0.0]
    monkeypatch.setattr(step_times, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    task = build("convnet")
    seen: list[int] = []

    def train_step() -> dict[str, torch.Tensor]:
        now[0] += 0.010 if task.step % 4 == 0 else 0.001
        if task.mark("data") is None:
            seen.append(task.step)
        return {}

    monkeypatch.setattr(task, "train_step", train_step)
    trained(task, 60_000)
    slow = sum(step % 4 == 0 for step in seen)
    assert 300 < len(seen) < 1600, "one in 0.25 s of 195 s"
    assert slow / len(seen) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.tokens is not None])
def test_tokens_a_second_count_those_that_the_task_reads(name: str, build: Build) -> None:
    text = {"task": "text"} if "task" in {item.name for item in fields(CARDS[name].settings)} else {}
    task, card = build(name, accumulate=2, **text), CARDS[name]
    settings = to_dict(task.settings)
    assert card.tokens is not None
    counted = 2 * settings[card.batch] * card.tokens(settings)
    assert task.data.endswith(f" = {counted:,} a step")


def test_compiled_modules_are_timed_from_outside_and_never_compiled_anew(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build("gpt")
    model, calls, seen = task.model, list[str](), list[str]()

    def compiled(*arguments: Any, **named: Any) -> Any:
        assert not torch.nn.modules.module._global_forward_hooks, "these would be compiled as well"
        calls.append("forward")
        return model._call_impl(*arguments, **named)

    model._compiled_call_impl = compiled
    task.compiled = True
    with marked(task, seen.append):
        task.advance()
    assert calls == ["forward"]
    assert seen == ["data", "forward", "backward", "optimiser", "data", ""]
    assert model._compiled_call_impl is compiled, "nothing is left behind"
