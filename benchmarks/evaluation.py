"""Reading a text on with a Transformer-XL's memory or a key-value cache against recomputing the window for every token: the same model and
context."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.effort import Effort
from benchmarks.rounds import alternate, ratio
from benchmarks.table import Line, spread
from dlplay.architectures.transformer_xl import card
from dlplay.architectures.transformer_xl.model import TransformerXL
from dlplay.architectures.transformer_xl.panels import WINDOW_TOKENS, recomputed, with_cache, with_memory

CONTEXTS = (64, 256, 1024)
VOCABULARY = 1766
"""Words of the language reference."""
SECONDS = 1.5


def measure(effort: Effort) -> list[Line]:
    """Tokens a second of both, and their ratio, for the preset `reference`: a batch of one segment against as many windows as do well."""
    torch.set_num_threads(effort.threads)
    values = card.presets["reference"].values
    block = int(values["block_size"])
    torch.manual_seed(0)
    model = TransformerXL(VOCABULARY, layers=values["layers"], heads=values["heads"], width=values["width"]).eval()
    lines = []
    for context in CONTEXTS:
        windows = max(1, WINDOW_TOKENS // (context + 1))
        seconds = effort.seconds(SECONDS)
        candidates: dict[str, Callable[[], float]] = {
            "with memory": functools.partial(_per_second, functools.partial(with_memory, model, block, context), block, seconds),
            "with a key-value cache": functools.partial(_per_second, functools.partial(with_cache, model, block, context), block, seconds),
            "window recomputed": functools.partial(_per_second, functools.partial(recomputed, model, windows, context), windows, seconds),
        }
        memory, cache, window = alternate(candidates, effort.rounds).values()
        what = f"transformer-xl, context of {context}"
        lines += [
            Line(f"{what}, with memory", statistics.median(memory), "tokens/s", spread=spread(memory)),
            Line(f"{what}, with a key-value cache", statistics.median(cache), "tokens/s", spread=spread(cache)),
            Line(f"{what}, window recomputed for each token", statistics.median(window), "tokens/s", spread=spread(window)),
            *(
                Line(
                    f"{what}, times as fast with {name}",
                    ratio(kept, window),
                    spread=spread(a / b for a, b in zip(kept, window, strict=True)),
                )
                for name, kept in (("memory", memory), ("a cache", cache))
            ),
        ]
    return lines


def _per_second(predict: Callable[[], Tensor], tokens: int, seconds: float) -> float:
    with torch.no_grad():
        predict()
        done, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            predict()
            done += tokens
    return done / taken
