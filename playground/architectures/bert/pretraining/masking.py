"""Rows of text between special tokens, and the choice and masking of the words to be predicted."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from dlplay.data.special_tokens import SpecialIds


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows as the encoder reads them."""

    idx: Tensor  # (B, T)
    segments: Tensor  # (B, T), 0 or 1
    valid: Tensor  # (B, T), False at padding

    def to(self, device: torch.device) -> Rows:
        return Rows(self.idx.to(device), self.segments.to(device), self.valid.to(device))


def lay_out(text: Tensor, first: Tensor, second: Tensor | None, block_size: int, special: SpecialIds) -> Rows:
    """Rows `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, padded to `block_size` with `[PAD]`.

    `first` and `second` (B, 2) are the start and the length of the segments a and b in `text` (N,).
    """
    position = torch.arange(block_size, device=text.device)  # (T,)
    start, length = first[:, :1], first[:, 1:]  # (B, 1) each
    source, end = start + position - 1, length + 1  # `end`: the position of the last [SEP]
    separators = position == end
    in_second = torch.zeros_like(separators)
    if second is not None:
        in_second = position > end
        source = torch.where(in_second, second[:, :1] + position - end - 1, source)
        end = end + 1 + second[:, 1:]
        separators = separators | (position == end)
    valid = position <= end
    idx = text[source.clamp(0, len(text) - 1)]
    idx = torch.where(separators, special.sep, idx)
    idx = torch.where(valid, idx, special.pad)
    idx[:, 0] = special.cls
    return Rows(idx, (in_second & valid).long(), valid)


def choose_targets(idx: Tensor, share: float, limit: int, special: SpecialIds, generator: torch.Generator) -> Tensor:
    """Which words are to be predicted, (B, T): each word independently with probability `share`, never a special token; if there are more
    than `limit`, the first ones."""
    noise = torch.rand(idx.shape, device=idx.device, generator=generator)
    chosen = (noise < share) & (idx < special.words)
    return chosen & (chosen.flatten().cumsum(0) <= limit).view_as(chosen)


def mask_targets(idx: Tensor, chosen: Tensor, kept: float, random: float, special: SpecialIds, generator: torch.Generator) -> Tensor:
    """`idx` with the `chosen` words replaced: a share `kept` stays as it is, a share `random` becomes a random word, the rest `[MASK]`."""
    noise = torch.rand(idx.shape, device=idx.device, generator=generator)
    words = torch.randint(special.words, idx.shape, device=idx.device, generator=generator)
    replaced = torch.where(noise < random, words, special.mask)
    return torch.where(chosen & (noise < 1 - kept), replaced, idx)


def max_targets(tokens: int, share: float) -> int:
    """An upper bound (by six standard deviations) of how many of `tokens` are chosen. Every step computes logits for that many, so that
    the host need not wait for the device to learn the exact number."""
    return min(tokens, math.ceil(tokens * share + 6 * math.sqrt(tokens * share * (1 - share))))


def gather_targets(chosen: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Flat positions (limit,) of the `chosen` tokens, in order, then of others; and which of them are chosen."""
    flat = chosen.flatten()
    positions = flat.to(torch.uint8).argsort(descending=True, stable=True)[:limit]
    return positions, flat[positions]
