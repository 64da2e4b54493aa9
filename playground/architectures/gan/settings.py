"""Settings of a GAN, and options of its panels and actions. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.catalogue import IMAGE_SIDES, POINTS
from dlplay.engine.errors import DataError
from dlplay.engine.quantities import (
    Batch,
    Dropout,
    HeadIndex,
    Heads,
    ImageSize,
    LabelSmoothing,
    LayerIndex,
    Layers,
    LearningRate,
    Steps,
    WeightDecay,
    live,
    unit,
)
from dlplay.engine.settings import Options, Settings, SettingsError, frozen, unless
from dlplay.parts.transformer_settings import check_heads

IMAGES = {name: side for name, side in IMAGE_SIDES.items() if name != "cifar10"}
"""Image data sets that are offered, and their sides: not cifar10, whose 3,072 pixels an image make the Fréchet distance too slow."""

HEART = (
    "0000000000000000/00aff80008ffa000/0affffa0affffa00/0fffffffffffff00/0fffffffffffff00/0fffffffffffff00/0affffffffffa000/"
    "00fffffffffff000/000fffffffff0000/0000fffffff00000/00000fffff000000/000000fff0000000/0000000f00000000"
)
"""The drawing until somebody draws another; rows that are left out at the bottom are empty."""

FIXED_LATENTS = 64
"""Latents that stay the same over the training, for panels that show the same samples again."""

DecayRate = Annotated[float, Meta(ge=0, lt=1)]
"""Of an exponential moving average."""
LatentIndex = Annotated[int, Meta(ge=0, le=1023)]
FixedLatent = Annotated[int, Meta(ge=0, le=FIXED_LATENTS - 1)]
PlaceText = Annotated[str, Meta(max_length=60)]


@frozen
class GANSettings(Settings):
    """Settings of a GAN."""

    data: Annotated[str, Meta(min_length=1, max_length=1000, extra={"choices": [*POINTS, *IMAGES], "path": True})] = "8-gaussians"
    """Training data: points or images by name, a file with two numbers a line, or a folder of IDX files or of class folders."""

    drawing: Annotated[str, Meta(max_length=300, extra={"pad": [16, 16]})] = HEART
    """For --data drawn: rows of the digits 0 (empty) to f (full ink), separated by /; points are sampled where there is ink."""

    image_size: ImageSize = 32
    """Side to which the images of a folder of class folders are resized."""

    loss: Literal["wasserstein-gp", "wasserstein", "non-saturating", "minimax"] = "wasserstein-gp"
    """Loss of both networks; the Wasserstein losses make the discriminator a critic, with a gradient penalty or with clipped weights."""

    generator: Literal["mlp", "conv", "transformer"] = "mlp"
    """Network that turns latents into samples; conv and transformer are for images."""

    discriminator: Literal["mlp", "conv", "transformer"] = "mlp"
    """Network that tells real examples from samples; conv and transformer are for images."""

    layers: Layers = 3
    """Hidden layers, convolutions or transformer blocks of each network."""

    width: Annotated[int, Meta(ge=2, le=4096)] = 128
    """Units of each hidden layer, channels of each convolution, or size of each token's vector."""

    heads: Heads = 4
    """Attention heads of a transformer; the width must be divisible by them."""

    patch: Annotated[int, Meta(ge=1, le=32), unit("pixels")] = 2
    """Side of the patches that are a transformer's tokens."""

    latent: Annotated[int, Meta(ge=1, le=1024), unit("dimensions")] = 2
    """Size of the latent that each sample is made from; with 2 the whole latent space can be seen."""

    critic_steps: Annotated[int, Meta(ge=1, le=100), live] = 3
    """Updates of the discriminator for each update of the generator."""

    lr: LearningRate = 2e-3
    """Learning rate of the generator."""

    critic_lr: LearningRate = 2e-3
    """Learning rate of the discriminator."""

    schedule: Literal["constant", "linear", "cosine", "one-cycle"] = "linear"
    """Both learning rates over the steps: constant, falling to zero along a line or a cosine, or one-cycle (up over the first 30 %, then
    down, beta1 lower by 0.1 at the peak)."""

    optimizer: Literal["auto", "adam", "rmsprop"] = "auto"
    """Optimiser of both networks; auto is rmsprop with clipped weights and adam (AdamW) otherwise, as in the papers."""

    beta1: Annotated[DecayRate, live] = 0.5
    """Adam's decay rate of the mean gradient (momentum); with a large one the two networks circle each other."""

    beta2: Annotated[DecayRate, Meta(extra={"live": True, "least": "as in the papers"})] = 0.0
    """Adam's decay rate of the mean squared gradient; 0: as in the papers, 0.9 with a gradient penalty and 0.999 otherwise."""

    weight_decay: WeightDecay = 0.0
    """Weight decay of both networks, on matrices and kernels, not on biases and norms."""

    batch: Annotated[Batch, unit("examples")] = 128
    """Real examples, and as many samples, in one update."""

    penalty: Annotated[float, Meta(ge=0, le=10_000), live] = 0.1
    """Weight of the gradient penalty (lambda): 0.1 suits points, 10 is the paper's for images."""

    r1: Annotated[float, Meta(ge=0, le=10_000), live] = 0.0
    """With minimax and non-saturating, weight of the R1 penalty (gamma), on the discriminator's gradient at real examples; 0: none."""

    clip: Annotated[float, Meta(gt=0, le=100), live] = 0.01
    """With --loss wasserstein, the critic's weights are clipped to -clip..clip after each of its updates."""

    label_smoothing: LabelSmoothing = 0.0
    """Subtracted from the discriminator's target for real examples (one-sided label smoothing), with minimax and non-saturating."""

    dropout: Dropout = 0.0
    """Share of the discriminator's activations that are zeroed at random while training."""

    average: Annotated[DecayRate, Meta(extra={"least": "none"})] = 0.0
    """Decay rate of a moving average of the generator's weights, which samples are then drawn from; 0: from the generator itself."""

    augment: Annotated[bool, live] = False
    """Augment real images and samples alike (shift, brightness, cutout), so that few images are not memorised."""

    steps: Steps = 2000
    """Training ends after this many steps, each of them one update of the generator."""

    def check(self) -> None:
        super().check()
        if self.precision == "bf16" and self.loss == "wasserstein":
            raise SettingsError(
                "--precision bf16 rounds by more than what a critic with clipped weights tells real from fake by; use --precision auto or "
                "float32, or --loss wasserstein-gp",
                "precision",
            )
        if self.data == "drawn":
            check_drawing(self.drawing)
        if self.data in POINTS:
            check_nets(self, (2,))
        elif self.data in IMAGES:
            check_nets(self, (1, IMAGES[self.data], IMAGES[self.data]))

    def no_accumulation(self) -> str:
        return "generator and discriminator are updated in turn, each by its own loss"

    def no_compilation(self) -> str:
        return "PyTorch cannot compile the gradient of a gradient, which the penalty takes" if self.loss == "wasserstein-gp" else ""

    def unused(self) -> dict[str, str]:
        transformer = "transformer" in (self.generator, self.discriminator)
        critic = self.loss in ("wasserstein-gp", "wasserstein")
        adam = self.optimizer == "adam" or (self.optimizer == "auto" and self.loss != "wasserstein")
        return (
            super().unused()
            | unless(self.data == "drawn", "--data drawn", "drawing")
            | unless(self.data not in (*POINTS, *IMAGES), "a folder of class folders", "image_size")
            | unless(self.data not in POINTS, "images", "augment")
            | unless(transformer, "a transformer", "heads", "patch")
            | unless(adam, "--optimizer adam", "beta1", "beta2")
            | unless(self.loss == "wasserstein-gp", "--loss wasserstein-gp", "penalty")
            | unless(self.loss == "wasserstein", "--loss wasserstein", "clip")
            | unless(not critic, "--loss non-saturating or minimax", "r1", "label_smoothing")
        )


