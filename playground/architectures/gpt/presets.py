"""Presets of the GPT. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

PRESETS = {
    "reference": Preset(
        {},
        "The defaults: 0.5 M parameters on the language reference; strong weight decay, since the text is read 63 times. "
        "Perplexity 60, the 5-gram's is 65.",
    ),
    "quick": Preset(
        {"layers": 2, "width": 64, "dropout": 0.0, "weight_decay": 2.0, "lr": 4e-3, "steps": 1500},
        "Two narrow layers and no dropout, in under a minute: perplexity 68.5, not below the 5-gram (65).",
    ),
    "induction": Preset(
        {
            "text": "repeats",
            "layers": 2,
            "heads": 8,
            "width": 64,
            "feed_forward": False,
            "init_std": 0.1,
            "dropout": 0.0,
            "weight_decay": 0.1,
            "batch": 32,
            "lr": 1e-2,
            "steps": 1500,
            "eval_every": 50,
        },
        "Two layers of attention alone, random sentences that come again: from about step 400 the loss falls, and induction heads form.",
    ),
    "bpe": Preset(
        {"tokens": "bpe", "vocab_size": 1000},
        "Byte pairs learned from the text, so that no word is unknown: 1.88 bits per byte. The 5-gram of the same pieces has 1.86: n-grams "
        "are strong on a short text.",
    ),
    "char": Preset(
        {
            "tokens": "char",
            "layers": 4,
            "width": 128,
            "batch": 12,
            "dropout": 0.0,
            "weight_decay": 0.1,
            "lr": 1e-3,
            "steps": 2000,
            "eval_every": 250,
        },
        "Characters at nanoGPT's setting for a CPU; on tiny Shakespeare its author reports 1.88 nats. Works for any text file.",
    ),
    "char-gpu": Preset(
        {
            "tokens": "char",
            "layers": 6,
            "heads": 6,
            "width": 384,
            "block_size": 256,
            "batch": 64,
            "weight_decay": 0.1,
            "lr": 1e-3,
            "steps": 5000,
            "eval_every": 250,
        },
        "Characters at nanoGPT's setting for a GPU, 10.7 M parameters; on tiny Shakespeare its author reports 1.47 nats.",
    ),
    "gpt2-small": Preset(
        {
            "tokens": "bpe",
            "vocab_size": 50_257,
            "layers": 12,
            "heads": 12,
            "width": 768,
            "block_size": 1024,
            "precision": "bf16",
            "dropout": 0.0,
            "batch": 8,
            "accumulate": 60,
            "lr": 6e-4,
            "warmup": 2000,
            "weight_decay": 0.1,
            "steps": 20_000,
            "eval_every": 1000,
            "save_every": 1000,
        },
        "GPT-2's 124 M parameters at nanoGPT's setting (0.49 M tokens a step), for a GPU and a long text of your own.",
    ),
}
