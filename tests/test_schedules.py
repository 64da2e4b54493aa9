"""One-cycle is a schedule of every architecture, the momentum moving against the learning rate."""

import dataclasses

import pytest
import torch

from dlplay import architectures
from dlplay.engine.settings import field, make
from dlplay.parts import optimizers
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


def test_one_group_without_weight_decay_is_updated_to_the_same_bits_as_two() -> None:
    """And a live change of the weight decay parts the groups again."""
    nets = []
    for merged in (True, False):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3))
        optimizer = optimizers.adamw(net, lr=0.01, weight_decay=0.0)
        pen = torch.Generator().manual_seed(1)
        for step in range(30):
            decay = 0.1 if 10 <= step < 20 else 0.0
            if merged:
                optimizers.set_rates(optimizer, lr=0.01, weight_decay=decay)
                assert len(optimizer.param_groups) == (2 if decay else 1)
            else:
                for group in optimizer.param_groups:
                    group["weight_decay"] = decay if group["decays"] else 0.0
            optimizer.zero_grad()
            net(torch.randn(16, 6, generator=pen)).square().mean().backward()
            optimizer.step()
        nets.append([parameter.detach() for parameter in net.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*nets, strict=True))
