"""The random generator of generated held-out data, and how much of held-out data `Task.probe` reads."""

from __future__ import annotations

import torch

from dlplay.engine.means import work

SEED = 7
UNREACHED = 1_000_003

WINDOWS = 32
"""Windows or rows of held-out data that a probe reads, at most."""
TOKENS, SHORTEST = 2048, 16
"""Tokens that it reads together, at most; and those of a window, at least, where a block has so many."""
COMPUTATION = 1 << 30
"""Parameters times tokens of a probe: a tenth of a second on a CPU. Large models read few tokens."""


def probe_shape(parameters: int, block: int) -> tuple[int, int]:
    """Windows and tokens of each that `Task.probe` reads, for a model of so many parameters that reads `block` tokens at once."""
    tokens = min(TOKENS, max(4 * SHORTEST, work(COMPUTATION) // max(1, parameters)))
    length = min(block, max(SHORTEST, tokens // 4))
    return max(2, min(WINDOWS, tokens // length)), length


def held_out_generator() -> torch.Generator:
    """A generator that is the same in every run, and where no run's batches begin.

    torch keeps 32 bits of a seed, so that every seed is some run's; so it has drawn a million numbers already.
    """
    generator = torch.Generator().manual_seed(SEED)
    torch.rand(UNREACHED, generator=generator)
    return generator
