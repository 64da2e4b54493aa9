"""What an autoencoder can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Settings, SettingsError

DATA = ("digits", "patches", "mnist", "fashion-mnist")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(Settings):
    """A net that writes an image down as a short code, and reads the image out of the code again."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 5000
    """Training ends after this many steps."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 250
    """Steps between two evaluations on held-out data."""

    save_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 1000
    """Steps between two checkpoints."""

    data: Annotated[str, Meta(min_length=1, max_length=1000, extra={"choices": list(DATA), "path": True})] = "digits"
    """What is learnt: a data set by name (patches are cut from photographs), or the path of a folder with IDX files or class folders."""

    image_size: Annotated[int, Meta(ge=8, le=128, extra={"unit": "pixels"})] = 32
    """Side to which the images of a folder of class folders are resized."""

    whiten: bool = True
    """Whiten the photographs that patches are cut from, so that edges count as much as large areas of one shade."""

    latent: Annotated[int, Meta(ge=1, le=4096, extra={"unit": "numbers"})] = 8
    """Numbers in the code: the bottleneck that all of an image must go through."""

    encoder: Literal["linear", "mlp", "conv"] = "mlp"
    """The way to the code, which the decoder takes back: one matrix, hidden layers, or convolutions that halve the image."""

    hidden: Annotated[tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(min_length=1, max_length=6)] = (256,)
    """Widths of the hidden layers from the image to the code (mlp), or channels (conv); the decoder has them in reverse."""

    activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = "gelu"
    """The non-linear function of the hidden layers."""

    code: Literal["linear", "sigmoid", "relu"] = "linear"
    """The function that the code's numbers go through; sigmoid keeps them from 0 to 1."""

    output: Literal["linear", "sigmoid"] = "sigmoid"
    """The function that the output's cells go through; sigmoid keeps them from 0 to 1, as the images are."""

    loss: Literal["squared", "cross-entropy"] = "squared"
    """How an image and its reconstruction are compared: half the squared error, or each cell as the probability of ink."""

    noise: Literal["none", "gaussian", "masking", "salt-and-pepper"] = "none"
    """What is done to the inputs, never to the goal: numbers are added, cells are emptied, or cells become all or nothing."""

    noise_level: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.25
    """Strength of the noise in training: the standard deviation, or the share of cells that are changed."""

    test_noise: Annotated[float, Meta(ge=0, le=1)] = 0.25
    """Strength of the noise on the held-out images that test_mse and its baselines are measured with; not live, so that they compare."""

    sparsity: Literal["none", "kl", "l1"] = "none"
    """Penalty that keeps most of the code near 0: on each unit's mean activation (kl), or on the size of each activation (l1)."""

    rho: Annotated[float, Meta(gt=0, lt=1, extra={"live": True})] = 0.01
    """Mean activation that kl sparsity pulls each unit of the code to."""

    sparsity_weight: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 3.0
    """Weight of the sparsity penalty, beside an error summed over the cells."""

    variational: bool = False
    """The encoder gives a normal distribution for each code, drawn close to the standard one, and the decoder reads a draw from it."""

    beta: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 1.0
    """Weight of the variational penalty, the divergence from the standard normal; 1 trains on the bound itself."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    """Rule that turns gradients into steps; adamw keeps weight decay apart from the gradient."""

    lr: Annotated[float, Meta(gt=0, le=10, extra={"live": True})] = 2e-3
    """Learning rate, at the top of the schedule."""

    momentum: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.9
    """Share of the last step's direction that is kept: momentum of sgd, first beta of adam and adamw."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.1
    """Pull of the weights towards zero; biases are left alone. With adam it is the gradient of half the squared weights."""

    schedule: Literal["constant", "cosine", "one-cycle"] = "cosine"
    """Learning rate over the steps: constant, falling along a cosine, or up for 30 % of the steps and then down."""

    batch: Annotated[int, Meta(ge=1, le=65_536, extra={"unit": "images"})] = 64
    """Images in one step."""

    def check(self) -> None:
        """Raises `SettingsError` for settings that contradict each other."""
        super().check()
        if self.sparsity == "kl" and self.code != "sigmoid":
            raise SettingsError(
                f"--sparsity kl compares mean activations from 0 to 1, and --code {self.code} has others; "
                "use --code sigmoid, or --sparsity l1",
                "sparsity",
            )
        if self.variational and (self.code != "linear" or self.sparsity != "none"):
            raise SettingsError(
                f"--variational true draws a code that is normal, and --code {self.code} with --sparsity {self.sparsity} is not; "
                "use --code linear and --sparsity none",
                "variational",
            )
        if self.loss == "cross-entropy" and self.output != "sigmoid":
            raise SettingsError(
                "--loss cross-entropy needs outputs from 0 to 1; use --output sigmoid, or --loss squared",
                "loss",
            )
