"""Presets of the ConvNet. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

DIGITS = {"data": "digits"}

PRESETS = {
    "moved-digits": Preset(
        {}, "The default: digits shifted and rotated on a larger canvas, where methods that compare pixel by pixel fail."
    ),
    "moved-digits-augmented": Preset(
        {"augment": True, "steps": 4000},
        "The same with pictures that change each time they are trained on, and so the best at reading what you draw. It is shipped.",
    ),
    "digits": Preset(
        DIGITS | {"channels": [16, 32], "steps": 2000},
        "The embedded digits as they were scanned, all in the same place: so easy that a support vector machine reads as many.",
    ),
    "digits-augmented": Preset(
        DIGITS | {"augment": True, "steps": 4000, "channels": [32, 64]},
        "Augmentation makes up for having only 1,437 digits to train on.",
    ),
    "mnist": Preset(
        {"data": "mnist", "channels": [32, 64], "batch": 128, "threads": 2, "steps": 3000, "augment": True, "eval_every": 500},
        "The classic: 60,000 digits of 28x28 pixels, so larger batches and more channels pay; two CPU threads halve the time.",
    ),
    "fashion-mnist": Preset(
        {"data": "fashion-mnist", "channels": [32, 64, 128], "batch": 128, "threads": 2, "steps": 5000, "eval_every": 500},
        "Clothes instead of digits, and much harder: shirts, pullovers and coats look alike at 28x28 pixels.",
    ),
    "cifar10": Preset(
        {
            "data": "cifar10",
            "channels": [64, 128, 256, 256],
            "batch": 256,
            "steps": 10000,
            "augment": True,
            "lr": 5e-3,
            "eval_every": 1000,
        },
        "Colour photographs need more channels, flipped images and a GPU.",
    ),
    "cifar10-resnet": Preset(
        {
            "data": "cifar10",
            "kind": "resnet",
            "channels": [64, 128, 256, 512],
            "dropout": 0.0,
            "augment": True,
            "cutout": 8,
            "optimizer": "nesterov",
            "lr": 0.4,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "schedule": "triangle",
            "batch": 512,
            "steps": 2344,
            "eval_every": 293,
        },
        "Nine layers and 24 epochs, for a GPU: Page (2018) gives 94 % in 79 s of a V100; nobody has trained it here on one yet.",
    ),
}
