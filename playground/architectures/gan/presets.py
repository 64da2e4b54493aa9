"""Presets of the GAN. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

DIGITS = {
    "data": "digits",
    "latent": 32,
    "penalty": 1.0,
    "critic_steps": 1,
    "beta1": 0.0,
    "batch": 64,
    "average": 0.99,
    "steps": 2500,
    "eval_every": 250,
}

PRESETS = {
    "8-gaussians-gp": Preset(
        {}, "The default: the gradient penalty keeps the critic's gradient norm near 1, so every mode attracts samples from anywhere."
    ),
    "weight-clipping": Preset(
        {"loss": "wasserstein", "critic_steps": 5, "lr": 5e-5, "critic_lr": 5e-5, "schedule": "constant"},
        "The first Wasserstein GAN, as in its paper: clipped weights leave the critic nearly flat, so it is slow on the same seed.",
    ),
    "minimax": Preset(
        {"loss": "minimax", "critic_steps": 1},
        "The first GAN: the discriminator wins, the generator's loss saturates, and on the same seed the samples stay far from the data.",
    ),
    "non-saturating": Preset(
        {"loss": "non-saturating", "r1": 0.05},
        "Cross-entropy that works: the generator maximises log D, whose gradient does not vanish, and the R1 penalty lets the two networks "
        "come to rest. All eight modes.",
    ),
    "25-gaussians": Preset({"data": "25-gaussians", "steps": 4000, "width": 256}, "A grid of 25 modes, and wider networks to find them."),
    "drawn": Preset(
        {"data": "drawn", "critic_steps": 5},
        "Points from your own drawing, in the setting drawing; a filled shape needs a better critic.",
    ),
    "digits": Preset(
        DIGITS | {"width": 256, "lr": 1e-3, "critic_lr": 1e-3}, "Two multilayer perceptrons, digits of 8x8 pixels: the quickest images."
    ),
    "digits-transformers": Preset(
        DIGITS
        | {
            "generator": "transformer",
            "discriminator": "transformer",
            "layers": 2,
            "width": 64,
            "patch": 4,
            "schedule": "constant",  # while the weights still move, their average is better than any of them
            "average": 0.998,
        },
        "Two transformers, four patches of 4x4 pixels as tokens, no convolution; samples from a moving average of the generator.",
    ),
    "mnist": Preset(
        DIGITS
        | {"data": "mnist", "generator": "conv", "discriminator": "conv", "width": 64, "lr": 1e-3, "critic_lr": 1e-3, "steps": 10_000},
        "Two convolutional networks on the 60,000 digits of MNIST, 28x28 pixels; wants a GPU or patience.",
    ),
}