def check_drawing(drawing: str) -> None:
    """Raises `SettingsError` for a drawing without any ink."""
    from dlplay.data.points import parse_ink  # numpy, which --help does without

    try:
        parse_ink(drawing)
    except DataError as error:
        raise SettingsError(str(error), "drawing") from None


def check_nets(settings: GANSettings, shape: tuple[int, ...]) -> None:
    """Raises `SettingsError` when one of the networks cannot be built for examples of this shape."""
    for field in ("generator", "discriminator"):
        kind = getattr(settings, field)
        if kind != "mlp" and len(shape) == 1:
            raise SettingsError(f"--{field} {kind} is for images; use --{field} mlp for points, or --data digits", field)
        if kind == "transformer":
            check_heads(settings.width, settings.heads)
            if any(side % settings.patch for side in shape[1:]):
                fits = max(n for n in range(1, settings.patch + 1) if all(side % n == 0 for side in shape[1:]))
                raise SettingsError(
                    f"--patch {settings.patch} does not divide images of {shape[1]}x{shape[2]}; use --patch {fits}", "patch"
                )


# --- options of panels and actions ----------------------------------------------------------------------------------------------------


@frozen
class Place(Options):
    """A place in the plane of points, or one of the samples."""

    point: PlaceText = ""
    """A place in the plane, x,y; for images the number of a sample, counted from 0."""

    def xy(self) -> tuple[float, float] | None:
        """The place in the plane; None when none was chosen. Raises `SettingsError`."""
        return parse_place(self.point, "point") if self.point.strip() else None

    def number(self) -> int:
        """The number of the sample, 0 when none was chosen. Raises `SettingsError`."""
        text = self.point.strip() or "0"
        if not text.isdecimal() or int(text) >= FIXED_LATENTS:
            raise SettingsError(
                f"--point {self.point!r} is not the number of a sample; images have samples 0 to {FIXED_LATENTS - 1}", "point"
            )
        return int(text)


