"""Baselines without a model: copying from fixed positions, and the most frequent answer. Counted on training pairs, measured on held-out
ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.seq2seq.model import EOS, PAD
from dlplay.architectures.seq2seq.problems.batches import Batch

COUNTED = 4000
"""Training pairs that are counted."""

AT_ONCE = 32
"""Pairs that are compared at once: every output position with every source position."""


def measure(train: Batch, held_out: Batch) -> dict[str, dict[str, float]]:
    """`exact_match` and `token_accuracy` of each method, measured like the model's: {metric: {method: value}}."""
    target = held_out.target
    copier = score(copied(held_out.source, best_positions(train)), target)
    answer = score(most_frequent_output(train.target).expand(len(target), -1), target)
    token = score(most_frequent_tokens(train.target).expand(len(target), -1), target)
    return {
        "exact_match": {"fixed-position copier": copier[0], "most common answer": answer[0]},
        "token_accuracy": {"fixed-position copier": copier[1], "most common token at each position": token[1]},
    }


def best_positions(train: Batch) -> Tensor:
    """For each output position (T,) the source position, counted from the start, whose token is most often the same."""
    source, target = train.source, train.target
    hits = torch.zeros(target.shape[1], source.shape[1], dtype=torch.int64)  # (T, S)
    for start in range(0, len(source), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        same = (target[part, :, None] == source[part, None, :]) & (target[part, :, None] != PAD)  # (B, T, S)
        hits += same.sum(dim=0)
    return hits.argmax(dim=1)


def copied(source: Tensor, positions: Tensor) -> Tensor:
    """The tokens at these positions (T,) of `source` (B, S), up to the first EOS: (B, T)."""
    source = F.pad(source, (0, max(0, int(positions.max()) + 1 - source.shape[1])), value=PAD)
    return cut(source[:, positions])


def most_frequent_output(target: Tensor) -> Tensor:
    """The most frequent row of `target` (B, T), (1, T)."""
    outputs, counts = torch.unique(target, dim=0, return_counts=True)
    best: Tensor = outputs[counts.argmax()][None]
    return best


def most_frequent_tokens(target: Tensor) -> Tensor:
    """The most frequent token at each position of `target` (B, T), padding not counted, (1, T). It does not end at an EOS: the positions
    behind it are measured too."""
    found = []
    for tokens in target.T:  # one position at a time: all counts at once would be (T, V)
        counts = torch.bincount(tokens, minlength=PAD + 1)
        counts[PAD] = -1
        found.append(counts.argmax())
    return torch.stack(found)[None]


def cut(output: Tensor) -> Tensor:
    """`output` (B, T), padded behind the first EOS."""
    ends = (output == EOS).int()
    return output.masked_fill((ends.cumsum(dim=1) - ends) > 0, PAD)


def score(output: Tensor, target: Tensor) -> tuple[float, float]:
    """The exact match of outputs (B, T), and the share of target tokens that are predicted at their position."""
    longest = max(output.shape[1], target.shape[1])
    output, target = (F.pad(ids, (0, longest - ids.shape[1]), value=PAD) for ids in (output, target))
    real = target != PAD
    return float((output == target).all(dim=1).float().mean()), int(((output == target) & real).sum()) / int(real.sum())
