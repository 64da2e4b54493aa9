"""Other networks for the two players: convolutional ones and transformers, for images; and the choice that the settings make."""

from __future__ import annotations

from torch import nn

from dlplay.architectures.gan.model import MLPDiscriminator, MLPGenerator, Shape
from dlplay.architectures.gan.nets.conv import ConvDiscriminator, ConvGenerator
from dlplay.architectures.gan.nets.transformer import TransformerDiscriminator, TransformerGenerator
from dlplay.architectures.gan.settings import GANSettings


def make_generator(settings: GANSettings, shape: Shape) -> nn.Module:
    """The generator of samples of this shape."""
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
