"""What the encoder reads and is asked: windows of text between special tokens, and places in them that are masked."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

SPECIALS = ("[PAD]", "[MASK]", "[CLS]", "[SEP]")
"""They stand behind the words of the vocabulary, in this order: to fill up a short row, for a hidden word, before a text, after it."""


@dataclasses.dataclass(frozen=True)
class Specials:
    """Ids of the special tokens of a vocabulary of `words`."""

    words: int

    @property
    def pad(self) -> int:
        """Fills up a short row; no token looks at it."""
        return self.words

    @property
    def mask(self) -> int:
        """Stands for a word that is hidden."""
        return self.words + 1

    @property
    def cls(self) -> int:
        """Begins every row; its last hidden state stands for the whole."""
        return self.words + 2

    @property
    def sep(self) -> int:
        """Ends every segment."""
        return self.words + 3

    @property
    def size(self) -> int:
        """Words and special tokens together."""
        return self.words + len(SPECIALS)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows as the encoder reads them."""

    idx: Tensor  # (B, T)
    segments: Tensor  # (B, T), 0 or 1
    valid: Tensor  # (B, T), False behind a row's end


def lay_out(text: Tensor, first: Tensor, second: Tensor | None, block: int, specials: Specials) -> Rows:
    """Rows `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` of a `block`'s length, filled up with `[PAD]`.

    `first` and `second` (B, 2) say where in `text` (N,) the segments a and b begin, and how many words they have.
    """
    place = torch.arange(block, device=text.device)  # (T,)
    start, count = first[:, :1], first[:, 1:]  # (B, 1) each
    source, end = start + place - 1, count + 1  # `end`: where the first segment's [SEP] stands
    separators = place == end
    later = torch.zeros_like(separators)
    if second is not None:
        later = place > end
        source = torch.where(later, second[:, :1] + place - end - 1, source)
        end = end + 1 + second[:, 1:]
        separators = separators | (place == end)
    valid = place <= end
    idx = text[source.clamp(0, len(text) - 1)]
    idx = torch.where(separators, specials.sep, idx)
    idx = torch.where(valid, idx, specials.pad)
    idx[:, 0] = specials.cls
    return Rows(idx, (later & valid).long(), valid)


def choose(idx: Tensor, share: float, room: int, specials: Specials, generator: torch.Generator) -> Tensor:
    """Where a word is asked for, (B, T): each word by a lot of its own with probability `share`, a special token never; of more than `room`
    the first ones."""
    lots = torch.rand(idx.shape, device=idx.device, generator=generator)
    chosen = (lots < share) & (idx < specials.words)
    return chosen & (chosen.flatten().cumsum(0) <= room).view_as(chosen)


def hide(idx: Tensor, chosen: Tensor, kept: float, random: float, specials: Specials, generator: torch.Generator) -> Tensor:
    """`idx` with the `chosen` words replaced: a share `kept` stays as it is, a share `random` becomes any word, the rest `[MASK]`."""
    lots = torch.rand(idx.shape, device=idx.device, generator=generator)
    words = torch.randint(specials.words, idx.shape, device=idx.device, generator=generator)
    replaced = torch.where(lots < random, words, specials.mask)
    return torch.where(chosen & (lots < 1 - kept), replaced, idx)


def capacity(places: int, share: float) -> int:
    """More of `places` are hardly ever chosen (six standard deviations). As many logits are formed in every step, so that nobody waits for
    the device to say how many there are."""
    return min(places, math.ceil(places * share + 6 * math.sqrt(places * share * (1 - share))))


def gather(chosen: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Flat places (room,) of the `chosen` ones, in their order, then of others; and which of them are chosen."""
    flat = chosen.flatten()
    places = flat.to(torch.uint8).argsort(descending=True, stable=True)[:room]
    return places, flat[places]
