"""The fixed held-out examples that an intervention's effect is measured on, of every room that has some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine import state
from dlplay.engine.device import prepare
from dlplay.engine.settings import make
from dlplay.engine.task import Task, looking
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = architectures.cards()
OTHERS: dict[str, list[Mapping[str, Any]]] = {
    "bert": [{"data": "{pairs}"}, {"next_sentence": True}],
    "transformer-xl": [{"task": "text", "text": "{text}"}],
}
"""Settings beside the small ones that make another problem of a room."""
SAME = {"gpt": "val_loss", "bert": "masked_loss", "seq2seq": "val_loss", "transformer-xl": "val_loss"}
"""The metric of an evaluation that the probe's mean is an estimate of."""


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{'good' if n % 2 else 'bad'} word{n}\t{'yes' if n % 2 else 'no'}\n" for n in range(60)))
    return str(path)


def build(name: str, settings: Mapping[str, Any]) -> Task[Any]:
    checked = make(CARDS[name].settings, {**settings, "device": "cpu", "steps": 100})
    return CARDS[name].load_task()(checked, prepare(checked), None)


def fingerprint(task: Task[Any]) -> list[Any]:
    tensors, plain = state.flatten(task.state_dict())
    grads = [None if p.grad is None else p.grad.tolist() for model in task.models.values() for p in model.parameters()]
    return [repr(plain), {name: value.tolist() for name, value in (tensors | task.weights()).items()}, grads]


CASES = [(name, other) for name in CARDS for other in [{}, *OTHERS.get(name, [])]]


@pytest.mark.parametrize(("name", "other"), CASES, ids=[f"{name}-{'-'.join(other) or 'small'}" for name, other in CASES])
def test_the_probe_is_the_same_every_time_and_an_estimate_of_the_evaluation(
    name: str, other: Mapping[str, Any], small: Small, own_words: Path, pairs: str
) -> None:
    files = {"{pairs}": pairs, "{text}": str(own_words)}
    task = build(name, small(name) | {key: files.get(value, value) for key, value in other.items()})
    for _ in range(2):
        task.train_step()
        task.step += 1
    before = fingerprint(task)
    with looking(task):
        found, again = task.probe(), task.probe()
        if found is None or again is None:
            return
        evaluated = task.evaluate()
    assert fingerprint(task) == before
    assert found.values.ndim == 1
    assert len(found.values) >= 2
    assert torch.equal(found.values, again.values)
    assert bool(found.values.isfinite().all())
    assert found.name
    metric = "test_loss" if "data" in other else SAME.get(name, "")
    if metric:
        assert float(found.values.mean()) == pytest.approx(evaluated[metric], rel=0.1)
