"""Parts of the picture of a forward pass: what stands after a layer, as the panel `Layers` takes it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dlplay.data.tokens import Tokenizer
from dlplay.engine.panels import Array, Layer

GUESSES = 6
"""Candidates that are listed after a layer."""
LAST_WORDS = 24
"""Words of a text that are shown."""
REPEATED = 4
"""Times from which on a word that is repeated is counted."""
MOST_HIDDEN = 4
"""Hidden layers that are shown, evenly spaced, where there are more."""
MOST_MAPS = 64
"""Feature maps of a layer that are shown, the first ones."""
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def words(title: str, labels: Sequence[str]) -> Layer:
    """A text, its last words; a word that is repeated many times stands once, with the number."""
    runs = [(label, len(list(same))) for label, same in itertools.groupby(labels)]
    told = [told for label, count in runs for told in ([f"{label} ×{count}"] if count >= REPEATED else [label] * count)]
    return Layer(title=title, labels=[*(["…"] if len(told) > LAST_WORDS else []), *told[-LAST_WORDS:]])


def state(title: str, values: Tensor, **selects: int) -> Layer:
    """The numbers (C,) of one layer; `selects` are the options that selecting it sets."""
    return Layer(title=title, values=values.float().cpu().tolist(), signed=bool((values < 0).any()), selects=selects)


def maps(title: str, values: Tensor, **selects: int) -> Layer:
    """The feature maps (C, h, w) of one layer; `selects` are the options that selecting it sets."""
    return Layer(title=title, images=Array.of(values[:MOST_MAPS].float().cpu()), signed=bool((values < 0).any()), selects=selects)


def candidates(title: str, probability: Tensor, label: Callable[[int], str], chosen: int | None = 0, **selects: int) -> Layer:
    """The most likely tokens, from their probabilities (V,); `selects` are the options that selecting it sets."""
    top = probability.topk(min(GUESSES, len(probability)))
    labels = [label(token) for token in top.indices.tolist()]
    return Layer(title=title, labels=labels, values=top.values.tolist(), percent=True, chosen=chosen, selects=selects)


def lens(
    residuals: Sequence[Tensor],
    head: Callable[[Tensor], Tensor],
    tokenizer: Tokenizer,
    first: str = "embedding",
    answers: Callable[[Tensor], Tensor] = lambda probability: probability,
    goal: str = "next",
) -> list[Layer]:
    """What the model would predict if it ended after each layer: residual streams (C,) through its head (nostalgebraist, 2020). `goal`
    is what the last layer predicts; `answers` takes the tokens that are no answers out of the probabilities (…, V)."""
    probability = answers(head(torch.stack(list(residuals))).cpu().double().softmax(dim=-1))  # (1 + L, V)
    shown = hidden_layers(len(probability) - 1)
    found = [candidates(first, probability[0], tokenizer.label, None)]
    for layer in shown:
        last = layer == len(probability) - 2
        title = f"layer {layer}" + (f" → {goal}" if last else "")
        found.append(candidates(title, probability[1 + layer], tokenizer.label, 0 if last else None, layer=layer))
    return found


def hidden_layers(count: int) -> list[int]:
    """Numbers of the hidden layers that are shown: all, or `MOST_HIDDEN` of them with the last one."""
    if count <= MOST_HIDDEN:
        return list(range(count))
    return sorted({round(index * (count - 1) / (MOST_HIDDEN - 1)) for index in range(MOST_HIDDEN)})


def activations(net: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """What the activation functions of a net give for the first example of `x` while it is read, in order, and the net's output."""
    found: list[Tensor] = []

    def keep(module: nn.Module, given: object, output: Tensor) -> None:
        found.append(output[0])

    handles = [module.register_forward_hook(keep) for module in net.modules() if isinstance(module, ACTIVATIONS)]
    try:
        output: Tensor = net(x)
    finally:
        for handle in handles:
            handle.remove()
    return found, output


def hidden(outputs: Sequence[Tensor], title: str = "hidden") -> list[Layer]:
    """Activations (C,) or (C, h, w) of the hidden layers; others, such as a transformer's (T, C), as one picture of tokens and units."""
    found = []
    for number in hidden_layers(len(outputs)):
        values, name = outputs[number], f"{title} {number + 1}"
        found.append(state(name, values) if values.ndim == 1 else maps(name, values if values.ndim == 3 else values[None]))
    return found
