"""Settings of an autoencoder, and options of its panels. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.catalogue import IMAGE_SIDES
from dlplay.engine.quantities import LIVE, Batch, ExampleIndex, ImageSize, LearningRate, Momentum, Share, Steps, WeightDecay, unit
from dlplay.engine.settings import Options, SettingsError, frozen, unless
from dlplay.parts.image_options import HeldOutImage, InputImage
from dlplay.parts.image_settings import ImageSettings, ImageSource, OptimizerSettings
from dlplay.parts.prompt_options import Prompt

ACTIVATIONS = "activations"
OTHER_DATA = ("patches", ACTIVATIONS)
"""Data besides the sets of images."""

SPARSE = ("relu", "topk")
"""Activation functions of a code whose units may be 0."""

PenaltyWeight = Annotated[float, Meta(ge=0, le=1000, extra=LIVE)]


@frozen
class AutoencoderSettings(ImageSettings, OptimizerSettings):
    """Settings of an autoencoder."""

    steps: Steps = 5000
    eval_every: Steps = 250
    save_every: Steps = 1000

    data: Annotated[ImageSource, Meta(extra={"choices": [*IMAGE_SIDES, *OTHER_DATA]})] = "digits"
    """Data set by name (patches are cut from photographs, activations are those of the shipped GPT), or the path of a folder that holds
    IDX files or one folder of images for each class."""

    image_size: ImageSize = 32

    whiten: bool = True
    """Whiten the photographs that patches are cut from, so that all spatial frequencies have about the same power."""

    site: Annotated[str, Meta(min_length=1, max_length=200)] = "blocks.1"
    """The module of the shipped GPT whose output is learned, by its address, as GPT's panel anatomy lists them; blocks.1 is the residual
    stream after the second block, blocks.1.head.3 a head of its attention."""

    latent: Annotated[int, Meta(ge=1, le=4096, extra={"unit": "units"})] = 8
    """Size of the code, the bottleneck."""

    encoder: Literal["linear", "mlp", "conv"] = "mlp"
    """A linear layer, hidden layers, or convolutions of stride 2; the decoder mirrors the encoder."""

    hidden: Annotated[tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(min_length=1, max_length=6)] = (256,)
    """Widths of the encoder's hidden layers (mlp) or channels of its convolutions (conv), from the image on; the decoder has them in
    reverse."""

    activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = "gelu"
    """Activation function of the hidden layers."""

    code: Literal["linear", "sigmoid", "relu", "topk"] = "linear"
    """Activation function of the code; topk keeps the largest units of each code and sets the others to 0."""

    active: Annotated[int, Meta(ge=1, le=4096, extra={"unit": "units"})] = 16
    """Units of a code that topk keeps."""

    output: Literal["linear", "sigmoid"] = "sigmoid"
    """Activation function of the output; sigmoid keeps pixels from 0 to 1, as those of the images are."""

    loss: Literal["squared", "cross-entropy"] = "squared"
    """Reconstruction loss: half the squared error, or binary cross-entropy with each pixel as a probability, which of grey pixels is no
    likelihood."""

    noise: Literal["none", "gaussian", "masking", "salt-and-pepper"] = "none"
    """Corruption of the inputs, never of the targets: Gaussian noise is added, pixels are set to 0, or pixels are set to 0 or 1."""

    noise_level: Share = 0.25
    """Strength of the noise in training: the standard deviation, or the share of corrupted pixels."""

    test_noise: Annotated[float, Meta(ge=0, le=1)] = 0.25
    """Strength of the noise on held-out inputs, for test_mse and its baselines; not live, so that evaluations stay comparable."""

    sparsity: Literal["none", "kl", "l1"] = "none"
    """Sparsity penalty on the code: the KL divergence of each unit's mean activation from rho, or the L1 norm of the activations."""

    rho: Annotated[float, Meta(gt=0, lt=1, extra=LIVE)] = 0.01
    """Target of each unit's mean activation, with kl sparsity."""

    sparsity_weight: PenaltyWeight = 3.0
    """Weight of the sparsity penalty beside the reconstruction loss, which is summed over pixels."""

    variational: bool = False
    """The encoder gives a normal distribution of codes, and the decoder gets a sample of it (a VAE)."""

    beta: PenaltyWeight = 1.0
    """Weight of the KL divergence from the standard normal, in a VAE; 1 maximises the evidence lower bound (ELBO), where the loss is a
    likelihood."""

    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw"
    lr: LearningRate = 2e-3
    momentum: Momentum = 0.9
    weight_decay: WeightDecay = 0.1
    schedule: Literal["constant", "cosine", "one-cycle", "triangle"] = "cosine"
    batch: Annotated[Batch, unit("examples")] = 64

    def check(self) -> None:
        super().check()
        if self.sparsity == "kl" and self.code != "sigmoid":
            raise SettingsError(
                f"--sparsity kl needs activations from 0 to 1, and those of --code {self.code} are not; "
                "use --code sigmoid, or --sparsity l1",
                "sparsity",
            )
        if self.variational and (self.code != "linear" or self.sparsity != "none"):
            raise SettingsError(
                f"--variational true needs normally distributed codes, and those of --code {self.code} with --sparsity {self.sparsity} are "
                "not; use --code linear and --sparsity none",
                "variational",
            )
        if self.loss == "cross-entropy" and self.output != "sigmoid":
            raise SettingsError(
                "--loss cross-entropy needs outputs from 0 to 1; use --output sigmoid, or --loss squared",
                "loss",
            )
        if self.code == "topk" and self.active > self.latent:
            raise SettingsError(f"--active {self.active} is more than the code's {self.latent} units; raise --latent", "active")
        if self.data == ACTIVATIONS and (self.output != "linear" or self.loss != "squared"):
            raise SettingsError(
                f"--data {ACTIVATIONS} have no bounds, and --output {self.output} with --loss {self.loss} has; use --output linear and "
                f"--loss squared, or --preset {ACTIVATIONS}",
                "output",
            )

    def no_accumulation(self) -> str:
        return "the KL sparsity is of the mean activation of each batch by itself" if self.sparsity == "kl" else ""

    def unused(self) -> dict[str, str]:
        layers = self.encoder != "linear"
        return (
            super().unused()
            | unless(self.data == "patches", "--data patches", "whiten")
            | unless(self.data == ACTIVATIONS, f"--data {ACTIVATIONS}", "site")
            | unless(self.data not in (*IMAGE_SIDES, *OTHER_DATA), "a folder of class folders", "image_size")
            | unless(self.code == "topk", "--code topk", "active")
            | unless(layers, "--encoder mlp or conv", "hidden", "activation")
            | unless(self.noise != "none", "another --noise than none", "noise_level", "test_noise")
            | unless(self.sparsity != "none", "another --sparsity than none", "sparsity_weight")
            | unless(self.sparsity == "kl", "--sparsity kl", "rho")
            | unless(self.variational, "--variational", "beta")
        )


