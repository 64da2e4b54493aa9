"""What each architecture measures example by example on held-out data: fixed, reproducible, and the model's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.settings import make
from dlplay.engine.task import Task, looking
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("as_before")

MEASURED: list[tuple[str, dict[str, Any], int]] = [
    ("autoencoder", {"noise": "masking"}, 360),
    ("autoencoder", {"variational": True}, 360),
    ("recurrent", {}, 2),
    ("recurrent", {"predict": "last"}, 2),
    ("recurrent", {"task": "adding", "length": 20}, 204),
    ("recurrent", {"task": "copy", "length": 20}, 102),
    ("recurrent", {"task": "series"}, 16),
    ("dqn", {}, 4),
    ("gan", {}, 256),
]


def build(name: str, values: dict[str, Any]) -> Task[Any]:
    card = architectures.card(name)
    settings = make(card.settings, values | {"device": "cpu"})
    return card.load_task()(settings, prepare(settings), None)


@pytest.mark.parametrize(
    ("name", "values", "least"), MEASURED, ids=[f"{name}-{'-'.join(map(str, values.values()))}" for name, values, _ in MEASURED]
)
def test_the_same_held_out_examples_are_measured_each_time(name: str, values: dict[str, Any], least: int, small: Small) -> None:
    task = build(name, {} if "task" in values else small(name) | values)
    if "task" in values:
        task = build(name, values)
    for _ in range(2):
        task.train_step()
        task.step += 1
    with looking(task):
        one, other = task.probe(), task.probe()
        assert one is not None
        assert other is not None
        assert one.values.ndim == 1
        assert len(one.values) >= least
        assert torch.equal(one.values, other.values)
        assert torch.isfinite(one.values).all()
        assert one.name


def test_an_untrained_autoencoder_is_measured_as_it_is_evaluated() -> None:
    task = build("autoencoder", {})
    with looking(task):
        probe, found = task.probe(), task.evaluate()
    assert probe is not None
    assert len(task.test_images) == len(probe.values)  # type: ignore[attr-defined]
    assert float(probe.values.mean()) == pytest.approx(found["test_mse"], rel=1e-5)


@pytest.mark.parametrize("task", ["adding", "copy"])
def test_a_recurrent_net_is_measured_as_it_is_evaluated(task: str) -> None:
    net = build("recurrent", {"task": task, "length": 4 if task == "adding" else 2})
    with looking(net):
        probe, found = net.probe(), net.evaluate()
    assert probe is not None
    if len(probe.values) == 1000:  # all of them
        assert float(probe.values.mean()) == pytest.approx(found["val_loss"], rel=1e-5)
    else:
        assert float(probe.values.mean()) == pytest.approx(found["val_loss"], rel=0.2)


def test_long_episodes_are_left_to_the_evaluation() -> None:
    assert build("dqn", {"time_limit": 501, "buffer": 1000}).probe() is None


def test_a_generator_that_leaves_out_modes_is_far_from_their_examples() -> None:
    task = build("gan", {})
    with looking(task), torch.no_grad():
        task.models["generator"].out.weight.zero_()  # type: ignore[union-attr, operator]
        task.models["generator"].out.bias.copy_(task.examples.scaled(task.examples.test[:1])[0])  # type: ignore[attr-defined, union-attr, operator]
        probe = task.probe()
    assert probe is not None
    assert float(probe.values[0]) == pytest.approx(0, abs=1e-3)
    assert float(probe.values.mean()) > 0.5
