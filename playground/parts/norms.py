"""Where gradients vanish or explode, and how far updates go: the norms of a model's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dlplay.engine.panels import Bars

RATIO = "log scale · in brackets: the last update's norm over that of the weights, about 1e-3 is usual"


def norms(model: nn.Module, label: Callable[[str], str], optimizer: torch.optim.Optimizer) -> Bars:
    """Norm of the last step's gradient and of the weights of each part of a model, in the order of its parameters, and in brackets behind
    its name the ratio of the last update's norm to that of the weights.

    `label` tells the part by a parameter's name; parameters of one part are taken together.
    """
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(label(name), []).append(parameter)
    weights = [_norm(part) for part in parts.values()]
    gradients = [[parameter.grad for parameter in part if parameter.grad is not None] for part in parts.values()]
    stepped = any(gradients)
    values = torch.stack([_norm(part) for part in gradients] if stepped else weights)
    return Bars(
        labels=with_ratios(list(parts), list(parts.values()), optimizer),
        values=values.tolist(),
        second=torch.stack(weights).tolist() if stepped else [],
        names=["gradient", "weights"] if stepped else ["weights"],
        log=True,
        caption=RATIO if stepped else "log scale · weights alone: there is no gradient before the first step of this process",
    )


def probe_norms(model: nn.Module, loss: Callable[[], Tensor], labels: list[str], optimizer: torch.optim.Optimizer) -> Bars:
    """Norm of each weight matrix or kernel of a model and of the gradient of `loss()` with respect to it; `labels` name them in the order
    of the parameters, and in brackets behind them stands the ratio of the last update's norm to that of the weights. `.grad` stays as it
    is."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    with torch.enable_grad():
        value = loss()
        gradients = torch.autograd.grad(value, weights)
    shown = with_ratios(labels, [[weight] for weight in weights], optimizer)
    return Bars(
        labels=shown,
        values=[weight.norm().item() for weight in weights],
        second=[gradient.norm().item() for gradient in gradients],
        names=["weights", "gradient"],
        log=True,
        figure=f"loss {value.item():.3g}",
        caption=RATIO if shown != labels else "log scale",
    )


def with_ratios(labels: list[str], parts: list[list[nn.Parameter]], optimizer: torch.optim.Optimizer) -> list[str]:
    """Each label with the ratio of the last update's norm to that of the part's weights; as they are before the first step."""
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    shown = []
    for label, part in zip(labels, parts, strict=True):
        updates = [last_update(optimizer, groups[parameter], parameter) for parameter in part if parameter.grad is not None]
        known = [update for update in updates if update is not None]
        ratio = _norm(known) / _norm(part) if known and len(known) == len(updates) else None
        shown.append(label if ratio is None else f"{label} ({ratio.item():.1e})")
    return shown


@torch.no_grad()
def last_update(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: nn.Parameter) -> Tensor | None:
    """What the optimiser's last step subtracted from a parameter, from its moments and rates: nothing is stored for it while training.

    For SGD, Adam and AdamW; None for others.
    """
    state, lr, decay = optimizer.state.get(parameter, {}), group["lr"], group["weight_decay"]
    if isinstance(optimizer, torch.optim.SGD) and parameter.grad is not None:
        if (buffer := state.get("momentum_buffer")) is not None:
            return lr * buffer  # type: ignore[no-any-return]
        before = (parameter + lr * parameter.grad) / (1 - lr * decay)
        update: Tensor = lr * (parameter.grad + decay * before)
        return update
    if isinstance(optimizer, torch.optim.Adam) and "exp_avg" in state:  # AdamW is one, too
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"] / (1 - beta1 ** state["step"])
        variance = state["exp_avg_sq"] / (1 - beta2 ** state["step"])
        step = lr * mean / (variance.sqrt() + group["eps"])
        if not group["decoupled_weight_decay"]:
            return step  # type: ignore[no-any-return]
        before = (parameter + step) / (1 - lr * decay)
        return step + lr * decay * before  # type: ignore[no-any-return]
    return None


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(tensor) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
