"""Presets of the recurrent net. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

ADDING = {
    "task": "adding",
    "length": 50,
    "width": 64,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "batch": 64,
    "lr": 5e-3,
    "steps": 2000,
    "eval_every": 100,
}

KERAS = {"tokens": "word", "embedding": 50, "layers": 2, "width": 100, "head": 100, "block_size": 50}

PRESETS = {
    "reference": Preset(
        {},
        "The defaults: an LSTM of 192 units on the characters of the language reference. Loss 1.29 nats, as the 5-gram's; the 8-gram's "
        "is 1.23.",
    ),
    "two-layers": Preset(
        {"layers": 2, "width": 184, "dropout": 0.35, "weight_decay": 0.1, "steps": 4000, "eval_every": 500},
        "Two layers and more dropout, in four minutes: 1.21 nats, below the 8-gram. The shipped model.",
    ),
    "keras-tutorial": Preset(
        {**KERAS, "dropout": 0.35, "weight_decay": 0.1, "batch": 32, "lr": 3e-3, "steps": 1200, "eval_every": 200},
        "The Keras tutorial's word model (two LSTMs of 100), trained on every word: perplexity 83, the bigram's is 94.",
    ),
    "keras-windows": Preset(
        {
            **KERAS,
            "predict": "last",
            "dropout": 0.0,
            "weight_decay": 0.0,
            "clip": 0.0,
            "batch": 128,
            "lr": 1e-3,
            "warmup": 0,
            "steps": 1000,
            "eval_every": 250,
        },
        "As the tutorial trains it: one word after each window of 50. A step costs as much and learns from a fiftieth of the words.",
    ),
    "copy": Preset(
        {
            "task": "copy",
            "length": 20,
            "width": 128,
            "embedding": 16,
            "dropout": 0.0,
            "weight_decay": 0.0,
            "batch": 64,
            "lr": 5e-3,
            "steps": 3000,
        },
        "Ten symbols recalled after 20 steps: nearly all of them are correct; chance is an eighth.",
    ),
    "series": Preset(
        {
            "task": "series",
            "width": 64,
            "dropout": 0.0,
            "weight_decay": 0.0,
            "block_size": 50,
            "batch": 16,
            "lr": 5e-3,
            "steps": 1500,
            "eval_every": 100,
        },
        "Three sines with noise: forecasts of 25 steps have a squared error of .04; the noise alone is .013.",
    ),
    "adding-lstm": Preset(
        {**ADDING, "cell": "lstm"},
        "The adding problem over 50 steps, which an LSTM solves: squared error below .001; that of a constant is .17.",
    ),
    "adding-gru": Preset(
        {**ADDING, "cell": "gru"},
        "The adding problem over 50 steps, which a GRU solves: squared error .0001; that of a constant is .17.",
    ),
    "adding-rnn": Preset(
        {**ADDING, "cell": "rnn-tanh"},
        "The same with a plain RNN, whose gradients vanish: it stays at the constant's error, or starts to beat it only at the end.",
    ),
}
