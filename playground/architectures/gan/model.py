"""A generative adversarial network (Goodfellow et al., Generative Adversarial Nets, 2014): two networks, and what each of them minimises.

The generator turns latents z (B, Z) into samples (B, *shape): points as they are, images with pixels from -1 to 1. The discriminator gives
one number for each example (B,). There is no sigmoid, since the losses take logits or scores, and no batch normalisation, since the
gradient penalty is on the gradient at each example by itself. Here both are multilayer perceptrons; `nets` has convolutional networks and
transformers in their place.

    minimax, non-saturating   Goodfellow et al., 2014: the discriminator gives the logit of "real"
    wasserstein               Arjovsky, Chintala, Bottou, Wasserstein GAN, 2017: a critic gives a score; its weights are clipped
    wasserstein-gp            Gulrajani et al., Improved Training of Wasserstein GANs, 2017: a gradient penalty instead of clipping
    R1                        Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018: a gradient penalty for logits
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, ...]
"""Of one example: (2,) for points, (C, H, W) for images."""


class MLPGenerator(nn.Module):
    """Hidden layers with ReLU."""

    def __init__(self, shape: Shape, latent: int, layers: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.body = _hidden(latent, layers, width, nn.ReLU)
        self.out = nn.Linear(width, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        """Samples (B, *shape) from latents (B, Z)."""
        x = self.out(self.body(z))
        return x if len(self.shape) == 1 else torch.tanh(x).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Hidden layers with ReLU for points, and leaky ReLU (Radford et al., 2016) for images."""

    def __init__(self, shape: Shape, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        activation = nn.ReLU if len(shape) == 1 else partial(nn.LeakyReLU, 0.2)
        self.body = _hidden(math.prod(shape), layers, width, activation)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits or scores (B,) of examples (B, *shape)."""
        return self.out(self.dropout(self.body(x.flatten(1))))[:, 0]  # type: ignore[no-any-return]


def _hidden(inputs: int, layers: int, width: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    widths = [inputs] + [width] * layers
    return nn.Sequential(*(part for a, b in zip(widths, widths[1:], strict=False) for part in (nn.Linear(a, b), activation())))


def has_critic(loss: str) -> bool:
    """Whether the discriminator is a critic: it gives scores, of which only differences have a meaning, and no logits."""
    return loss.startswith("wasserstein")


def discriminator_losses(loss: str, real: Tensor, fake: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The discriminator's loss on real and on generated examples, from its outputs (B,) for each; it minimises their sum.

    `label_smoothing` lowers the target of real examples alone (one-sided: Salimans et al., Improved Techniques for Training GANs, 2016).
    """
    if has_critic(loss):
        return -real.mean(), fake.mean()
    return F.softplus(-real).mean() + label_smoothing * real.mean(), F.softplus(fake).mean()


def generator_loss(loss: str, fake: Tensor) -> Tensor:
    """The generator's loss, from the discriminator's outputs (B,) for its samples.

    Minimax is log(1 - D), whose gradient vanishes where the discriminator is sure; non-saturating is -log D, with the same fixed point.
    """
    if has_critic(loss):
        return -fake.mean()
    return F.softplus(-fake).mean() if loss == "non-saturating" else -F.softplus(fake).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Mean of (|gradient of the critic| - 1)^2, at one point between each real example and a generated one.

    `alpha` (B,) from 0 (real) to 1 (generated) says where on the line between the two. `real` and `fake` are (B, *shape) and get no
    gradient.
    """
    between = torch.lerp(real, fake, alpha.view(-1, *[1] * (real.ndim - 1))).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)  # (B, *shape)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (B,)
    return (norms - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the mean of |gradient of the discriminator|^2 at the real examples (B, *shape): once the two distributions agree, the
    discriminator has to become flat, and the two networks come to rest instead of circling each other.
    """
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)  # (B, *shape)
    return gradient.square().flatten(1).sum(1).mean() / 2


@torch.no_grad()
def clip_weights(parameters: list[Tensor], clip: float) -> None:
    """Clip every weight to -clip..clip, in place."""
    for parameter in parameters:
        parameter.clamp_(-clip, clip)
