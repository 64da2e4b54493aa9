"""Seq2seq: the encoder-decoder Transformer as first published."""

from dlplay.architectures.seq2seq.card import card as card
