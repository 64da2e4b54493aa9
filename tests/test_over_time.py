"""Histograms of a layer over time: of the weights that a run kept along its way, and without a trace in the training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dlplay import architectures
from dlplay.engine.card import Card
from dlplay.engine.device import prepare
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import HeatMap, Table
from dlplay.engine.settings import make
from dlplay.engine.task import Task
from dlplay.microscope import layer
from dlplay.runs import ask, process
from dlplay.runs.directory import RunDirectory
from tests.conftest import Dlplay, Small
from tests.contract.test_task import differences, everything, step

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = architectures.cards()


def begun(card: Card, small: Small, **values: Any) -> Task[Any]:
    settings = make(card.settings, small(card.name) | {"device": "cpu", "steps": 100} | values)
    return card.load_task()(settings, prepare(settings), None)


def keep(task: Task[Any], reads: list[int]) -> Callable[[], None]:
    """What keeps the weights of now, as a checkpoint along the way would; `reads` lists those that are read."""
    kept: dict[int, Any] = {}
    task.earlier = lambda: dict(kept)

    def read(number: int, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        reads.append(number)
        return weights

    def now() -> None:
        kept[task.step] = functools.partial(read, task.step, {name: value.clone() for name, value in task.weights().items()})

    return now


def over_time(task: Task[Any], card: Card, details: str, **options: Any) -> Any:
    return panel_of(task, card.panel("layer"), {"details": details, "over_time": True, **options})


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("details", ["weights", "activations", "gradients"])
def test_looking_back_leaves_the_training_alone(name: str, details: str, small: Small) -> None:
    card = CARDS[name]
    task = begun(card, small)
    now = keep(task, reads := [])
    for _ in range(3):
        now()
        step(task)
    before = everything(task)
    shown = over_time(task, card, details)
    if isinstance(shown, Table):
        assert details == "gradients"
        assert shown.caption in (
            "gradients that the optimiser remembers: nothing is remembered of earlier ones",
            "gradients are not known before the first update",
        )
    else:
        assert shown.rows == ["0", "1", "2", "3"]
        assert np.allclose(shown.values.numpy().sum(1), 1, atol=1e-5)
        assert reads == [0, 1, 2]
        assert over_time(task, card, details) == shown
        assert reads == [0, 1, 2], "what never changes is computed once"
    assert differences(before, everything(task)) == []
    for _ in range(2):
        step(task)
    other = begun(card, small)
    for _ in range(5):
        step(other)
    assert differences(everything(other), everything(task)) == []


@pytest.mark.parametrize("details", ["weights", "activations", "gradients"])
def test_a_row_is_the_histogram_of_then(details: str, small: Small) -> None:
    """Against the histograms of the moment, which were asked for at each step, in the bins of all of them."""
    card = CARDS["convnet"]
    task = begun(card, small, lr=0.05)
    now = keep(task, [])
    values: list[np.ndarray[Any, Any]] = []
    for _ in range(4):
        found, _ = task_values(task, details)
        values.append(found)
        now()
        step(task)
    values.append(task_values(task, details)[0])
    shown = over_time(task, card, details, module="classifier")
    edges = np.linspace(min(each.min() for each in values), max(each.max() for each in values), layer.BINS + 1)
    for row, each in zip(shown.values.numpy(), values, strict=True):
        expected = np.histogram(each, edges)[0] / each.size
        assert np.abs(row - expected).max() < 3 / each.size + 1e-6, "but for values on an edge"
    assert np.abs(shown.values.numpy()[0] - shown.values.numpy()[-1]).max() > 0.01


def task_values(task: Task[Any], details: str) -> tuple[np.ndarray[Any, Any], str]:
    """Of the classifier's matrix, computed without the panel's own code."""
    module: Any = task.models["net"].get_submodule("classifier")
    seen: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda module, inputs, result: seen.append(result.detach()))
    was = task.models["net"].training
    task.models["net"].eval()
    probe = task.probe()
    assert probe is not None
    handle.remove()
    gradient = torch.autograd.grad(probe.values.mean(), module.weight)[0]
    task.models["net"].train(was)
    found = {"weights": module.weight.detach(), "activations": seen[0], "gradients": gradient}[details]
    return found.flatten().numpy().copy(), details


def test_of_many_checkpoints_some_are_shown(small: Small) -> None:
    card = CARDS["convnet"]
    task = begun(card, small)
    now = keep(task, reads := [])
    for _ in range(40):
        now()
        step(task)
    shown = over_time(task, card, "weights")
    assert len(shown.rows) == layer.MOST_ROWS + 1
    assert (shown.rows[0], shown.rows[-2], shown.rows[-1]) == ("0", "39", "40")
    assert len(reads) == layer.MOST_ROWS


def test_a_model_without_a_past_says_so(small: Small) -> None:
    shown = over_time(begun(CARDS["convnet"], small), CARDS["convnet"], "weights")
    assert isinstance(shown, HeatMap)
    assert shown.rows == ["0"]
    assert shown.caption.endswith("this model has no earlier checkpoints")


def test_a_failure_in_between_puts_the_weights_back(small: Small) -> None:
    card = CARDS["convnet"]
    task = begun(card, small)
    keep(task, [])()
    step(task)
    known = task.earlier()[0]

    def broken() -> dict[str, torch.Tensor]:
        raise ValueError("the disk is gone")

    task.earlier = lambda: {0: known, 1: broken}
    before = everything(task)
    with pytest.raises(ValueError, match="the disk is gone"):
        over_time(task, card, "weights")
    assert differences(before, everything(task)) == []


def test_a_run_shows_its_checkpoints_along_the_way(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    trained = dlplay(
        "convnet", "--headless", "--steps", "12", "--eval-every", "12", "--runs-dir", str(runs), "--device", "cpu", "--batch", "8"
    )
    assert trained.status == 0, trained.err
    card, run = CARDS["convnet"], RunDirectory(runs / "convnet-1")
    settings = make(card.settings, run.spec.settings)
    kept = list(process.steps.steps(run))
    assert kept[0] == 0
    assert kept[-1] == 12
    shown: Any = ask.answer(card, settings, "convnet-1", runs, "layer", {"over_time": True})
    assert shown.rows == [str(number) for number in kept]
    [(at, then)] = ask.answers(card, settings, run, "layer", {"over_time": True}, [5])
    assert isinstance(then, HeatMap)
    assert then.rows == [str(number) for number in kept if number <= at]
