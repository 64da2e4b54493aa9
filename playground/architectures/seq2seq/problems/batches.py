"""Pairs as tensors: sources that end with EOS, outputs that begin with BOS, and the targets, which are the outputs one token ahead."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS
from dlplay.architectures.seq2seq.problems.problem import Problem
from dlplay.data.pairs import Pair


class Batch(NamedTuple):
    """Padded at the end."""

    source: Tensor  # (B, S), EOS last
    output: Tensor  # (B, T), BOS first: what the decoder reads
    target: Tensor  # (B, T), EOS last: what it predicts


def make_batch(problem: Problem, pairs: Sequence[Pair], device: torch.device) -> Batch:
    """The pairs as one batch."""
    sources = [source_ids(problem, pair.source) for pair in pairs]
    targets = [target_ids(problem, pair.target) for pair in pairs]
    return Batch(_padded(sources, device), _padded([[BOS, *ids[:-1]] for ids in targets], device), _padded(targets, device))


def next_batch(problem: Problem, count: int, generator: torch.Generator, device: torch.device) -> Batch:
    """The pairs of the next step, drawn from a seed that `generator` gives."""
    rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
    return make_batch(problem, problem.draw(count, rng), device)


def source_ids(problem: Problem, source: str) -> list[int]:
    """The encoder's input."""
    return [*(SPECIALS + token for token in problem.tokenizer.encode(source)), EOS]


def target_ids(problem: Problem, target: str) -> list[int]:
    """The output that is correct."""
    return [*(SPECIALS + token for token in problem.tokenizer.encode(target)), EOS]


def unpadded(ids: Sequence[int]) -> list[int]:
    return [token for token in ids if token != PAD]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """(B, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows]).to(device, non_blocking=device.type == "cuda")
