"""Transformer-XL: a decoder that reads a text segment by segment, with a memory of the segments before."""

from dlplay.architectures.transformer_xl.card import card as card
