"""An autoencoder: an encoder writes an image down as a short code, a decoder reads the image out of the code again.

After Hinton and Salakhutdinov (2006); the variational form after Kingma and Welling (2014).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

FUNCTIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
LEAST_SPREAD, MOST_SPREAD = -14.0, 8.0
"""Bounds of a code's log variance, far outside of what is useful: its exponential must stay finite."""


class Code(NamedTuple):
    """What the encoder makes of images."""

    mean: Tensor  # (B, k); of an autoencoder that is not variational, the code itself
    log_variance: Tensor | None  # (B, k)


class Autoencoder(nn.Module):
    """Images (B, C, H, W) with cells from 0 to 1, by a code (B, k), to images again.

    `mean` (C, H, W) is the mean training image: the encoder sees what differs from it, and the decoder begins at it.
    """

    mean: Tensor

    def __init__(
        self,
        mean: Tensor,
        latent: int,
        encoder: str = "mlp",
        hidden: tuple[int, ...] = (256,),
        activation: str = "gelu",
        code: str = "linear",
        output: str = "sigmoid",
        variational: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        channels, height, width = mean.shape
        self.variational = variational
        codes = 2 * latent if variational else latent
        if encoder == "conv":
            self.encoder, self.decoder = convolutional((channels, height, width), hidden, latent, codes, activation)
        else:
            widths = (mean.numel(), *(() if encoder == "linear" else hidden))
            self.encoder = nn.Sequential(nn.Flatten(), *dense((*widths, codes), activation))
            self.decoder = nn.Sequential(*dense((latent, *reversed(widths)), activation), nn.Unflatten(1, tuple(mean.shape)))
        self.code_function = FUNCTIONS[code]()
        self.output_function = FUNCTIONS[output]()
        self.apply(initialise)
        self._begin_at_the_mean(output)

    def encode(self, images: Tensor) -> Code:
        """The code of images (B, C, H, W), or its distribution."""
        numbers = self.encoder(images - self.mean)  # (B, k), or (B, 2k): means, then log variances
        if not self.variational:
            return Code(self.code_function(numbers), None)
        mean, log_variance = numbers.chunk(2, dim=1)
        return Code(mean, log_variance.clamp(LEAST_SPREAD, MOST_SPREAD))

    def logits(self, code: Tensor) -> Tensor:
        """The output (B, C, H, W) of codes (B, k), before its last function."""
        logits: Tensor = self.decoder(code)
        return logits

    def decode(self, code: Tensor) -> Tensor:
        """Images (B, C, H, W) of codes (B, k)."""
        images: Tensor = self.output_function(self.decoder(code))
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Reconstructions (B, C, H, W); of a variational one, from the mean of each code's distribution."""
        return self.decode(self.encode(images).mean)

    @torch.no_grad()
    def _begin_at_the_mean(self, output: str) -> None:
        last = [module for module in self.decoder.modules() if isinstance(module, (nn.Linear, nn.ConvTranspose2d))][-1]
        assert last.bias is not None
        mean = self.mean if isinstance(last, nn.Linear) else self.mean.mean((1, 2))
        last.bias.copy_((torch.logit(mean.clamp(0.01, 0.99)) if output == "sigmoid" else mean).flatten())


class Encoder(nn.Module):
    """The first half alone."""

    def __init__(self, whole: Autoencoder) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, images: Tensor) -> Tensor:
        """Codes (B, k) of images (B, C, H, W); of a variational one the mean of their distribution."""
        return self.whole.encode(images).mean


class Decoder(nn.Module):
    """The second half alone."""

    def __init__(self, whole: Autoencoder) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, code: Tensor) -> Tensor:
        """Images (B, C, H, W) of codes (B, k)."""
        return self.whole.decode(code)


def dense(widths: tuple[int, ...], activation: str) -> list[nn.Module]:
    """Linear layers from the first width to the last, the activation between them."""
    layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for inputs, outputs in zip(widths[1:], widths[2:], strict=False):
        layers += [FUNCTIONS[activation](), nn.Linear(inputs, outputs)]
    return layers


def convolutional(
    shape: tuple[int, int, int], channels: tuple[int, ...], latent: int, codes: int, activation: str
) -> tuple[nn.Sequential, nn.Sequential]:
    """Convolutions that halve the image one after the other and a matrix to the code; and the same way back.

    A transposed convolution with stride 2 makes 2n-1 cells of n, or 2n with one more of padding, so that every size is met again.
    """
    function = FUNCTIONS[activation]
    widths, sides = [shape[0], *channels], [shape[1:]]
    encoder: list[nn.Module] = []
    for inputs, outputs in zip(widths, channels, strict=False):
        encoder += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), function()]
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    height, width = sides[-1]
    features = channels[-1] * height * width
    encoder += [nn.Flatten(), nn.Linear(features, codes)]
    decoder: list[nn.Module] = [nn.Linear(latent, features), nn.Unflatten(1, (channels[-1], height, width))]
    for layer in reversed(range(len(channels))):
        (tall, wide), (rows, columns) = sides[layer], sides[layer + 1]
        padding = (tall - (2 * rows - 1), wide - (2 * columns - 1))
        decoder += [function(), nn.ConvTranspose2d(widths[layer + 1], widths[layer], 3, stride=2, padding=1, output_padding=padding)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def initialise(module: nn.Module) -> None:
    """Weights that keep the spread of what goes through them (Glorot and Bengio, 2010); biases begin at 0."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
