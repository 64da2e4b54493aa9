"""Presets of the autoencoder. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

PRESETS = {
    "deep": Preset({}, "5,000 steps on the embedded digits, in seconds: 8 units that are worth 18 principal components."),
    "plane": Preset(
        {"latent": 2, "hidden": [256, 128]}, "A code of two units: latent space is a plane that the cursor walks over, image by image."
    ),
    "linear": Preset(
        {
            "encoder": "linear",
            "output": "linear",
            "weight_decay": 0.0,
            "lr": 0.01,
            "batch": 256,
            "steps": 3000,
        },
        "One linear layer each way: gradient descent finds the subspace of principal component analysis.",
    ),
    "denoising": Preset(
        {"noise": "gaussian", "latent": 32},
        "Fresh Gaussian noise on every input, and the clean image as the target: the network learns what digits look like.",
    ),
    "masking": Preset(
        {"noise": "masking", "latent": 32},
        "A quarter of the pixels is set to zero: the network fills in the missing parts of strokes.",
    ),
    "sparse": Preset(
        {
            "data": "patches",
            "encoder": "linear",
            "code": "sigmoid",
            "latent": 25,
            "sparsity": "kl",
            "optimizer": "adam",
            "lr": 0.03,
            "weight_decay": 1e-4,
            "batch": 1000,
        },
        "The UFLDL exercise, 64-25-64 on whitened patches of photographs: units that are rarely active become edge detectors.",
    ),
    "activations": Preset(
        {
            "data": "activations",
            "encoder": "linear",
            "code": "topk",
            "active": 16,
            "latent": 384,
            "output": "linear",
            "weight_decay": 0.0,
            "lr": 3e-3,
            "batch": 256,
            "steps": 3000,
        },
        "A sparse autoencoder of the shipped GPT's residual stream: four times as many features as numbers, 16 of them for each word.",
    ),
    "convolutional": Preset(
        {"encoder": "conv", "hidden": [32, 64]},
        "Convolutions of stride 2 to the code, transposed ones back: the same weights at every place of the image.",
    ),
    "variational": Preset(
        {"variational": True, "loss": "cross-entropy", "hidden": [256, 128]},
        "A VAE: codes are close to standard normal, so that a random code decodes to an image.",
    ),
    "mnist": Preset(
        {"data": "mnist", "encoder": "conv", "hidden": [32, 64], "latent": 16, "batch": 128, "threads": 2, "eval_every": 500},
        "60,000 digits of 28x28 pixels; convolutions need few weights for so many pixels.",
    ),
    "fashion-mnist": Preset(
        {"data": "fashion-mnist", "encoder": "conv", "hidden": [32, 64], "latent": 16, "batch": 128, "threads": 2, "eval_every": 500},
        "Clothes: the outline fits into 16 numbers, patterns and prints do not.",
    ),
}
