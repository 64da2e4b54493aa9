"""What a run takes is told before it trains: by what one step really adds, and in words where it will not do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dlplay import architectures
from dlplay.engine import device
from dlplay.engine.settings import field
from dlplay.runs import process
from tests.conftest import Build, Dlplay
from tests.rooms import has_facts

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

NAMES = [name for name in architectures.cards() if has_facts(name)]


def bytes_of(task: object) -> int:
    """Of the gradients and of what the optimisers keep, their counts of steps left out."""
    gradients = {id(p): p.grad.nbytes for model in task.models.values() for p in model.parameters() if p.grad is not None}  # type: ignore[attr-defined]
    slots = [
        slot.nbytes
        for optimizer in task.optimizers.values()  # type: ignore[attr-defined]
        for slots in optimizer.state.values()
        for name, slot in slots.items()
        if isinstance(slot, torch.Tensor) and name != "step"
    ]
    return sum(gradients.values()) + sum(slots)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_told_is_what_training_adds(name: str, build: Build) -> None:
    task = build(name)
    told = process._still_needed(task)
    for _ in range(200):  # a DQN learns from its first batch on
        task.advance()
        task.step += 1
        if task._updates:
            break
    assert bytes_of(task) == told


def test_a_momentum_is_one_number_a_parameter(build: Build) -> None:
    assert "sgd" in field(architectures.card("convnet").settings, "optimizer").choices
    task = build("convnet", optimizer="sgd")
    told = process._still_needed(task)
    task.advance()
    assert bytes_of(task) == told


def test_where_it_will_not_do_a_warning_says_so(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build("gpt")
    assert list(process._shortage(task)) == []
    monkeypatch.setattr(device, "free_bytes", lambda device: 1000)
    [warning] = process._shortage(task)
    assert warning.what == "memory will run out"
    assert "1.0 kB are free on cpu" in warning.why
    monkeypatch.setattr(device, "free_bytes", lambda device: None)
    assert list(process._shortage(task)) == []


def test_free_memory_is_less_than_the_machine_has() -> None:
    assert 0 < (device.free_bytes(torch.device("cpu")) or 0) < 1 << 50


def test_the_first_line_says_what_a_large_model_takes(dlplay: Dlplay, tmp_path: Path, own_words: Path) -> None:
    given = ["--layers", "2", "--width", "768", "--heads", "12", "--steps", "1", "--block-size", "16", "--batch", "1", "--eval-every", "5"]
    found = dlplay("gpt", "--headless", "--runs-dir", str(tmp_path), "--text", str(own_words), *given)
    assert "parameters (228 MB with gradients and optimiser), " in found.out
