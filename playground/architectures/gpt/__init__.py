"""GPT: a decoder that predicts the next word."""

from dlplay.architectures.gpt.card import card as card
