"""Autoencoder: an encoder compresses images to a short code, a decoder reconstructs them."""

from dlplay.architectures.autoencoder.card import card as card
