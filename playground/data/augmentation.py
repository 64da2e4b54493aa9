"""Data augmentation: random changes to training images that keep their labels.

After Simard, Steinkraus and Platt (2003) for digits, and He et al. (2015) for colour photographs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = math.radians(15)
SCALE = 0.1
STRETCH = 0.1
SHEAR = 0.2
TRANSLATION = 0.08
"""Of a grey image, as a share of its side."""
CROP = 0.125
"""Translation of a colour image: four pixels of 32, as is usual for CIFAR-10."""
CONTRAST = 0.4
"""Natural logarithm of the largest change."""
SHARPNESS = (-0.5, 1.5)
"""From half-way to a blurred image to well beyond the original: pens differ, and a drawn digit has hard edges."""


def random_changes(count: int, generator: torch.Generator) -> Tensor:
    """What is changed in each of `count` images, (8, count) in -1..1."""
    return torch.rand(8, count, generator=generator).mul_(2).sub_(1)


def augment(images: Tensor, full: int, changes: Tensor) -> Tensor:
    """An augmented copy of images (B, C, H, W) with pixels from 0 to `full`, by `random_changes` (8, B).

    Grey images get a random affine transform (rotation, scale, stretch, shear, translation), contrast and sharpness. Colour images are
    translated by whole pixels with reflection padding, and half of them are flipped horizontally.
    """
    if images.shape[1] == 1:
        return _adjust(_warp(images, _affine(changes)), full, changes)
    return _flip_and_translate(images, changes)


def cut_out(images: Tensor, side: int, fill: Tensor, places: Tensor) -> Tensor:
    """A copy of images (B, C, H, W) with a square of `side` pixels filled with `fill` (C, 1, 1), after DeVries and Taylor (2017). It lies
    wholly within the image, at `places` (2, B) in 0..1 from the first to the last possible row and column."""
    down, right = (_within(part, side, whole) for part, whole in zip(places, images.shape[2:], strict=True))  # (B, H), (B, W)
    return torch.where((down[:, :, None] & right[:, None])[:, None], fill, images)


def _within(u: Tensor, side: int, whole: int) -> Tensor:
    """Which of a row of `whole` places (B, whole) are among the `side` ones from a place on that `u` (B,) in 0..1 tells."""
    first = (u * max(1, whole - side + 1)).long()[:, None]
    places = torch.arange(whole, device=u.device)
    return (places >= first) & (places < first + side)


def _affine(u: Tensor) -> Tensor:
    """Affine maps (B, 2, 3) from output to input coordinates, both in -1..1."""
    cos, sin = torch.cos(u[0] * ROTATION), torch.sin(u[0] * ROTATION)
    x_scale, y_scale = 1 + SCALE * u[1] + STRETCH * u[2], 1 + SCALE * u[1] - STRETCH * u[2]
    x = torch.stack([cos * x_scale, (SHEAR * u[3] - sin) * x_scale, 2 * TRANSLATION * u[4]], 1)
    y = torch.stack([sin * y_scale, cos * y_scale, 2 * TRANSLATION * u[5]], 1)
    return torch.stack([x, y], 1)


def _flip_and_translate(images: Tensor, u: Tensor) -> Tensor:
    """Shifted by whole pixels, which blurs nothing; beyond an edge the image goes on mirrored."""
    height, width = images.shape[2:]
    rows, columns = _shifted(u[5], height), _shifted(u[4], width)  # (B, H), (B, W)
    columns = torch.where(u[0, :, None] < 0, columns.flip(1), columns)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.movedim(1, 3)[batch, rows[:, :, None], columns[:, None]].movedim(3, 1)


def _shifted(u: Tensor, side: int) -> Tensor:
    """The pixel that comes to each place of a row of `side` pixels (B, side), every whole shift as likely as any other, for `u` (B,) in
    -1..1."""
    most = int(CROP * side)
    shift = ((u + 1) / 2 * (2 * most + 1)).long().clamp(max=2 * most) - most
    places = (torch.arange(side, device=u.device) + shift[:, None]).abs()
    return torch.where(places < side, places, 2 * (side - 1) - places)


def _warp(images: Tensor, maps: Tensor) -> Tensor:
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _adjust(images: Tensor, full: int, u: Tensor) -> Tensor:
    """Images with random sharpness and contrast."""
    low, high = SHARPNESS
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1)), 3, stride=1)
    sharpness = ((high + low) / 2 + (high - low) / 2 * u[6]).view(-1, 1, 1, 1)
    contrast = torch.exp(CONTRAST * u[7]).view(-1, 1, 1, 1)
    return (images + sharpness * (images - blurred)).mul(contrast).clamp(0, full)