@frozen
class LatentPlane(Place):
    """A plane in latent space: two of its dimensions; the other ones are those of the chosen sample for images, and 0 for points."""

    across: LatentIndex = 0
    """Latent dimension from left to right, counted from 0."""

    along: LatentIndex = 1
    """Latent dimension from bottom to top, counted from 0."""


@frozen
class LatentPlace(LatentPlane):
    """A place in that plane."""

    latent_place: PlaceText = "0,0"
    """Values of the two latent dimensions, x,y; nearly all latents that the generator is trained on lie within -2 to 2."""

    def check(self) -> None:
        parse_place(self.latent_place, "latent_place")


@frozen
class AttentionHead(Place):
    """A head of one of the two networks, where that is a transformer."""

    network: Literal["generator", "discriminator"] = "generator"
    """The generator that makes the chosen sample, or the discriminator that reads it."""

    layer: LayerIndex = 0
    """Which block, counted from 0; beyond the last one the last is shown."""

    head: HeadIndex = 0
    """Which of its heads, counted from 0; beyond the last one the last is shown."""


@frozen
class LatentPath(Options):
    """A path between two of the fixed latents."""

    start: FixedLatent = 0
    """Number of the fixed latent at the start of the path."""

    end: FixedLatent = 1
    """Number of the fixed latent at its end."""

    path: Literal["line", "sphere"] = "line"
    """Linear or spherical interpolation; spherical keeps the norm, near which most latents of many dimensions lie."""


def parse_place(text: str, field: str) -> tuple[float, float]:
    """`"0.5,-1"` as two numbers. Raises `SettingsError`."""
    try:
        x, y = (float(word) for word in text.split(",")) if text.strip() else (0.0, 0.0)
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= 1000 and abs(y) <= 1000):
        raise SettingsError(
            f"--{field.replace('_', '-')} {text!r} is not two numbers from -1000 to 1000 separated by a comma, such as 0.5,-1", field
        )
    return x, y
