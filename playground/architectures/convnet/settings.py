"""Settings of a ConvNet, and options of its panels. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.catalogue import IMAGE_SIDES
from dlplay.engine.quantities import Batch, Dropout, ImageSize, LabelSmoothing, LearningRate, Momentum, Steps, WeightDecay, unit
from dlplay.engine.settings import Options, SettingsError, frozen, unless
from dlplay.parts.image_options import InputImage
from dlplay.parts.image_settings import ImageSettings, ImageSource, OptimizerSettings


@frozen
class ConvNetSettings(ImageSettings, OptimizerSettings):
    """Settings of a ConvNet."""

    data: ImageSource = "moved-digits"
    image_size: ImageSize = 32

    kind: Literal["plain", "resnet"] = "plain"
    """Plain: a convolution a layer, and all of the last maps into the classifier. Resnet: a small residual net, where nothing is pooled in
    the first layer, every second one has a residual branch of two more convolutions, and the classifier sees each map's maximum alone."""

    channels: Annotated[tuple[Annotated[int, Meta(ge=1, le=1024)], ...], Meta(min_length=1, max_length=8)] = (16, 32, 64)
    """Output channels of each convolutional layer, from the input on: 16,32 makes two layers."""

    kernel: Annotated[int, Meta(ge=1, le=11, extra={"unit": "pixels"})] = 3
    """Kernel size of the convolutions, an odd number."""

    pooling: Literal["max", "average", "stride", "none"] = "max"
    """How each layer halves its feature maps: max pooling, average pooling, a convolution of stride 2, or not at all."""

    norm: Literal["none", "batch", "group"] = "batch"
    """Normalisation after each convolution: batch norm, group norm, or none."""

    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Activation function after each convolution."""

    dropout: Dropout = 0.2
    """Share of the features that are zeroed at random before the classifier while training."""

    label_smoothing: LabelSmoothing = 0.0
    """The targets give this much probability to all classes evenly instead of to the true class (Szegedy et al., 2016)."""

    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw"
    lr: LearningRate = 3e-3
    momentum: Momentum = 0.95
    weight_decay: WeightDecay = 0.05
    schedule: Literal["constant", "cosine", "one-cycle", "triangle"] = "one-cycle"
    batch: Annotated[Batch, unit("images")] = 64

    steps: Steps = 3000

    augment: bool = False
    """Augment training images: random affine transforms, contrast and sharpness for grey images, shifts and flips for colour images."""

    cutout: Annotated[int, Meta(ge=0, le=128, extra={"unit": "pixels", "live": True, "least": "off"})] = 0
    """Side of a square at a random place of each training image that is filled with the mean colour (DeVries and Taylor, 2017); 0: none."""

    def check(self) -> None:
        super().check()
        if self.kind == "resnet" and self.norm == "none":
            raise SettingsError(
                "--norm none does not go with --kind resnet, whose maps would shrink from layer to layer; use batch or group", "norm"
            )
        if self.kernel % 2 == 0:
            raise SettingsError(
                f"--kernel {self.kernel} is even; use an odd number such as {self.kernel + 1}, so that feature maps keep their size",
                "kernel",
            )
        if self.norm == "batch" and self.batch == 1:
            raise SettingsError("--batch 1 is too small for batch normalisation; use --batch 2 or more, or --norm group", "batch")
        side = IMAGE_SIDES.get(self.data)
        if side is not None:
            check_depth(self, side)

    def no_accumulation(self) -> str:
        return "batch norm takes its statistics from each batch by itself" if self.norm == "batch" else ""

    def unused(self) -> dict[str, str]:
        return super().unused() | unless(self.data not in IMAGE_SIDES, "a folder of class folders", "image_size")


def check_depth(settings: ConvNetSettings, side: int) -> None:
    """Raises `SettingsError` when images with this shorter side are pooled to nothing before the last layer."""
    most = side.bit_length() - 1 + (settings.kind == "resnet")
    if settings.pooling != "none" and len(settings.channels) > most:
        raise SettingsError(
            f"--channels with {len(settings.channels)} layers halves {side}x{side} images to nothing; "
            f"use at most {most} layers with --pooling {settings.pooling}, or --pooling none",
            "channels",
        )


ConvLayer = Annotated[int, Meta(ge=0, le=7)]


@frozen
class LayerKernels(Options):
    """Options of the kernels."""

    layer: ConvLayer = 0
    """The convolutional layer, counted from 0 at the input."""

    channel: Annotated[int, Meta(ge=0, le=1023)] = 0
    """The input channel whose kernels are shown; the first layer of colour images shows all three at once."""


@frozen
class FeatureMaps(InputImage):
    """Options of the feature maps."""

    layer: ConvLayer = 0
    """The convolutional layer, counted from 0 at the input."""

    after: Literal["convolution", "activation", "pooling", "residual"] = "activation"
    """The operation whose output is shown; residual: with what a residual branch adds to the pooled maps, where the layer has one."""


@frozen
class SaliencyTarget(InputImage):
    """Options of the saliency map."""

    target: Annotated[int, Meta(ge=-1, le=999, extra={"least": "predicted"})] = -1
    """Index of the class whose logit is differentiated, or predicted: the predicted class."""


@frozen
class Nudge(InputImage):
    """Options of the adversarial nudge."""

    nudge: Annotated[float, Meta(ge=0, le=1)] = 0.1
    """By how much each pixel is changed, as a share of full ink."""


@frozen
class Cell(InputImage):
    """One cell of a feature map."""

    layer: ConvLayer = 0
    """The convolutional layer, counted from 0 at the input."""

    output: Annotated[int, Meta(ge=0, le=1023)] = 0
    """The output channel, counted from 0; beyond the last one the last is meant."""

    row: Annotated[int, Meta(ge=-1, le=1023, extra={"least": "strongest"})] = -1
    """The cell's row, counted from 0 at the top, or strongest: the cell with the highest value."""

    column: Annotated[int, Meta(ge=-1, le=1023, extra={"least": "strongest"})] = -1
    """The cell's column, counted from 0 at the left, or strongest."""
