"""Batches that are drawn before their steps are those that are drawn step by step, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine import ahead, state
from dlplay.engine.ahead import Ahead
from dlplay.engine.settings import change, make
from dlplay.engine.task import Task, looking
from tests.conftest import Build
from tests.drawing_rooms import DRAWING

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

LIVE = {"gpt": "lr", "gpt, accumulated": "lr", "bert": "mask_share", "gan, penalty": "critic_steps", "convnet, augmented": "augment"}
"""A live setting that the next draws or rates go by."""


def everything(task: Task[Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, plain = state.flatten(task.state_dict())
    del plain["random"]
    return {name: value.clone() for name, value in (tensors | task.weights()).items()}, plain


def same(task: Task[Any], other: Task[Any]) -> None:
    (mine, plain), (others, others_plain) = everything(task), everything(other)
    assert mine.keys() == others.keys()
    for name, value in mine.items():
        assert torch.equal(value, others[name]), name
    assert plain == others_plain


def train(task: Task[Any], steps: int) -> None:
    for _ in range(steps):
        task.advance()
        task.step += 1


def both(build: Build, name: str, values: dict[str, Any]) -> tuple[Any, Any]:
    task, other = build(name, **values), build(name, **values)
    task.ahead = Ahead(task)
    return task, other


def trained_alike(task: Task[Any], other: Task[Any], steps: int) -> None:
    """Both, from the same global random numbers."""
    random = state.random_state(task.device)
    train(other, steps)
    state.set_random_state(random, task.device)
    train(task, steps)


@pytest.mark.parametrize("case", [pytest.param(case, marks=[] if case == "adding" else pytest.mark.slow) for case in DRAWING])
def test_steps_are_the_same_to_the_bit(case: str, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "DRAWS", 5)
    name, values = DRAWING[case]
    task, other = both(build, name, values)
    trained_alike(task, other, 6)
    assert task.ahead.used < len(task.ahead.layouts), "some are left over"
    with looking(task), looking(other):
        assert task.evaluate() == other.evaluate()
    same(task, other)
    assert not task.ahead.layouts, "a checkpoint gives back what no step has taken"

    trained_alike(task, other, 1)
    if case in LIVE:
        for each in (task, other):
            value = getattr(each.settings, LIVE[case])
            changed = change(each.settings, LIVE[case], not value if isinstance(value, bool) else min(0.5, 3 * value) if value < 1 else 1)
            each.change(changed)
    trained_alike(task, other, 6)
    same(task, other)

    tensors, plain = state.flatten(other.state_dict())
    saved = {key: value.clone() for key, value in tensors.items()}
    weights = {key: value.clone() for key, value in other.weights().items()}
    trained_alike(task, other, 3)
    for each in (task, other):
        each.load_weights(weights)
        each.load_state_dict(state.unflatten({key: value.clone() for key, value in saved.items()}, plain))
    trained_alike(task, other, 3)
    same(task, other)


@pytest.mark.slow
def test_an_action_finds_the_generators_as_the_last_step_left_them(build: Build) -> None:
    task, other = both(build, "gan", {"loss": "non-saturating"})
    actions = {action.name: action for action in architectures.card("gan").actions}
    for name in ("both_step", "discriminator_step", "generator_step"):
        trained_alike(task, other, 2)
        for each in (task, other):
            each.act_for_good(name, make(actions[name].options, {}))
            with looking(each):  # a person who only looks disturbs nothing
                torch.rand(1, generator=each.generators["latent"])
    trained_alike(task, other, 2)
    same(task, other)


def test_what_steps_read_lies_in_one_place(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "DRAWS", 3)
    task = build("gpt")
    task.ahead = drawing = Ahead(task)
    train(task, 1)
    where = drawing.rows.data_ptr()
    train(task, 8)
    assert drawing.rows.data_ptr() == where


def test_no_more_is_drawn_at_once_than_has_room(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    task, other = both(build, "autoencoder", {"noise": "gaussian"})
    size = 4 * task.settings.batch * task.train_images[0].numel()
    monkeypatch.setattr(ahead, "BYTES", 3 * size + size // 2)
    trained_alike(task, other, 5)
    assert len(task.ahead.layouts) == 3
    same(task, other)


@pytest.mark.parametrize(("seconds", "count"), [(0.0, ahead.SOON), (3600.0, ahead.DRAWS)])
def test_quick_draws_go_on_beyond_those_that_are_made_however_long_they_take(
    seconds: float, count: int, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "SECONDS", seconds)
    task, other = both(build, "gpt", {})
    trained_alike(task, other, 3)
    assert len(task.ahead.layouts) == count
    assert len(task.ahead.rows) == ahead.DRAWS, "with room for as many as there may be next time"
    same(task, other)
