"""Recurrent nets: a plain RNN, a GRU and an LSTM."""

from dlplay.architectures.recurrent.card import card as card
