"""One-cycle is a schedule of every architecture, the momentum moving against the learning rate."""

import dataclasses

import pytest
import torch

from dlplay import architectures
from dlplay.engine.settings import field, make
from tests.conftest import Small

CARDS = architectures.cards()

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", CARDS)
def test_one_cycle_moves_rate_and_momentum(name: str, small: Small) -> None:
    """At the start, at the peak after 30 % of the steps, and at the end; momentum is first beta or SGD's momentum."""
    card = CARDS[name]
    assert "one-cycle" in field(card.settings, "schedule").choices
    values = {**small(name), "steps": 1000, "schedule": "one-cycle"}
    if name == "dqn":
        values |= {"learning_starts": 0, "train_frequency": 1}
    settings = make(card.settings, values)
    torch.manual_seed(0)
    task = card.load_task()(settings, torch.device("cpu"))
    usual = card.load_task()(dataclasses.replace(settings, schedule=other(name)), torch.device("cpu"))  # type: ignore[call-arg]
    while task.step < 3:  # some need a few steps before they update
        task.train_step()
        task.step += 1
        usual.train_step()
        usual.step += 1
    found = {}
    for step in (0, 300, 1000):
        task.step = step
        task.train_step()
        found[step] = [(group["lr"], momentum(group)) for optimizer in task.optimizers.values() for group in optimizer.param_groups]
    plain = [momentum(group) for optimizer in usual.optimizers.values() for group in optimizer.param_groups]
    peaks = [rate for rate, _ in found[300]]
    assert set(peaks) <= {settings.lr, getattr(settings, "critic_lr", None)}  # type: ignore[attr-defined]
    assert [rate for rate, _ in found[0]] == pytest.approx([0.04 * peak for peak in peaks])
    assert [rate for rate, _ in found[1000]] == pytest.approx([1e-4 * peak for peak in peaks])
    assert [beta for _, beta in found[0]] == plain
    assert [beta for _, beta in found[300]] == pytest.approx([max(0.0, beta - 0.1) for beta in plain])
    assert [beta for _, beta in found[1000]] == pytest.approx(plain)


def other(name: str) -> str:
    """Another schedule of the architecture."""
    return next(choice for choice in field(CARDS[name].settings, "schedule").choices if choice not in ("one-cycle", "paper"))


def momentum(group: dict[str, object]) -> float:
    betas = group.get("betas")
    return float(betas[0] if isinstance(betas, tuple) else group["momentum"])  # type: ignore[arg-type]
