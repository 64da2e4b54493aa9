"""An autoencoder (Hinton and Salakhutdinov, 2006), also as a denoising one (Vincent et al., 2008), a sparse one (Ng et al., 2011) and a
variational one (VAE; Kingma and Welling, 2014): the network, the corruption of its inputs, and its losses.

In the comments B is the batch, C the channels, H and W height and width of an image, k the units of the code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FUNCTIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -14.0, 8.0
"""Far outside of what is useful: the exponential must stay finite."""
MIN_ACTIVATION = 1e-6
"""A mean activation is kept this far from 0 and 1, where the KL divergence or its gradient would be infinite."""


class TopK(nn.Module):
    """The `count` largest activations of each code, none of them negative; the others are 0 (Makhzani and Frey, 2014; Gao et al., Scaling
    and evaluating sparse autoencoders, 2024)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, code: Tensor) -> Tensor:
        """(B, k) to (B, k)."""
        largest, units = F.relu(code).topk(self.count, dim=1)  # (B, count) each
        return torch.zeros_like(code).scatter(1, units, largest)


class Code(NamedTuple):
    """What the encoder makes of images: codes or, in a VAE, a normal distribution for each."""

    mean: Tensor  # (B, k); without a variance the code itself
    log_variance: Tensor | None  # (B, k)

    def sample(self, epsilon: Tensor | None) -> Tensor:
        """Codes (B, k) by the reparameterisation trick, so that gradients reach mean and variance, from standard normal `epsilon`
        (B, k); without a variance none is needed."""
        if self.log_variance is None or epsilon is None:
            return self.mean
        return self.mean + (0.5 * self.log_variance).exp() * epsilon

    def kl(self) -> Tensor:
        """KL divergence of each unit's distribution from the standard normal, in nats, (B, k)."""
        assert self.log_variance is not None
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)


class Autoencoder(nn.Module):
    """Images (B, C, H, W) with pixels from 0 to 1, by a code (B, k), to images again.

    `mean` (C, H, W) is the mean training image: it is subtracted from the inputs, and the output begins at it.
    """

    mean: Tensor

    def __init__(
        self,
        mean: Tensor,
        latent: int,
        *,
        encoder: str = "mlp",
        hidden: tuple[int, ...] = (256,),
        activation: str = "gelu",
        code: str = "linear",
        active: int = 16,
        output: str = "sigmoid",
        variational: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        channels, height, width = mean.shape
        self.variational = variational
        encoded = 2 * latent if variational else latent
        if encoder == "conv":
            self.encoder, self.decoder = convolutional((channels, height, width), hidden, latent, encoded, activation)
        else:
            widths = (mean.numel(), *(() if encoder == "linear" else hidden))
            self.encoder = nn.Sequential(nn.Flatten(), *dense((*widths, encoded), activation))
            self.decoder = nn.Sequential(*dense((latent, *reversed(widths)), activation), nn.Unflatten(1, tuple(mean.shape)))
        self.code_function = TopK(active) if code == "topk" else FUNCTIONS[code]()
        self.output_function = FUNCTIONS[output]()
        self.apply(initialise)
        if code == "topk" and encoder == "linear":
            self._tie()
        self._begin_at_the_mean(output)

    def encode(self, images: Tensor) -> Code:
        """The codes of images (B, C, H, W), or their distributions."""
        encoded = self.encoder(images - self.mean).to(self.mean.dtype)  # (B, k), or (B, 2k): means, then log variances
        if not self.variational:
            return Code(self.code_function(encoded), None)
        mean, log_variance = encoded.chunk(2, dim=1)
        return Code(mean, log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE))

    def logits(self, code: Tensor) -> Tensor:
        """Outputs (B, C, H, W) of codes (B, k) before the output's activation function."""
        logits: Tensor = self.decoder(code).to(self.mean.dtype)
        return logits

    def decode(self, code: Tensor) -> Tensor:
        """Images (B, C, H, W) of codes (B, k)."""
        images: Tensor = self.output_function(self.decoder(code))
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Reconstructions (B, C, H, W); a VAE decodes the mean of each code."""
        return self.decode(self.encode(images).mean)

    @torch.no_grad()
    def _tie(self) -> None:
        """The encoder begins as the decoder's transpose, with a direction of length one for each unit: few units then stay unused (Gao et
        al., 2024)."""
        encoder, decoder = self.encoder[1], self.decoder[0]
        assert isinstance(encoder, nn.Linear)
        assert isinstance(decoder, nn.Linear)
        encoder.weight.copy_(F.normalize(encoder.weight, dim=1))
        decoder.weight.copy_(encoder.weight.T)

    @torch.no_grad()
    def _begin_at_the_mean(self, output: str) -> None:
        last = [module for module in self.decoder.modules() if isinstance(module, (nn.Linear, nn.ConvTranspose2d))][-1]
        assert last.bias is not None
        mean = self.mean if isinstance(last, nn.Linear) else self.mean.mean((1, 2))
        last.bias.copy_((torch.logit(mean.clamp(0.01, 0.99)) if output == "sigmoid" else mean).flatten())


class Encoder(nn.Module):
    """The encoder alone, as a function of images."""

    def __init__(self, whole: Autoencoder) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, images: Tensor) -> Tensor:
        """Codes (B, k) of images (B, C, H, W); of a VAE their means."""
        return self.whole.encode(images).mean


class Decoder(nn.Module):
    """The decoder alone, as a function of codes."""

    def __init__(self, whole: Autoencoder) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, code: Tensor) -> Tensor:
        """Images (B, C, H, W) of codes (B, k)."""
        return self.whole.decode(code)


def dense(widths: tuple[int, ...], activation: str) -> list[nn.Module]:
    """Linear layers from the first width to the last, with the activation between them."""
    layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for inputs, outputs in zip(widths[1:], widths[2:], strict=False):
        layers += [FUNCTIONS[activation](), nn.Linear(inputs, outputs)]
    return layers


def convolutional(
    shape: tuple[int, int, int], channels: tuple[int, ...], latent: int, encoded: int, activation: str
) -> tuple[nn.Sequential, nn.Sequential]:
    """Convolutions of stride 2 and a linear layer to the `encoded` numbers; and a linear layer and transposed convolutions back.

    A transposed convolution of stride 2 turns n pixels into 2n-1, or into 2n with output padding, so that every size is restored.
    """
    function = FUNCTIONS[activation]
    widths, sides = [shape[0], *channels], [shape[1:]]
    encoder: list[nn.Module] = []
    for inputs, outputs in zip(widths, channels, strict=False):
        encoder += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), function()]
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    height, width = sides[-1]
    features = channels[-1] * height * width
    encoder += [nn.Flatten(), nn.Linear(features, encoded)]
    decoder: list[nn.Module] = [nn.Linear(latent, features), nn.Unflatten(1, (channels[-1], height, width))]
    for layer in reversed(range(len(channels))):
        (height, width), (rows, columns) = sides[layer], sides[layer + 1]
        padding = (height - (2 * rows - 1), width - (2 * columns - 1))
        decoder += [function(), nn.ConvTranspose2d(widths[layer + 1], widths[layer], 3, stride=2, padding=1, output_padding=padding)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def initialise(module: nn.Module) -> None:
    """Weights that keep the variance from layer to layer (Glorot and Bengio, 2010); biases begin at 0."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# --- corruption and losses --------------------------------------------------------------------------------------------------------


