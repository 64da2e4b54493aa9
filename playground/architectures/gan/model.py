"""Generators and discriminators that are multilayer perceptrons or convolutional; those that are transformers stand in transformer.py.

A generator turns latents (B, Z) into examples (B, *shape): points as they are, images with cells from -1 to 1. A discriminator turns
examples into one number each (B,): no sigmoid, since the losses take logits or scores, and no batch normalisation, since the gradient
penalty is on the slope at each example by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
"""(2,) for points, (C, H, W) for images."""


class MLPGenerator(nn.Module):
    """Hidden layers with ReLU."""

    def __init__(self, shape: Shape, latent: int, layers: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.body = _hidden(latent, layers, width, nn.ReLU())
        self.out = nn.Linear(width, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        """Examples (B, *shape)."""
        x = self.out(self.body(z))
        return x if len(self.shape) == 1 else torch.tanh(x).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Hidden layers with ReLU for points, and leaky ReLU (Radford et al., 2016) for images."""

    def __init__(self, shape: Shape, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        activation = nn.ReLU() if len(shape) == 1 else nn.LeakyReLU(0.2)
        self.body = _hidden(math.prod(shape), layers, width, activation)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number for each example, (B,)."""
        return self.out(self.dropout(self.body(x.flatten(1))))[:, 0]  # type: ignore[no-any-return]


class ConvGenerator(nn.Module):
    """From a quarter of the side, twice doubled, after DCGAN (Radford, Metz, Chintala, 2016); group instead of batch normalisation, so
    that a sample depends on its latent alone."""

    def __init__(self, shape: Shape, latent: int, layers: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        channels, height, width_ = shape
        self.small = (width, -(-height // 4), -(-width_ // 4))
        self.seed = nn.Linear(latent, math.prod(self.small))
        blocks: list[nn.Module] = []
        for layer in range(layers):
            blocks += [nn.GroupNorm(math.gcd(8, width), width), nn.ReLU()]
            if layer < 2:
                blocks.append(Enlarge(2))
            blocks.append(nn.Conv2d(width, width, 3, padding=1))
        self.body = nn.Sequential(*blocks)
        left = 4 // 2 ** min(layers, 2)
        norm = nn.GroupNorm(math.gcd(8, width), width)
        self.out = nn.Sequential(Enlarge(left), norm, nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) with cells from -1 to 1."""
        x = self.body(self.seed(z).view(-1, *self.small))
        return torch.tanh(self.out(x)[..., : self.shape[1], : self.shape[2]])


class Enlarge(nn.Module):
    """Every cell becomes `scale` x `scale` cells. A copy, since the gradient of `nn.Upsample` differs from time to time on CUDA."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, scale * H, scale * W)."""
        batch, channels, height, width = x.shape
        spread = x[:, :, :, None, :, None].expand(-1, -1, -1, self.scale, -1, self.scale)
        return spread.reshape(batch, channels, height * self.scale, width * self.scale)


class ConvDiscriminator(nn.Module):
    """Convolutions of which the second and the third halve the maps, then one linear layer."""

    def __init__(self, shape: Shape, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        channels, height, width_ = shape
        blocks: list[nn.Module] = []
        for layer in range(layers):
            stride = 2 if layer in (1, 2) and min(height, width_) > 1 else 1
            blocks += [nn.Conv2d(channels if layer == 0 else width, width, 3, stride, padding=1), nn.LeakyReLU(0.2)]
            height, width_ = -(-height // stride), -(-width_ // stride)
        self.body = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width * height * width_, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number for each image, (B,)."""
        return self.out(self.dropout(self.body(x).flatten(1)))[:, 0]  # type: ignore[no-any-return]


def _hidden(inputs: int, layers: int, width: int, activation: nn.Module) -> nn.Sequential:
    widths = [inputs] + [width] * layers
    return nn.Sequential(*(part for a, b in zip(widths, widths[1:], strict=False) for part in (nn.Linear(a, b), activation)))
