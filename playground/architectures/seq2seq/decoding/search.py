"""Greedy decoding and beam search, token by token with a key-value cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, UNK, Cache, KeysValues, Seq2Seq

ALPHA = 0.6
"""Exponent of the length penalty, as published."""


class IncrementalDecoder:
    """The decoder in the middle of a batch of outputs."""

    def __init__(self, model: Seq2Seq, source: Tensor, read: tuple[list[KeysValues], Tensor] | None = None) -> None:
        """Reads `source` (B, S), unless `model.read` of it is given, and BOS."""
        self.model = model
        memory, self._mask = model.read(source) if read is None else read
        self._cache = Cache(memory, [])
        self.log_probs = self.step(torch.full((len(source),), BOS, device=source.device))  # (B, V)

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token (B,) of each output; log-probabilities (B, V) of the next one."""
        logits = self.model.decode(tokens[:, None], self._cache.memory, self._mask, self._cache)
        self.log_probs = logits[:, -1].float().log_softmax(dim=-1)
        return self.log_probs

    def reorder(self, rows: Tensor) -> None:
        """Continue with these outputs; a row may occur several times or not at all."""
        self._mask = self._mask[rows]
        self._cache = Cache(
            [(k[rows], v[rows]) for k, v in self._cache.memory],
            [(k[rows], v[rows]) for k, v in self._cache.past],
        )
        self.log_probs = self.log_probs[rows]


def suppress_special(log_probs: Tensor) -> Tensor:
    """`log_probs` (…, V) with -inf at padding, BOS and the unknown token, which are no answers."""
    return log_probs.index_fill(-1, torch.tensor([PAD, BOS, UNK], device=log_probs.device), -torch.inf)


def greedy(model: Seq2Seq, source: Tensor, limit: int, read: tuple[list[KeysValues], Tensor] | None = None) -> Tensor:
    """The most likely token at each step, for all of `source` (B, S) at once: (B, at most limit), padded behind EOS. `read` is `model.read`
    of the source, where that is known."""
    decoder = IncrementalDecoder(model, source, read)
    output: list[Tensor] = []
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    for number in range(limit):
        tokens = suppress_special(decoder.log_probs).argmax(dim=-1).masked_fill(ended, PAD)
        output.append(tokens)
        ended = ended | (tokens == EOS)
        if number + 1 == limit or bool(ended.all()):
            break
        decoder.step(tokens)
    return torch.stack(output, dim=1)


class Hypothesis(NamedTuple):
    """One output of a beam search."""

    ids: list[int]
    """Without padding; EOS last if it has ended."""
    log_prob: float
    score: float

    @property
    def ended(self) -> bool:
        return self.ids[-1:] == [EOS]


def length_penalty(length: int, alpha: float) -> float:
    """What a log-probability is divided by: ((5 + length) / 6)^alpha (Wu et al., 2016)."""
    return float(((5 + length) / 6) ** alpha)


def beam_search(
    model: Seq2Seq, source: Tensor, beams: int, limit: int, alpha: float = ALPHA, prefix: tuple[int, ...] = ()
) -> list[list[Hypothesis]]:
    """For each of `source` (B, S) the `beams` most likely outputs that were found, the best score first; all start with `prefix`.

    At every step each hypothesis is continued by every token, and the most likely `beams` of all these are kept. One that has ended keeps
    its place as long as it is among them. The score is the log-probability over `length_penalty`.
    """
    count, device = len(source), source.device
    decoder = IncrementalDecoder(model, source)
    total = torch.zeros(count, 1, device=device)  # (B, K)
    output = torch.tensor(prefix, dtype=torch.int64, device=device).expand(count, 1, -1)  # (B, K, T)
    for number, forced in enumerate(prefix):
        if number:
            decoder.step(output[:, 0, number - 1])
        total = total + decoder.log_probs[:, forced, None]
    for number in range(len(prefix), limit):
        if number:
            decoder.step(output[:, :, -1].flatten())
        ended = (output[:, :, -1] == EOS) | (output[:, :, -1] == PAD) if output.shape[2] else torch.zeros_like(total, dtype=torch.bool)
        if bool((ended | total.isneginf()).all()):
            break
        next_ = suppress_special(decoder.log_probs).view(*total.shape, -1)  # (B, K, V)
        next_ = next_.masked_fill(ended[..., None], -torch.inf)
        next_[..., PAD] = torch.where(ended, 0.0, -torch.inf)  # a hypothesis that has ended stays as it is
        width, vocabulary = next_.shape[1:]
        best = (total[..., None] + next_).flatten(1).topk(min(beams, width * vocabulary), dim=1)  # (B, K)
        parent, token = best.indices // vocabulary, best.indices % vocabulary
        total = best.values
        output = torch.cat([output.gather(1, parent[..., None].expand(-1, -1, output.shape[2])), token[..., None]], dim=2)
        decoder.reorder((parent + width * torch.arange(count, device=device)[:, None]).flatten())
    return [_ranked(ids, values, alpha) for ids, values in zip(output.tolist(), total.tolist(), strict=True)]


def _ranked(outputs: list[list[int]], totals: list[float], alpha: float) -> list[Hypothesis]:
    found = []
    for ids, total in zip(outputs, totals, strict=True):
        kept = [token for token in ids if token != PAD]
        if total > -torch.inf:
            found.append(Hypothesis(kept, total, total / length_penalty(len(kept), alpha)))
    return sorted(found, key=lambda one: -one.score)
