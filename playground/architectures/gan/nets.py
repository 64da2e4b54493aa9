"""The two nets and their optimisers, as the settings want them."""

from __future__ import annotations

import torch
from torch import nn

from dlplay.architectures.gan.model import ConvDiscriminator, ConvGenerator, MLPDiscriminator, MLPGenerator, Shape
from dlplay.architectures.gan.settings import GANSettings
from dlplay.architectures.gan.transformer import TransformerDiscriminator, TransformerGenerator


def make_generator(settings: GANSettings, shape: Shape) -> nn.Module:
    """The generator for examples of this shape."""
    s = settings
    if s.generator == "transformer":
        return TransformerGenerator(shape, s.latent, s.layers, s.width, s.heads, s.patch, fused=True)
    kind = ConvGenerator if s.generator == "conv" else MLPGenerator
    return kind(shape, s.latent, s.layers, s.width)


def make_discriminator(settings: GANSettings, shape: Shape) -> nn.Module:
    """The discriminator, or critic, of examples of this shape."""
    s = settings
    if s.discriminator == "transformer":
        return TransformerDiscriminator(shape, s.layers, s.width, s.heads, s.patch, fused=s.loss != "wasserstein-gp", dropout=s.dropout)
    kind = ConvDiscriminator if s.discriminator == "conv" else MLPDiscriminator
    return kind(shape, s.layers, s.width, s.dropout)


def make_optimizer(net: nn.Module, settings: GANSettings) -> torch.optim.Optimizer:
    """Adam with its weight decay apart, fused; RMSprop (which has no fused form) for clipped weights, unless the settings say otherwise.

    With momentum the sign of a clipped critic's updates is unsteady, as Arjovsky et al. (2017) found: hence RMSprop.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    if uses_adam(settings):
        return torch.optim.AdamW(parameters, lr=settings.lr, fused=True)
    return torch.optim.RMSprop(parameters, lr=settings.lr)


def uses_adam(settings: GANSettings) -> bool:
    """Whether the optimisers are Adam."""
    return settings.optimizer == "adam" or (settings.optimizer == "auto" and settings.loss != "wasserstein")


def betas(settings: GANSettings) -> tuple[float, float]:
    """Adam's betas: those of Gulrajani et al. (2017) with a gradient penalty, of Radford et al. (2016) otherwise."""
    return settings.beta1, settings.beta2 or (0.9 if settings.loss == "wasserstein-gp" else 0.999)
