"""The ConvNet's card: what can be set, drawn, asked and shown. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.architectures.convnet.options import KernelOptions, MapOptions, SaliencyOptions
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset
from dlplay.engine.settings import Settings, SettingsError
from dlplay.parts.image_options import ImageOptions, PickOptions

IMAGE_SIDES = {"digits": 8, "mnist": 28, "fashion-mnist": 28, "cifar10": 32}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvNetSettings(Settings):
    """What a ConvNet can be told."""

    data: Annotated[str, Meta(min_length=1, max_length=1000, extra={"choices": list(IMAGE_SIDES), "path": True})] = "digits"
    """What is learnt: a data set by name, or the path of a folder with IDX files or with a folder of images for each class."""

    image_size: Annotated[int, Meta(ge=8, le=128, extra={"unit": "pixels"})] = 32
    """Side to which the images of a folder of class folders are resized."""

    channels: Annotated[tuple[Annotated[int, Meta(ge=1, le=1024)], ...], Meta(min_length=1, max_length=8)] = (16, 32)
    """Channels of each layer, from the input on: 16,32 makes two layers."""

    kernel: Annotated[int, Meta(ge=1, le=11, extra={"unit": "cells"})] = 3
    """Side of the kernels, an odd number."""

    pooling: Literal["max", "average", "stride", "none"] = "max"
    """How each layer halves its maps: the largest or the mean of 2x2 cells, a convolution that moves by two, or not at all."""

    norm: Literal["none", "batch", "group"] = "batch"
    """Normalisation behind each convolution: over the batch, over groups of channels, or none."""

    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """The non-linear function behind each convolution."""

    dropout: Annotated[float, Meta(ge=0, le=0.95, extra={"live": True})] = 0.2
    """Share of the features hidden from the classifier at each training step."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    """Rule that turns gradients into steps; adamw keeps weight decay apart from the gradient."""

    lr: Annotated[float, Meta(gt=0, le=10, extra={"live": True})] = 3e-3
    """Learning rate, at the top of the schedule; sgd wants about ten times as much as adam."""

    momentum: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.9
    """Share of the last step's direction that is kept: momentum of sgd, first beta of adam and adamw."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.05
    """Pull of the kernels and the classifier's weights towards zero; biases and normalisation are left alone."""

    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    """Learning rate over the steps: constant, falling along a cosine, or up for 30 % of the steps and then down."""

    batch: Annotated[int, Meta(ge=1, le=65_536, extra={"unit": "images"})] = 64
    """Images in one step."""

    augment: bool = False
    """Change training images at random: grey ones are moved, turned, slanted and inked otherwise, colour ones shifted and mirrored."""

    def check(self) -> None:
        """Raises `SettingsError` for settings that no net can be built from."""
        super().check()
        if self.kernel % 2 == 0:
            raise SettingsError(
                f"--kernel {self.kernel} is even; use an odd number such as {self.kernel + 1}, so that maps keep their size", "kernel"
            )
        if self.norm == "batch" and self.batch == 1:
            raise SettingsError("--batch 1 leaves batch normalisation nothing to average; use --batch 2 or more, or --norm group", "batch")
        side = IMAGE_SIDES.get(self.data)
        if side is not None:
            check_depth(self, side)


def check_depth(settings: ConvNetSettings, side: int) -> None:
    """Raises `SettingsError` when images of this shorter side are pooled away before the last layer."""
    most = side.bit_length() - 1
    if settings.pooling != "none" and len(settings.channels) > most:
        raise SettingsError(
            f"--channels with {len(settings.channels)} layers halves {side}x{side} images to nothing; "
            f"use at most {most} layers with --pooling {settings.pooling}, or --pooling none",
            "channels",
        )


