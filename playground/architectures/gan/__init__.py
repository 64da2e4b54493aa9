"""GAN: a generator and a discriminator that train each other."""

from dlplay.architectures.gan.card import card as card
