"""Questions about what goes on inside a recurrent net, each a pure function of the model, what it reads and the options."""

from __future__ import annotations

from torch import Tensor

from dlplay.architectures.recurrent.model import PARTS, Recurrent
from dlplay.architectures.recurrent.options import Activations
from dlplay.architectures.recurrent.problem import Problem, chosen, hold_of, hold_words
from dlplay.engine.panels import Array, Bars, HeatMap, Tokens
from dlplay.parts.norms import norms as norms_of

MAP = 128
"""Steps that a heat map shows, at most."""

SIGNED = ("hidden", "cell", "candidate")
"""What may be negative; the gates lie between 0 and 1."""


def activations(model: Recurrent, problem: Problem, options: Activations) -> HeatMap:
    """Every unit of a layer through time."""
    labels, values, name, notes = _followed(model, problem, options)
    layer, _ = chosen(model, options)
    spread = values.std(dim=0, unbiased=False)
    liveliest = spread.topk(min(3, len(spread))).indices.tolist()
    cut = [f"the last {MAP} of {len(labels)} steps"] if len(labels) > MAP else []
    return HeatMap(
        values=Array.of(values[-MAP:].T.contiguous().numpy()),
        rows=[f"unit {unit}" for unit in range(model.width)],
        columns=labels[-MAP:],
        row_title="unit",
        column_title="what is read",
        signed=name in SIGNED and not (name == "hidden" and model.cell == "rnn-relu"),
        low=None if name in ("cell", "hidden") else 0.0,
        high=None if name in ("cell", "hidden") else 1.0,
        figure=f"{name}, layer {layer} of 0–{model.layers - 1}",
        caption=" · ".join([f"liveliest units: {', '.join(map(str, liveliest))}", *cut, *notes]),
    )


def unit(model: Recurrent, problem: Problem, options: Activations) -> Tokens:
    """One unit's value after each step of what is read; the middle of the scale is 0 for what can be negative."""
    labels, values, name, notes = _followed(model, problem, options)
    layer, number = chosen(model, options)
    own = values[:, number]
    largest = max(1.0, float(own.abs().max()))
    if name in SIGNED:
        scaled = (own / largest + 1) / 2
    else:
        scaled = own
    return Tokens(
        words=labels,
        values=scaled.tolist(),
        notes=[f"{label}: {value:.3f} after it" for label, value in zip(labels, own.tolist(), strict=True)],
        figure=f"unit {number} of 0–{model.width - 1}, {name}",
        caption=" · ".join([f"layer {layer}, from {float(own.min()):.2f} to {float(own.max()):.2f}", *notes]),
    )


def _followed(model: Recurrent, problem: Problem, options: Activations) -> tuple[list[str], Tensor, str, list[str]]:
    """Labels of the steps, the part's values (T, H) at them, the part's name, and notes."""
    reading = problem.reading(options)
    hold = hold_of(model, options)
    layer, _ = chosen(model, options)
    name = options.part if options.part in PARTS[model.cell] else "hidden"
    instead = [] if name == options.part else [f"{model.cell} has no {options.part}: its hidden state is shown"]
    values = model.trace(reading.inputs, hold).part(layer, name)[0]
    return reading.labels, values.float().cpu(), name, [*instead, *hold_words(hold), *reading.notes]


def norms(model: Recurrent) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a token passes them."""
    return norms_of(model, _label)


def _label(name: str) -> str:
    """A parameter's part in words."""
    module, _, kind = name.partition(".")
    if module != "rnn":
        return {"tokens": "embedding", "dense": "dense layer", "output": "output"}[module]
    _, _, layer = kind.partition("_l")
    layer = layer.replace("_reverse", " backward")
    return f"layer {layer} " + (
        "biases" if kind.startswith("bias") else "from its input" if kind.startswith("weight_ih") else "from itself"
    )
