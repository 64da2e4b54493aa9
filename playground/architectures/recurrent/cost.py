"""Milliseconds a training step takes at growing length: a recurrent layer, a causal convolution and causal attention of the same width."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.architectures.recurrent.model import Recurrent
from dlplay.engine.panels import Lines

LENGTHS = (16, 32, 64, 128, 256, 512)
KERNEL = 4
"""Steps that the convolution sees at once."""
NOT_MEASURED = Lines(x=[], series={}, caption="set measurement to 1 to measure here and now; training waits about two seconds")
SECONDS = 0.06
REPEATED = 6
"""One layer is timed at one length until both are reached, the first time to warm up; the quickest counts, since other programs disturb."""


def measure(cell: str, width: int, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of forward and backward of one layer, by layer and in the order of `LENGTHS`; fresh weights, random inputs."""
    recurrent = Recurrent(1, cell=cell, inputs=width, width=width).to(device)
    convolution = nn.Conv1d(width, width, KERNEL).to(device)
    qkv, projection = nn.Linear(width, 3 * width).to(device), nn.Linear(width, width).to(device)
    heads = max(heads for heads in (8, 4, 2, 1) if width % heads == 0)

    def attend(x: Tensor) -> Tensor:
        q, k, v = qkv(x).unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)  # (B, heads, T, C) each
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        out: Tensor = projection(mixed)
        return out

    layers: dict[str, Callable[[Tensor], Tensor]] = {
        cell: lambda x: recurrent(x)[0],
        "convolution": lambda x: convolution(F.pad(x.transpose(1, 2), (KERNEL - 1, 0))),
        "attention": attend,
    }
    found: dict[str, list[float]] = {name: [] for name in layers}
    with torch.enable_grad():
        for length in LENGTHS:
            x = torch.randn(1, length, width).to(device).requires_grad_()
            for name, layer in layers.items():
                found[name].append(1000 * _seconds(layer, x))
    return found


def _seconds(layer: Callable[[Tensor], Tensor], x: Tensor) -> float:
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < REPEATED or (time.perf_counter() - began < SECONDS and len(taken) < 50):
        _wait(x.device)
        start = time.perf_counter()
        layer(x).sum().backward()  # type: ignore[no-untyped-call]
        _wait(x.device)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def lines(found: dict[str, list[float]], cell: str, width: int, where: str) -> Lines:
    """The measurement as curves."""
    longest = {name: values[-1] for name, values in found.items()}
    return Lines(
        x=[float(length) for length in LENGTHS],
        series={name: [float(f"{value:.4g}") for value in values] for name, values in found.items()},
        x_title="steps in the sequence",
        log=True,
        figure=f"{longest[cell] / longest['attention']:.3g} x attention at {LENGTHS[-1]}",
        caption=f"ms, forward and backward, one layer of width {width}, one sequence, quickest of several, on {where}",
    )
