"""Parameter groups, schedules and live rates: what every training step sets before it updates the weights.

A checkpoint keeps an optimiser's slots (momentum, variance) and not its rates: those come from the settings, at every step, so that a
setting that changes during a run needs nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dlplay.parts.image_settings import OptimizerSettings

RISE = 0.3
"""Share of the one cycle in which the learning rate rises."""
TRIANGLE_RISE = 0.2
"""The same of the triangle."""
MOMENTUM_CYCLE = 0.1
"""How far the momentum falls in it: from 0.95 to 0.85 in the paper."""


def decay_groups(*models: nn.Module) -> list[dict[str, Any]]:
    """Two parameter groups: matrices, kernels and embeddings, which weight decay may pull on, and biases and norms, which it may not."""
    parameters = [p for model in models for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "decays": True},
        {"params": [p for p in parameters if p.ndim < 2], "decays": False, "weight_decay": 0.0},
    ]


def adamw(
    model: nn.Module, *, lr: float, weight_decay: float, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) with weight decay on matrices and embeddings alone. The betas are those of GPT-3
    (Brown et al., 2020)."""
    return torch.optim.AdamW(decay_groups(model), lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """SGD with momentum or Nesterov's, Adam or AdamW, fused, with weight decay on matrices and kernels alone. `update_rates` sets its
    rates."""
    groups = decay_groups(model)
    if settings.optimizer in ("sgd", "nesterov"):
        ahead = settings.optimizer == "nesterov"
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=ahead, fused=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, fused=True)


def update_rates(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, step: int) -> None:
    """Learning rate, weight decay and momentum (Adam's first beta) of the update after `step` finished ones.

    With one-cycle the momentum moves as well, see `cycled`."""
    progress = step / settings.steps
    momentum = cycled(settings.momentum, progress) if settings.schedule == "one-cycle" else settings.momentum
    slots = {"momentum": momentum} if settings.optimizer in ("sgd", "nesterov") else {"betas": (momentum, 0.999)}
    set_rates(optimizer, lr=settings.lr * schedule(settings.schedule, progress), weight_decay=settings.weight_decay, **slots)


def set_rates(optimizer: torch.optim.Optimizer, *, lr: float, weight_decay: float | None = None, **others: Any) -> None:
    """The rates of the next update; weight decay goes to the groups that decay, `others` (such as betas, momentum) to all."""
    if weight_decay is not None:
        _regroup(optimizer, apart=weight_decay > 0)
    for group in optimizer.param_groups:
        group["lr"] = lr
        if weight_decay is not None:
            group["weight_decay"] = weight_decay if group.get("decays", True) else 0.0
        group.update(others)


def _regroup(optimizer: torch.optim.Optimizer, *, apart: bool) -> None:
    """Without weight decay the two groups of `decay_groups` are treated alike: as one group, in the same order, they are updated to the
    same bits with half the calls."""
    groups = optimizer.param_groups
    if not apart and len(groups) == 2 and {group.get("decays") for group in groups} == {True, False}:
        first, second = groups
        first["decay_first"] = len(first["params"])
        first["params"] = first["params"] + second["params"]
        del groups[1]
    elif apart and len(groups) == 1 and "decay_first" in groups[0]:
        count = groups[0].pop("decay_first")
        groups.append({**groups[0], "params": groups[0]["params"][count:], "decays": False})
        groups[0]["params"] = groups[0]["params"][:count]


def schedule(kind: str, progress: float) -> float:
    """Share of the learning rate at `progress` from 0 to 1: constant, cosine, linear, triangle or one-cycle.

    One-cycle follows Smith and Topin (2017): up from 1/25 to 1 and down to nearly nothing, see `cycle`. The triangle's straight lines are
    those of Page (2018), whose peak is after 5 of 24 epochs.
    """
    progress = min(1.0, progress)
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if kind == "linear":
        return 1.0 - progress
    if kind == "triangle":
        return min(progress / TRIANGLE_RISE, (1 - progress) / (1 - TRIANGLE_RISE))
    if kind == "one-cycle":
        floor = 0.04 if progress < RISE else 1e-4
        return floor + (1 - floor) * cycle(progress)
    if kind == "constant":
        return 1.0
    raise ValueError(f"there is no schedule {kind!r}; known are constant, cosine, linear, triangle and one-cycle")


def set_one_cycle(optimizer: torch.optim.Optimizer, progress: float, *, lr: float, weight_decay: float) -> None:
    """The rates of AdamW's next update at `progress` from 0 to 1 of the one-cycle schedule. It needs no warm-up. The first beta moves below
    the one that the optimiser was made with, see `cycled`."""
    beta1, beta2 = optimizer.defaults["betas"]
    share = schedule("one-cycle", progress)
    set_rates(optimizer, lr=lr * share, weight_decay=weight_decay, betas=(cycled(beta1, progress), beta2))


def cycled(momentum: float, progress: float) -> float:
    """The momentum, or Adam's first beta, in the one-cycle schedule: it falls by 0.1 as the learning rate rises, and rises as it falls
    (Smith, 2018): their ratio sets how far an update goes."""
    return max(0.0, momentum - MOMENTUM_CYCLE * cycle(progress))


def cycle(progress: float) -> float:
    """Height of the one cycle at `progress` from 0 to 1: half a cosine from 0 up to 1 over the first 30 %, and another down to 0."""
    progress = min(1.0, progress)
    if progress < RISE:
        return 0.5 * (1 - math.cos(math.pi * progress / RISE))
    return 0.5 * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE)))


def warmup_cosine(step: int, warmup: int, steps: int, floor: float = 0.1) -> float:
    """Share of the learning rate for the step after `step` finished ones: a linear warm-up to 1, then half a cosine down to `floor` at the
    last of `steps`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
