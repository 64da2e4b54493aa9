"""Where gradients vanish or explode: the norms of a model's parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlplay.engine.panels import Bars


def norms(model: nn.Module, label: Callable[[str], str]) -> Bars:
    """Norm of the last step's gradient and of the weights of each part of a model, in the order of its parameters.

    `label` tells the part by a parameter's name; parameters of one part are taken together.
    """
    weights: dict[str, list[Tensor]] = {}
    gradients: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        weights.setdefault(label(name), []).append(parameter)
        if parameter.grad is not None:
            gradients.setdefault(label(name), []).append(parameter.grad)
    labels = list(weights)
    stepped = bool(gradients)
    return Bars(
        labels=labels,
        values=_totals(gradients, labels) if stepped else _totals(weights, labels),
        second=_totals(weights, labels) if stepped else [],
        names=["gradient", "weights"] if stepped else ["weights"],
        log=True,
        caption="" if stepped else "weights alone: there is no gradient before the first step of this process",
    )


def probe_norms(model: nn.Module, loss: Callable[[], Tensor], labels: list[str]) -> Bars:
    """Norm of each weight matrix or kernel of a model and of the gradient of `loss()` with respect to it; `labels` name them in the order
    of the parameters. `.grad` stays as it is."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    with torch.enable_grad():
        value = loss()
        gradients = torch.autograd.grad(value, weights)
    return Bars(
        labels=labels,
        values=[weight.norm().item() for weight in weights],
        second=[gradient.norm().item() for gradient in gradients],
        names=["weights", "gradient"],
        log=True,
        figure=f"loss {value.item():.3g}",
    )


def _totals(groups: dict[str, list[Tensor]], labels: list[str]) -> list[float]:
    nothing = torch.zeros((), device=next(iter(groups.values()))[0].device)  # what has no gradient lies where the others do
    found: list[float] = torch.stack([torch.nn.utils.get_total_norm(groups.get(label, [nothing])) for label in labels]).tolist()
    return found
