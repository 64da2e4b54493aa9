"""What needs no net: copying from fixed places, and saying what is commonest. Counted on training pairs, measured on the held-out ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.seq2seq.batches import Batch
from dlplay.architectures.seq2seq.model import EOS, PAD

COUNTED = 4000
"""Training pairs that are counted."""

EVERY = 32
"""Pairs that are compared at once, since every output place is compared with every source place."""


def measure(train: Batch, held_out: Batch) -> dict[str, dict[str, float]]:
    """`exact_match` and `token_accuracy` of each, as they are measured on the model: {metric: {method: value}}."""
    wanted = held_out.target
    copier = score(copied(held_out.source, best_places(train)), wanted)
    answer = score(commonest_answer(train.target).expand(len(wanted), -1), wanted)
    token = score(commonest_tokens(train.target).expand(len(wanted), -1), wanted)
    return {
        "exact_match": {"copier of fixed places": copier[0], "commonest answer": answer[0]},
        "token_accuracy": {"copier of fixed places": copier[1], "commonest token at each place": token[1]},
    }


def best_places(train: Batch) -> Tensor:
    """For every output place (T,) the source place, counted from the start, whose token stands there most often."""
    source, target = train.source, train.target
    hits = torch.zeros(target.shape[1], source.shape[1], dtype=torch.int64)  # (T, S)
    for start in range(0, len(source), EVERY):
        some = slice(start, start + EVERY)
        same = (target[some, :, None] == source[some, None, :]) & (target[some, :, None] != PAD)  # (B, T, S)
        hits += same.sum(dim=0)
    return hits.argmax(dim=1)


def copied(source: Tensor, places: Tensor) -> Tensor:
    """What stands at these places of `source` (B, S), up to the first end: (B, T)."""
    source = F.pad(source, (0, max(0, int(places.max()) + 1 - source.shape[1])), value=PAD)
    return cut(source[:, places])


def commonest_answer(target: Tensor) -> Tensor:
    """The most frequent of all answers (B, T), (1, T)."""
    answers, counts = torch.unique(target, dim=0, return_counts=True)
    found: Tensor = answers[counts.argmax()][None]
    return found


def commonest_tokens(target: Tensor) -> Tensor:
    """The most frequent real token at each place of `target` (B, T), (1, T). Where an end is the commonest it does not end there: the other
    places are counted too."""
    found = []
    for tokens in target.T:  # place by place: all counts at once would be (T, V)
        counts = torch.bincount(tokens, minlength=PAD + 1)
        counts[PAD] = -1
        found.append(counts.argmax())
    return torch.stack(found)[None]


def cut(said: Tensor) -> Tensor:
    """`said` (B, T) with padding behind the first end."""
    ends = (said == EOS).int()
    return said.masked_fill((ends.cumsum(dim=1) - ends) > 0, PAD)


def score(said: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Share of outputs that are right as a whole, and of wanted tokens that stand at their place."""
    longest = max(said.shape[1], wanted.shape[1])
    said, wanted = (F.pad(ids, (0, longest - ids.shape[1]), value=PAD) for ids in (said, wanted))
    real = wanted != PAD
    return float((said == wanted).all(dim=1).float().mean()), int(((said == wanted) & real).sum()) / int(real.sum())
