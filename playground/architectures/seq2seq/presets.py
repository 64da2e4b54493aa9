"""Presets of the sequence-to-sequence Transformer. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

PRESETS = {
    "reverse": Preset({}, "The defaults: up to ten letters reversed, 0.24 M parameters; every held-out word is correct."),
    "copy": Preset({"task": "copy"}, "Up to ten letters copied: the easiest task; the alignment is a clean diagonal."),
    "sort": Preset(
        {"task": "sort", "steps": 6000},
        "Up to ten letters in alphabetical order: each output letter depends on all source letters.",
    ),
    "addition": Preset(
        {"task": "addition", "batch": 64, "steps": 4000, "eval_every": 250},
        "Sums of numbers up to three digits, most significant digit first: above 99 % on held-out sums.",
    ),
    "dates": Preset(
        {"task": "dates"},
        "Dates in words, in 14 forms, to ISO dates. Your own pairs work the same way: --data FILE, and --tokens word for sentences.",
    ),
    "published": Preset(
        {
            "norm": "post",
            "schedule": "paper",
            "warmup": 1000,
            "dropout": 0.1,
            "label_smoothing": 0.1,
            "steps": 3000,
            "eval_every": 250,
        },
        "Reversing as published: post-norm, the paper's warm-up, dropout and label smoothing; 97.7 % (seed 0).",
    ),
}
