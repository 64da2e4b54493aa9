"""Low-rank adaptation (LoRA: Hu et al., Low-Rank Adaptation of Large Language Models, 2021): the pretrained matrices stay as they are, and
beside each a product of two thin ones is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.parts.merging import DOWN, UP, beside, is_base, merged, plain


class LowRankLinear(nn.Linear):
    """A linear layer whose weight (out, in) is a frozen one plus the product of `up` (out, r) and `down` (r, in); at first that is zero.

    `weight` is their sum, so that whatever reads the layer's matrix reads what it computes with.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.base = nn.Parameter(linear.weight.detach(), requires_grad=False)
        self.down = nn.Parameter(torch.empty(rank, linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.bias = nn.Parameter(linear.bias.detach(), requires_grad=False) if linear.bias is not None else None
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.base + self.up @ self.down

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        return F.linear(x, self.base, self.bias) + F.linear(F.linear(x, self.down), self.up)


def adapt(model: nn.Module, rank: int) -> None:
    """Freeze a model, and give every linear layer within it a `rank` to be trained, at most its smaller side."""
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, LowRankLinear(child, min(rank, child.in_features, child.out_features)))


def fitted(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name, as a model with the weights `own` takes them: with layers of low rank or without, from one with them or without.
    Fresh layers of low rank keep their own start."""
    if not any(is_base(name) for name in own):
        return merged(given)
    found = dict(given)
    for name in own:
        if is_base(name) and name not in given and plain(name) in given:
            found[name] = found.pop(plain(name))
            found |= {other: own[other] for other in (beside(name, DOWN), beside(name, UP))}
    return found
