"""A convolutional generator and discriminator of images, after DCGAN (Radford, Metz, Chintala, 2016)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dlplay.architectures.gan.model import Shape


class ConvGenerator(nn.Module):
    """From a quarter of the side, upsampled twice. Group normalisation instead of DCGAN's batch normalisation, so that a sample depends
    on its latent alone."""

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
                blocks.append(NearestUpsample(2))
            blocks.append(nn.Conv2d(width, width, 3, padding=1))
        self.body = nn.Sequential(*blocks)
        left = 4 // 2 ** min(layers, 2)
        norm = nn.GroupNorm(math.gcd(8, width), width)
        self.out = nn.Sequential(NearestUpsample(left), norm, nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) with pixels from -1 to 1, from latents (B, Z)."""
        x = self.body(self.seed(z).view(-1, *self.small))
        return torch.tanh(self.out(x)[..., : self.shape[1], : self.shape[2]])


class NearestUpsample(nn.Module):
    """Nearest-neighbour upsampling: every pixel becomes `scale` x `scale` pixels. `nn.Upsample` does the same, but its gradient is not
    deterministic on CUDA."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, scale * H, scale * W)."""
        batch, channels, height, width = x.shape
        spread = x[:, :, :, None, :, None].expand(-1, -1, -1, self.scale, -1, self.scale)
        return spread.reshape(batch, channels, height * self.scale, width * self.scale)


class ConvDiscriminator(nn.Module):
    """Convolutions, the second and the third with a stride of 2, then one linear layer."""

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
        """Logits or scores (B,) of images (B, C, H, W)."""
        return self.out(self.dropout(self.body(x).flatten(1)))[:, 0]  # type: ignore[no-any-return]
