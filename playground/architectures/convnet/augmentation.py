"""Random changes to training images that leave their class alone: more to learn from than was photographed or scanned."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TURN = math.radians(15)
SCALE = 0.1
STRETCH = 0.1
SHEAR = 0.2
SHIFT = 0.08
"""Of a grey image's side."""
CROP = 0.125
"""Of a colour image's side: the four pixels of 32 that are usual for CIFAR-10 (He et al., 2015)."""
INK = 0.4
"""Natural logarithm of the largest change of contrast."""
SHARPEN = (-0.5, 1.5)
"""From half way towards a blurred image to well beyond the original: pens differ, and a hand-drawn digit has hard edges."""


def augment(images: Tensor, full: int, generator: torch.Generator) -> Tensor:
    """A changed copy of training images (B, C, H, W) with cells from 0 to `full`; `generator` is on the CPU.

    Grey images are turned, scaled, stretched, slanted and shifted a little, and their ink is made stronger or weaker, softer or harder.
    Colour images are shifted, with their borders mirrored, and half of them are mirrored left to right.
    """
    draw = torch.rand(8, len(images), generator=generator).mul_(2).sub_(1).to(images.device, non_blocking=True)  # (8, B) in -1..1
    if images.shape[1] == 1:
        return _ink(_moved(images, _slanted(draw), "zeros"), full, draw)
    return _moved(images, _mirrored(draw), "reflection")


def _slanted(draw: Tensor) -> Tensor:
    """Affine maps (B, 2, 3) from places in the changed image to places in the original, both in -1..1."""
    cos, sin = torch.cos(draw[0] * TURN), torch.sin(draw[0] * TURN)
    wide, tall = 1 + SCALE * draw[1] + STRETCH * draw[2], 1 + SCALE * draw[1] - STRETCH * draw[2]
    x = torch.stack([cos * wide, (SHEAR * draw[3] - sin) * wide, 2 * SHIFT * draw[4]], 1)
    y = torch.stack([sin * tall, cos * tall, 2 * SHIFT * draw[5]], 1)
    return torch.stack([x, y], 1)


def _mirrored(draw: Tensor) -> Tensor:
    zero, one = torch.zeros_like(draw[0]), torch.ones_like(draw[0])
    x = torch.stack([torch.where(draw[0] < 0, -one, one), zero, 2 * CROP * draw[4]], 1)
    y = torch.stack([zero, one, 2 * CROP * draw[5]], 1)
    return torch.stack([x, y], 1)


def _moved(images: Tensor, maps: Tensor, padding: str) -> Tensor:
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _ink(images: Tensor, full: int, draw: Tensor) -> Tensor:
    """Images with another sharpness and contrast."""
    low, high = SHARPEN
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1)), 3, stride=1)
    sharpness = ((high + low) / 2 + (high - low) / 2 * draw[6]).view(-1, 1, 1, 1)
    contrast = torch.exp(INK * draw[7]).view(-1, 1, 1, 1)
    return (images + sharpness * (images - blurred)).mul(contrast).clamp(0, full)
