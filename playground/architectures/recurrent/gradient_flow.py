"""How much of the last step's error reaches the steps before it: in this model, and in fresh ones of every cell."""

from __future__ import annotations

import torch
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent
from dlplay.architectures.recurrent.problem import Problem
from dlplay.engine.panels import Lines

FLOOR = 1e-30
"""Below this a gradient counts as nothing (single precision ends at about 1e-38)."""


def norms_back(model: Recurrent, problem: Problem, inputs: Tensor, targets: Tensor) -> list[float]:
    """Norm of the last step's loss with respect to the last layer's hidden state 0, 1, 2 … steps back."""
    with torch.enable_grad():
        trace = model.trace(inputs)
        loss = problem.criterion(problem.answer(model, trace.hidden), targets)
        hidden = [parts["hidden"] for parts in trace.layers[-1]]
        gradients = torch.autograd.grad(loss, hidden, allow_unused=True)
    return [0.0 if gradient is None else gradient.norm().item() for gradient in reversed(gradients)]


def curves(models: dict[str, Recurrent], problem: Problem, inputs: Tensor, targets: Tensor) -> dict[str, list[float]]:
    """`norms_back` of each model."""
    return {name: norms_back(model, problem, inputs, targets) for name, model in models.items()}


def flow(model: Recurrent, problem: Problem, inputs: Tensor, targets: Tensor, fresh: dict[str, list[float]]) -> Lines:
    """This model's curve beside those of fresh cells of the same size; all read the same pieces of held-out data."""
    own = norms_back(model, problem, inputs, targets)
    share = own[-1] / own[0] if own[0] > 0 else 0.0
    return Lines(
        x=[float(step) for step in range(len(own))],
        series={
            name: [value if value > FLOOR else None for value in values] for name, values in {f"this {model.cell}": own, **fresh}.items()
        },
        x_title="steps back",
        log=True,
        figure=f"x {share:.2g} over {len(own) - 1} steps" if share else f"nothing left after {len(own) - 1} steps",
        caption=f"mean loss of the last step of {inputs.shape[0]} held-out pieces; layer {model.layers - 1}",
    )
