"""Tokens a second when a text is read on: segment by segment with a memory, or with the whole window recomputed for every token.

Both predict every token of the same text from at least the same context, with the same weights. Without a memory a token has the full
context only as the last one of a window, so that a window is computed for each (Dai et al., 2019, section 4.6 and appendix A; there up to
1,874 times slower, at a context of 3,800 tokens).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import TransformerXL
from dlplay.engine.panels import Lines

CONTEXTS = (16, 32, 64, 128, 256, 512)
"""Tokens that every prediction sees at least, itself left out."""

NOT_MEASURED = Lines(x=[], series={}, caption="set measurement to 1 to measure here and now; training waits about three seconds")

SECONDS = 0.12
"""Each way is timed at each length for so long, the first time left out to warm up; the quickest counts, since other programs disturb."""

WINDOW_TOKENS = 4096
"""Tokens of the windows that are computed side by side."""


class Speeds(NamedTuple):
    """Tokens a second, in the order of `CONTEXTS`."""

    with_memory: list[float]
    recomputed: list[float]


def measure(model: TransformerXL, block: int) -> Speeds:
    """Both ways at every length of context; random tokens, since the contents cost nothing."""
    found = Speeds([], [])
    with torch.no_grad():
        for context in CONTEXTS:
            found.with_memory.append(_per_second(functools.partial(with_memory, model, block, context), block))
            windows = max(1, WINDOW_TOKENS // (context + 1))
            found.recomputed.append(_per_second(functools.partial(recomputed, model, windows, context), windows))
    return found


def with_memory(model: TransformerXL, block: int, context: int) -> Tensor:
    """Logits (block, V) after each token of one more segment, whose memory of `context` tokens is there from the last."""
    device, width = model.tokens.weight.device, model.tokens.weight.shape[1]
    memory = [torch.zeros(1, context, width, device=device) for _ in model.blocks]
    logits: Tensor
    logits, _ = model(torch.zeros(1, block, dtype=torch.int64, device=device), memory, context)
    return logits[0]


def recomputed(model: TransformerXL, windows: int, context: int) -> Tensor:
    """Logits (windows, V) after the last token of each window, every one a token further on; only these go through the head."""
    device = model.tokens.weight.device
    idx = torch.zeros(windows + context, dtype=torch.int64, device=device).unfold(0, context + 1, 1)  # (windows, context + 1)
    return model.head(model.streams(idx, model.empty(windows))[-1][:, -1])


def _per_second(predict: Callable[[], Tensor], tokens: int) -> float:
    device = predict().device  # to warm up
    taken: list[float] = []
    began = time.perf_counter()
    while not taken or time.perf_counter() - began < SECONDS:
        _wait(device)
        start = time.perf_counter()
        predict()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return tokens / min(taken)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def lines(found: Speeds, block: int, where: str) -> Lines:
    """The measurement as curves."""
    faster = found.with_memory[-1] / found.recomputed[-1]
    return Lines(
        x=[float(context) for context in CONTEXTS],
        series={
            "with memory": [float(f"{value:.4g}") for value in found.with_memory],
            "window recomputed": [float(f"{value:.4g}") for value in found.recomputed],
        },
        x_title="tokens of context",
        log=True,
        figure=f"{faster:,.0f} times at {CONTEXTS[-1]}",
        caption=f"tokens a second, the same model, segments of {block}, quickest of several, on {where}",
    )