card = Card(
    name="convnet",
    title="ConvNet",
    summary="Classify images with convolutions, and draw your own digits for it to read.",
    settings=ConvNetSettings,
    task="dlplay.architectures.convnet.task:ConvNetTask",
    metric="test_accuracy",
    better="higher",
    order=10,
    charts=(
        ChartCard("Loss", train=("train_loss",), held_out=("test_loss",), log=True),
        ChartCard("Accuracy", train=("train_accuracy",), held_out=("test_accuracy",), percent=True),
    ),
    panels=(
        PanelCard(
            "probabilities",
            "Class probabilities",
            "What the net takes the image or drawing for; the bars add up to 100 %.",
            "The softmax of the logits. A net can be sure and wrong: look at the worst mistakes. A drawing is first brought to the size "
            "and place of the training images, as post offices do; the panel Input shows the result.",
            ImageOptions,
            rows=10,
        ),
        PanelCard(
            "input",
            "Input",
            "The cells as the net sees them, before normalisation.",
            "A held-out image, or your drawing brought to the size and place that the training images have.",
            ImageOptions,
            rows=8,
        ),
        PanelCard(
            "images",
            "Held-out images",
            "Images the net never trains on, with their true class; pick one to look at it everywhere.",
            "The page of held-out images around the one that is looked at. A cross marks those that the net gets wrong just now.",
            PickOptions,
            selects="image",
        ),
        PanelCard(
            "kernels",
            "Kernels",
            "What each channel of a layer looks for: positive cells want light there, negative ones dark.",
            "The weights of the convolution, one small picture for each output channel, as the forward pass uses them. They begin as "
            "noise; watch edges and spots appear in the first layer. Deeper layers have one kernel for each input channel: choose it.",
            KernelOptions,
        ),
        PanelCard(
            "maps",
            "Feature maps",
            "Where in the image each channel of the layer found what it looks for.",
            "The maps of the real forward pass for the image or drawing: behind the convolution, behind the activation, or pooled.",
            MapOptions,
        ),
        PanelCard(
            "confusion",
            "Confusion",
            "Rows are true classes, columns what the net says; off the diagonal are the mistakes.",
            "Counts over the held-out images. Look for pairs: if 8 is taken for 1, is 1 taken for 8 as well?",
            rows=11,
        ),
        PanelCard(
            "mistakes",
            "Worst mistakes",
            "Held-out images with the least probability for their true class; pick one to look at it everywhere.",
            "True class, what the net says instead and how sure it is. Some are hard for people as well; some labels are wrong.",
            selects="image",
        ),
        PanelCard(
            "norms",
            "Weights and gradients",
            "Size of the weights and of their gradient in each layer, on a log scale.",
            "Norms over 64 fixed training images, with dropout off. A gradient that shrinks from the last layer to the first is vanishing; "
            "one that grows step by step ends in a loss that is not finite.",
            rows=6,
        ),
        PanelCard(
            "saliency",
            "Saliency",
            "Cells that would change the answer most if they changed a little.",
            "The gradient of one class's logit with respect to the input's cells (Simonyan et al., 2013), as a size, the largest over the "
            "colours. It tells what the net is sensitive to, not why it decided so.",
            SaliencyOptions,
            rows=8,
        ),
    ),
    stage=stages.Pad(panel="probabilities", option="drawing", size=(8, 8)),
    presets={
        "digits": Preset({}, "2,000 steps on the embedded digits: more accurate than a nearest neighbour in under a minute."),
        "digits-augmented": Preset(
            {"augment": True, "steps": 4000, "channels": [32, 64]},
            "Shifted and turned digits make up for having only 1,437 of them; best for reading what you draw.",
        ),
        "mnist": Preset(
            {"data": "mnist", "channels": [32, 64], "batch": 128, "threads": 2, "steps": 3000, "augment": True, "eval_every": 500},
            "The classic: 60,000 digits of 28x28, so a larger batch and more channels pay; two CPU threads halve the time.",
        ),
        "fashion-mnist": Preset(
            {"data": "fashion-mnist", "channels": [32, 64, 128], "batch": 128, "threads": 2, "steps": 5000, "eval_every": 500},
            "Clothes instead of digits and much harder: shirt, pullover and coat look alike at 28x28.",
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
            "Colour photographs want more channels, mirror images and a GPU.",
        ),
    },
)

__all__ = ["ConvNetSettings", "card", "check_depth"]
