"""Random augmentation, the same for real images and samples (Zhao et al., Differentiable Augmentation, 2020).

A discriminator memorises a small set of images, and augmentation prevents that. Since samples are augmented as well, and gradients flow
through it, the generator does not learn to imitate the augmentation.
"""

from __future__ import annotations

import torch
from torch import Tensor

SHIFT = 1 / 8
"""The largest translation, as a part of the image's side; in whole pixels."""
BRIGHTNESS = 0.1
"""The largest change of brightness, as a part of the range of pixels."""
CUTOUT = 1 / 4
"""Side of the square that is set to -1, as a part of the image's side."""


def random_changes(count: int, generator: torch.Generator) -> Tensor:
    """What is changed in each of `count` images, (5, count) in 0..1."""
    return torch.rand(5, count, generator=generator)


def augment(images: Tensor, draw: Tensor) -> Tensor:
    """Images (B, C, H, W) with pixels from -1 to 1, each shifted, made lighter or darker, and with a square cut out, by `random_changes`
    (5, B)."""
    count, _, height, width = images.shape
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    down, right = (((2 * draw[i] - 1) * (side * SHIFT + 0.5)).round().long() for i, side in ((0, height), (1, width)))
    y, x = rows - down[:, None], columns - right[:, None]  # (B, H), (B, W): where each pixel comes from
    inside = ((y >= 0) & (y < height))[:, None, :, None] & ((x >= 0) & (x < width))[:, None, None, :]
    batch = torch.arange(count, device=images.device)[:, None, None]
    shifted = images.permute(0, 2, 3, 1)[batch, y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]].permute(0, 3, 1, 2)
    lit = shifted + BRIGHTNESS * (4 * draw[2] - 2).view(-1, 1, 1, 1) / 2
    tall, wide = max(1, round(height * CUTOUT)), max(1, round(width * CUTOUT))
    top, left = (draw[3] * (height + tall)).floor() - tall, (draw[4] * (width + wide)).floor() - wide
    cut = ((rows >= top[:, None]) & (rows < top[:, None] + tall))[:, None, :, None] & (
        (columns >= left[:, None]) & (columns < left[:, None] + wide)
    )[:, None, None, :]
    return torch.where(inside & ~cut, lit, -1.0)