# --- options of the panels --------------------------------------------------------------------------------------------------------

Unit = Annotated[int, Meta(ge=0, le=4095)]
UnitOfPlane = Annotated[int, Meta(ge=-1, le=4095, extra={"least": "auto"})]


@frozen
class Intervention(Options):
    """What is done to inputs and codes on the way."""

    input_noise: Literal["as trained", "none", "gaussian", "masking", "salt-and-pepper"] = "as trained"
    """Corruption of the inputs."""

    input_noise_level: Annotated[float, Meta(ge=0, le=1)] = 0.25
    """Strength of that noise: the standard deviation, or the share of corrupted pixels."""

    ablate: Annotated[int, Meta(ge=-1, le=4095, extra={"least": "none", "was": {"silence": {}}})] = -1
    """A unit of the code to ablate: it is set to 0 before decoding. Or none."""


@frozen
class OneReconstruction(Intervention, InputImage):
    """Options of the reconstruction of one image."""


@frozen
class ReconstructionPage(Intervention, HeldOutImage):
    """Options of a page of reconstructions."""


@frozen
class PlaneOfUnits(HeldOutImage):
    """A plane in latent space: two units vary, the others are those of a held-out image."""

    x_axis: UnitOfPlane = -1
    """Unit of the code on the horizontal axis; beyond the last one the last is taken. Auto: unit 0, or with data activations the feature
    that is largest on average."""

    y_axis: UnitOfPlane = -1
    """Unit of the code on the vertical axis; beyond the last one the last is taken. Auto: unit 1, or with data activations the second
    largest feature."""


@frozen
class CodeScatter(PlaneOfUnits):
    """Options of the scatter plot of codes."""

    view: Literal["pca", "units"] = "pca"
    """Project codes onto their first two principal components, or onto two units."""


@frozen
class LatentGrid(PlaneOfUnits):
    """Options of the grid of decoded images."""

    images: Annotated[int, Meta(ge=3, le=15)] = 7
    """Images in each row and column of the grid."""


@frozen
class LatentPoint(PlaneOfUnits):
    """Options of the image decoded at one point."""

    place: Annotated[str, Meta(max_length=100, extra={"label": "point"})] = "0,0"
    """The point, two numbers with a comma: standard deviations of the two units from their means over the held-out images."""

    def check(self) -> None:
        parse_point(self.place)


@frozen
class Features(HeldOutImage):
    """Options of the features."""

    of: Annotated[Literal["decoder", "encoder", "gradient"], Meta(extra={"label": "features of"})] = "decoder"
    """The change in the output when a unit grows, the weights of the first layer, or the gradient of a unit with respect to the image."""


@frozen
class ImagePair(HeldOutImage):
    """Two held-out images."""

    other: ExampleIndex = 1
    """Index of the held-out image at the other end."""


@frozen
class OneFeature(Options):
    """A feature of activations."""

    feature: Unit = 0
    """Which feature: a unit of the code."""


@frozen
class FeatureEffect(Prompt, OneFeature):
    """Options of a feature that is clamped while the language model reads a prompt."""

    value: Annotated[float, Meta(ge=0, le=1000)] = 10.0
    """What the feature is set to at every word of the prompt; 0 turns it off."""


def parse_point(text: str) -> tuple[float, float]:
    """`"0.5,-1"` as numbers; empty text is the origin. Raises `SettingsError`."""
    if not text.strip():
        return 0.0, 0.0
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= 100 and abs(y) <= 100):
        raise SettingsError(f"--place {text[:40]!r} is not two numbers from -100 to 100 with a comma; write it like 0.5,-1", "place")
    return x, y
