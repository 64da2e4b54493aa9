"""Presets of the BERT. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

PRESETS = {
    "reference": Preset({}, "The defaults: 0.41 M parameters on the language reference; it predicts 32 % of the masked words."),
    "pairs": Preset(
        {"next_sentence": True},
        "Each row holds two segments of text, and the model also predicts whether the second follows the first.",
    ),
    "classify": Preset(
        {"lr": 5e-4, "warmup": 20, "steps": 300, "eval_every": 50, "weight_decay": 0.01, "dropout": 0.1, "batch": 16},
        "For fine-tuning with --from bert-reference --data FILE.tsv: a low learning rate and few steps.",
    ),
    "char": Preset(
        {"tokens": "char", "block_size": 128, "layers": 4, "width": 128, "lr": 1e-3},
        "Single characters are masked; the other letters of the word give them away.",
    ),
}
