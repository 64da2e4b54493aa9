"""Noise on an autoencoder's inputs: what a denoising one has to take away (Vincent and others, 2008 and 2010)."""

from __future__ import annotations

import torch
from torch import Tensor


def corrupt(images: Tensor, kind: str, level: float, generator: torch.Generator) -> Tensor:
    """A noisy copy of images (B, C, H, W) with cells from 0 to 1; `generator` is on the CPU.

    `gaussian` adds normal numbers with a standard deviation of `level`, and cells may leave 0 to 1, so that nothing of the noise is known
    beforehand; `masking` empties each cell with probability `level`; `salt-and-pepper` makes it 0 or 1 with that probability.
    """
    if kind == "none":
        return images
    shape = tuple(images.shape)
    if kind == "gaussian":
        return images + level * torch.randn(shape, generator=generator).to(images.device)
    chance = torch.rand(shape, generator=generator).to(images.device)
    changed = chance < level
    if kind == "masking":
        return images.masked_fill(changed, 0.0)
    return torch.where(changed, (chance < level / 2).to(images.dtype), images)
