"""Optimisers without torch.compile, and Adam's step straight to its kernel: the same updates to the bit."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from dlplay.engine.eager import use_eager_optimizers

use_eager_optimizers()


def own_step(optimizer: Optimizer) -> None:
    """torch's."""
    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)


def trained(kind: type[Optimizer], options: dict[str, Any], dtypes: tuple[torch.dtype, ...], *, own: bool) -> list[Tensor]:
    """Parameters and slots after some updates in two groups; one parameter gets its first gradient late, another none."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(5, 3, generator=generator).to(dtype).requires_grad_() for dtype in (*dtypes, torch.float32, torch.float32)]
    *used, late, never = parameters
    optimizer = kind([{"params": [*used, late], "weight_decay": 0.1}, {"params": [never]}], **options)
    for step in range(6):
        for parameter in [*used, late] if step > 2 else used:
            parameter.grad = torch.randn(5, 3, generator=generator).to(parameter.dtype)
        optimizer.param_groups[0]["lr"] = 0.01 * (step + 1)
        own_step(optimizer) if own else optimizer.step()
    return parameters + [slot for parameter in [*used, late] for slot in optimizer.state[parameter].values()]


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"maximize": True}, {"fused": False}, {"betas": (0.5, 0.9)}], ids=str)
@pytest.mark.parametrize("dtypes", [(torch.float32,), (torch.float32, torch.float64)], ids=["alike", "mixed"])
def test_updates_are_those_of_torch(kind: type[Optimizer], options: dict[str, Any], dtypes: tuple[torch.dtype, ...]) -> None:
    options = {"lr": 0.01, "fused": True} | options
    for mine, torchs in zip(trained(kind, options, dtypes, own=False), trained(kind, options, dtypes, own=True), strict=True):
        assert torch.equal(mine, torchs)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_plain_update_goes_straight_to_the_kernel(kind: type[Optimizer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "adam", None)  # what chooses the kernel
    trained(kind, {"lr": 0.01, "fused": True}, (torch.float32,), own=False)


@pytest.mark.parametrize("kind", [Adam, AdamW, SGD])
def test_a_closure_is_called(kind: type[Optimizer]) -> None:
    parameter = torch.ones(3, requires_grad=True)
    optimizer = kind([parameter], lr=0.1, fused=True)

    def closure() -> float:
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == 3.0
    assert parameter[0] < 1


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_gradient_scaler_is_heard(kind: type[Optimizer]) -> None:
    """It tells a fused optimiser to leave out an update, and by how much gradients are scaled."""
    parameters = [torch.ones(3, requires_grad=True) for _ in range(2)]
    optimizers = [kind([parameter], lr=0.1, fused=True) for parameter in parameters]
    for scale, inf in ((4.0, 0.0), (4.0, 1.0)):
        for parameter, optimizer in zip(parameters, optimizers, strict=True):
            parameter.grad = torch.full((3,), 2.0)
            optimizer.grad_scale, optimizer.found_inf = torch.tensor(scale), torch.tensor(inf)  # type: ignore[attr-defined]
        optimizers[0].step()
        own_step(optimizers[1])
        assert torch.equal(*parameters)
    assert optimizers[0].state[parameters[0]]["step"] == 1, "the second update was left out"
