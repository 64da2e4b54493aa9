"""BERT: an encoder that predicts masked words from both sides."""

from dlplay.architectures.bert.card import card as card
