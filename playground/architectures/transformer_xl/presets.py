"""Presets of the Transformer-XL. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

TEXT = {
    "task": "text",
    "layers": 3,
    "heads": 4,
    "width": 88,
    "block_size": 32,
    "memory": 64,
    "eval_memory": 64,
    "dropout": 0.2,
    "weight_decay": 1.0,
    "batch": 32,
    "lr": 3e-3,
    "steps": 1000,
    "eval_every": 100,
}

PRESETS = {
    "recall": Preset({}, "The defaults: six words recalled after 46 dots, three segments later: 100 % with the memory, chance without it."),
    "recall-no-memory": Preset(
        {"memory": 0, "eval_memory": 0}, "The same trained without a memory: the words are out of reach, and it stays at chance."
    ),
    "reference": Preset(
        TEXT,
        "The words of the language reference in segments of 32 with a memory of 64: perplexity 60.3, the 5-gram's is 64.9.",
    ),
    "reference-no-memory": Preset(
        {**TEXT, "memory": 0, "eval_memory": 0},
        "The same trained without a memory: 63.1 with disjoint segments, 59.8 when the window is recomputed for every token.",
    ),
}
