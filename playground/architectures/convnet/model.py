"""A convolutional network for images, after LeCun et al. (1998): convolutional blocks, then a linear classifier. Or a small residual one.

In the comments B is the batch, C the channels, H and W height and width of an image, h and w those of a feature map.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

LOGIT_SCALE = 0.125
"""What the logits of a residual net are multiplied by, after Page (2018)."""

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Maps(NamedTuple):
    """The feature maps of one block after each of its operations."""

    convolution: Tensor  # (B, C, h, w)
    activation: Tensor  # (B, C, h, w), after normalisation and activation
    pooling: Tensor  # (B, C, h', w')
    residual: Tensor  # (B, C, h', w'), the input of the next block: the pooled maps, and what a residual branch adds to them


class Residual(nn.Module):
    """A residual branch (He et al., 2016): two convolutions, each normalised and activated, whose output is added to their input."""

    def __init__(self, channels: int, kernel: int, norm: str, activation: str) -> None:
        super().__init__()
        self.first = Block(channels, channels, kernel, "none", norm, activation)
        self.second = Block(channels, channels, kernel, "none", norm, activation)

    def forward(self, x: Tensor) -> Tensor:
        """The sum (B, C, h, w) of x (B, C, h, w) and what the branch makes of it."""
        added: Tensor = self.second(self.first(x))
        return x + added


class Block(nn.Module):
    """Convolution, normalisation, activation, pooling, and perhaps a residual branch."""

    def __init__(self, inputs: int, outputs: int, kernel: int, pooling: str, norm: str, activation: str, *, residual: bool = False) -> None:
        super().__init__()
        stride = 2 if pooling == "stride" else 1
        # a normalisation subtracts the mean, and a bias with it
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=norm == "none")
        self.norm = normalisation(norm, outputs)
        self.activation = ACTIVATIONS[activation]()
        self.pooling = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}.get(pooling, nn.Identity())
        self.residual = Residual(outputs, kernel, norm, activation) if residual else None

    def forward(self, x: Tensor, maps: list[Maps] | None = None) -> Tensor:
        """The output (B, C, h', w') of an input (B, C_in, h, w). If there are `maps`, the block's are appended."""
        convolution = self.convolution(x)
        activation = self.activation(self.norm(convolution))
        pooled: Tensor = self.pooling(activation)
        output: Tensor = pooled if self.residual is None else self.residual(pooled)
        if maps is not None:
            maps.append(Maps(convolution, activation, pooled, output))
        return output


class ConvNet(nn.Module):
    """An image classifier.

    `mean` and `std` (C,) are the training images' statistics, kept as buffers, so that weights and input normalisation stay together.

    A residual one is the net with nine layers of Page (2018), and deeper or shallower ones like it: nothing is pooled in the first block,
    every second one ends in a residual branch, each map counts by its maximum alone, and the logits are scaled.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        channels: tuple[int, ...],
        *,
        kernel: int = 3,
        pooling: str = "max",
        norm: str = "batch",
        activation: str = "relu",
        dropout: float = 0.0,
        residual: bool = False,
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ) -> None:
        super().__init__()
        inputs, height, width = shape
        self.register_buffer("mean", (torch.zeros(inputs) if mean is None else mean).reshape(inputs, 1, 1))
        self.register_buffer("std", (torch.ones(inputs) if std is None else std).reshape(inputs, 1, 1))
        widths = (inputs, *channels)
        self.residual = residual
        self.blocks = nn.ModuleList(
            Block(a, b, kernel, "none" if residual and index == 0 else pooling, norm, activation, residual=residual and index % 2 == 1)
            for index, (a, b) in enumerate(zip(widths, channels, strict=False))
        )
        self.dropout = nn.Dropout(dropout)
        if residual:  # and PyTorch's own initial weights, since Page's rates are for these
            self.classifier = nn.Linear(channels[-1], classes, bias=False)
            return
        for _ in channels:
            height, width = pooled_size(height, pooling), pooled_size(width, pooling)
        self.classifier = nn.Linear(channels[-1] * height * width, classes)
        self.apply(initialise)

    def trace(self, images: Tensor) -> tuple[list[Maps], Tensor]:
        """Feature maps of every block, and logits (B, classes), for images (B, C, H, W) with pixels as the data have them."""
        x = (images - self.mean) / self.std  # (B, C, H, W)
        maps: list[Maps] = []
        for block in self.blocks:
            x = block(x, maps)
        if self.residual:
            return maps, LOGIT_SCALE * self.classifier(self.dropout(x.amax((2, 3))))
        return maps, self.classifier(self.dropout(x.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W)."""
        return self.trace(images)[1]


def pooled_size(side: int, pooling: str) -> int:
    """Side of a feature map after a block; 0 when nothing is left."""
    if pooling == "none":
        return side
    return (side + 1) // 2 if pooling == "stride" and side > 1 else side // 2


def normalisation(norm: str, channels: int) -> nn.Module:
    """Batch normalisation (Ioffe and Szegedy, 2015), group normalisation in at most 8 groups (Wu and He, 2018), or nothing."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def initialise(module: nn.Module) -> None:
    """He initialisation (He et al., 2015) keeps the variance of feature maps; a small classifier starts with equal probabilities."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.1 / math.sqrt(module.in_features))
    if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
        nn.init.zeros_(module.bias)
