"""Saying an output: token by token with a key-value cache, the likeliest each time or with several kept in a beam."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, UNK, Cache, Seq2Seq

ALPHA = 0.6
"""Power of the length that a beam's scores are divided by, as published."""


class Speaker:
    """A decoder in the middle of a batch of outputs."""

    def __init__(self, model: Seq2Seq, source: Tensor) -> None:
        """Reads `source` (B, S) and the token that every output begins with."""
        self.model = model
        memory, self._mask = model.encode(source)
        self._cache = Cache(model.remember(memory), [])
        self.log_probability = self.say(torch.full((len(source),), BOS, device=source.device))  # (B, V)

    def say(self, tokens: Tensor) -> Tensor:
        """Log-probabilities (B, V) after one more token (B,) of each output."""
        logits = self.model.decode(tokens[:, None], self._cache.memory, self._mask, self._cache)
        self.log_probability = logits[:, -1].float().log_softmax(dim=-1)
        return self.log_probability

    def keep(self, rows: Tensor) -> None:
        """Go on with these outputs, of which some may come several times and others not at all."""
        self._mask = self._mask[rows]
        self._cache = Cache(
            [(k[rows], v[rows]) for k, v in self._cache.memory],
            [(k[rows], v[rows]) for k, v in self._cache.past],
        )
        self.log_probability = self.log_probability[rows]


def sayable(log_probability: Tensor) -> Tensor:
    """The same (…, V), but padding, the beginning and the unknown, which are no answers, are out of the question."""
    return log_probability.index_fill(-1, torch.tensor([PAD, BOS, UNK], device=log_probability.device), -torch.inf)


def greedy(model: Seq2Seq, source: Tensor, limit: int) -> Tensor:
    """The likeliest token each time, for all of `source` (B, S) at once: (B, at most limit), padded behind EOS."""
    speaker = Speaker(model, source)
    said: list[Tensor] = []
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    for number in range(limit):
        tokens = sayable(speaker.log_probability).argmax(dim=-1).masked_fill(ended, PAD)
        said.append(tokens)
        ended = ended | (tokens == EOS)
        if number + 1 == limit or bool(ended.all()):
            break
        speaker.say(tokens)
    return torch.stack(said, dim=1)


class Hypothesis(NamedTuple):
    """One output of a beam."""

    ids: list[int]
    """Without padding; EOS is the last one where it has ended."""
    log_probability: float
    score: float

    @property
    def ended(self) -> bool:
        """Whether it came to its end."""
        return self.ids[-1:] == [EOS]


def penalty(length: int, alpha: float) -> float:
    """What a log-probability is divided by: ((5 + length) / 6)^alpha (Wu et al., 2016)."""
    return float(((5 + length) / 6) ** alpha)


def beam_search(
    model: Seq2Seq, source: Tensor, beams: int, limit: int, alpha: float = ALPHA, begin: tuple[int, ...] = ()
) -> list[list[Hypothesis]]:
    """For each of `source` (B, S) the `beams` likeliest outputs that were found, the best score first; all start with `begin`.

    At every step each output is continued by every token, and the likeliest `beams` of all these are kept. One that has ended keeps its
    place while it is among them. The score is the log-probability over `penalty`.
    """
    count, device = len(source), source.device
    speaker = Speaker(model, source)
    total = torch.zeros(count, 1, device=device)  # (B, K)
    said = torch.tensor(begin, dtype=torch.int64, device=device).expand(count, 1, -1)  # (B, K, T)
    for number, forced in enumerate(begin):
        if number:
            speaker.say(said[:, 0, number - 1])
        total = total + speaker.log_probability[:, forced, None]
    for number in range(len(begin), limit):
        if number:
            speaker.say(said[:, :, -1].flatten())
        ended = (said[:, :, -1] == EOS) | (said[:, :, -1] == PAD) if said.shape[2] else torch.zeros_like(total, dtype=torch.bool)
        if bool((ended | total.isneginf()).all()):
            break
        next_ = sayable(speaker.log_probability).view(*total.shape, -1)  # (B, K, V)
        next_ = next_.masked_fill(ended[..., None], -torch.inf)
        next_[..., PAD] = torch.where(ended, 0.0, -torch.inf)  # what has ended stays as it is
        width, vocabulary = next_.shape[1:]
        best = (total[..., None] + next_).flatten(1).topk(min(beams, width * vocabulary), dim=1)  # (B, K)
        parent, token = best.indices // vocabulary, best.indices % vocabulary
        total = best.values
        said = torch.cat([said.gather(1, parent[..., None].expand(-1, -1, said.shape[2])), token[..., None]], dim=2)
        speaker.keep((parent + width * torch.arange(count, device=device)[:, None]).flatten())
    return [_ranked(outputs, values, alpha) for outputs, values in zip(said.tolist(), total.tolist(), strict=True)]


def _ranked(outputs: list[list[int]], totals: list[float], alpha: float) -> list[Hypothesis]:
    found = []
    for ids, total in zip(outputs, totals, strict=True):
        kept = [token for token in ids if token != PAD]
        if total > -torch.inf:
            found.append(Hypothesis(kept, total, total / penalty(len(kept), alpha)))
    return sorted(found, key=lambda one: -one.score)
