"""Drawing the next token, and writing a passage token by token."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


def distribution(logits: Tensor, temperature: float) -> Tensor:
    """Softmax of `logits` (V,) over `temperature`, in double precision on the CPU; all on the most likely one at temperature 0."""
    logits = logits.cpu().double()
    if temperature == 0:
        return torch.zeros_like(logits).index_fill_(0, logits.argmax(), 1.0)
    return ((logits - logits.max()) / temperature).softmax(dim=0)


def candidates(probability: Tensor, top_k: int, top_p: float) -> Tensor:
    """Ids of the tokens that top-k and top-p leave, most likely first; at least one.

    Top-p (Holtzman et al., The Curious Case of Neural Text Degeneration, 2020) keeps the fewest most likely tokens whose probabilities
    together reach `top_p`.
    """
    ordered, ids = probability.sort(descending=True, stable=True)
    keep = ordered > 0
    if top_p < 1:
        keep &= ordered.cumsum(0) - ordered < top_p
    keep[0] = True
    if top_k > 0:
        keep[top_k:] = False
    return ids[keep]


def draw(probability: Tensor, top_k: int, top_p: float, seed: int) -> int:
    """One token from what top-k and top-p leave of `probability` (V,), with a generator of its own."""
    ids = candidates(probability, top_k, top_p)
    edges = probability[ids].cumsum(0)
    generator = torch.Generator().manual_seed(seed)
    point = torch.rand((), generator=generator, dtype=torch.float64) * edges[-1]
    return int(ids[min(int(torch.searchsorted(edges, point, right=True)), len(ids) - 1)])


class Reader(Protocol):
    """A model in the middle of a text."""

    ids: list[int]
    """What it has read."""
    logits: Tensor
    """(V,): of the next token."""

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        ...


def write(
    reader: Reader, count: int, *, temperature: float, top_k: int, top_p: float, seed: int, ban: int | None = None
) -> list[tuple[int, float]]:
    """`count` tokens after what `reader` has read, each with the probability that the model itself (temperature 1) gave it.

    The draw of each token depends on `seed` and its place in the text alone, so that a passage asked for word by word is the same one.
    The token `ban` is never drawn.
    """
    passage = []
    start = len(reader.ids)
    for place in range(start, start + count):
        logits = reader.logits.cpu().double()
        plain = logits.softmax(dim=0)
        if ban is not None:
            logits[ban] = -torch.inf
        token = draw(distribution(logits, temperature), top_k, top_p, seed * 1_000_003 + place)
        passage.append((token, float(plain[token])))
        if len(passage) < count:
            reader.append(token)
    return passage