def corrupt(images: Tensor, kind: str, level: float, generator: torch.Generator) -> Tensor:
    """A noisy copy of images (B, C, H, W) with pixels from 0 to 1, see `with_noise`; `generator` is on the CPU."""
    if kind == "none":
        return images
    return with_noise(images, kind, level, draw_noise(tuple(images.shape), kind, generator).to(images.device))


def draw_noise(shape: tuple[int, ...], kind: str, generator: torch.Generator) -> Tensor:
    """What `with_noise` goes by for images of this shape: standard normal numbers for `gaussian` noise, else uniform ones; on the CPU."""
    return (torch.randn if kind == "gaussian" else torch.rand)(shape, generator=generator)


def with_noise(images: Tensor, kind: str, level: float, noise: Tensor) -> Tensor:
    """A noisy copy of images (B, C, H, W) with pixels from 0 to 1, by what `draw_noise` gave.

    `gaussian` adds noise of standard deviation `level`, and does not clip, which would bias it; `masking` sets each pixel to 0 with
    probability `level`; `salt-and-pepper` sets it to 0 or 1 with that probability.
    """
    if kind == "gaussian":
        return images + level * noise
    corrupted = noise < level
    if kind == "masking":
        return images.masked_fill(corrupted, 0.0)
    return torch.where(corrupted, (noise < level / 2).to(images.dtype), images)


def reconstruction_loss(logits: Tensor, output: Tensor, images: Tensor, kind: str) -> Tensor:
    """Loss of outputs (B, C, H, W) against images, summed over pixels, mean over images.

    `squared` is half the squared error: the negative log-likelihood of a normal of variance 1, without its constant. `cross-entropy` is the
    binary cross-entropy, with `logits` as those of full ink; of grey pixels it is no negative log-likelihood (a Bernoulli variable is 0 or
    1), and at its least their entropy, not 0.
    """
    if kind == "cross-entropy":
        return F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
    return (output - images).square().sum() / (2 * len(images))


def kl_sparsity(code: Tensor, rho: float) -> Tensor:
    """KL divergence between Bernoulli variables of mean `rho` and of each unit's mean activation over the batch (B, k), summed over units
    (UFLDL)."""
    mean = code.mean(0).clamp(MIN_ACTIVATION, 1 - MIN_ACTIVATION)  # (k,)
    return (rho * (rho / mean).log() + (1 - rho) * ((1 - rho) / (1 - mean)).log()).sum()


def l1_sparsity(code: Tensor) -> Tensor:
    """L1 norm of codes (B, k), mean over images."""
    return code.abs().sum() / len(code)
