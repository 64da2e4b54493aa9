"""Pairs as tensors: sources that end with EOS, outputs that begin with BOS, and the targets one place ahead of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS
from dlplay.architectures.seq2seq.problem import Problem
from dlplay.data.pairs import Pair


class Batch(NamedTuple):
    """Padded at the end."""

    source: Tensor  # (B, S), EOS last
    output: Tensor  # (B, T), BOS first: what the decoder reads
    target: Tensor  # (B, T), EOS last: what it is to say


def batch_of(problem: Problem, pairs: Sequence[Pair], device: torch.device) -> Batch:
    """The pairs side by side."""
    sources = [source_ids(problem, pair.source) for pair in pairs]
    targets = [[SPECIALS + token for token in problem.tokenizer.encode(pair.target)] for pair in pairs]
    return Batch(
        padded(sources, device),
        padded([[BOS, *ids] for ids in targets], device),
        padded([[*ids, EOS] for ids in targets], device),
    )


def source_ids(problem: Problem, source: str) -> list[int]:
    """What the encoder reads."""
    return [*(SPECIALS + token for token in problem.tokenizer.encode(source)), EOS]


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """(B, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows]).to(device, non_blocking=device.type == "cuda")
