"""Settings that networks for images share; each gives them defaults of its own. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.catalogue import IMAGE_SIDES
from dlplay.engine.quantities import Batch, ImageSize, LearningRate, Momentum, WeightDecay, unit
from dlplay.engine.settings import Settings, SettingsError, frozen

ImageSource = Annotated[str, Meta(min_length=1, max_length=1000, extra={"choices": list(IMAGE_SIDES), "path": True})]


@frozen
class ImageSettings(Settings):
    """Images to learn from."""

    data: ImageSource = "digits"
    """Data set by name, or the path of a folder that holds IDX files or one folder of images for each class."""

    image_size: ImageSize = 32
    """Images from class folders are cropped to a square and resized to this side."""


@frozen
class OptimizerSettings(Settings):
    """A choice of optimiser and schedule; `parts.optimizers.make_optimizer` and `update_rates` follow it."""

    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw"
    """Optimiser: SGD with momentum or with Nesterov's, Adam (weight decay as an L2 penalty), or AdamW (decoupled weight decay)."""

    lr: LearningRate = 1e-3
    """Learning rate at the peak of the schedule; sgd needs about ten times as much as adam."""

    momentum: Momentum = 0.9
    """Momentum of sgd and nesterov; beta1 of adam and adamw. The one-cycle schedule lowers it by 0.1 while the learning rate is at its
    peak."""

    weight_decay: WeightDecay = 0.01
    """Weight decay of matrices and kernels; biases and normalisation layers have none."""

    schedule: Literal["constant", "cosine", "one-cycle", "triangle"] = "cosine"
    """Learning-rate schedule: constant, cosine decay, one-cycle (up for the first 30 % of the steps, then down), or triangle (straight up
    for a fifth of the steps, then straight down to 0)."""

    batch: Annotated[Batch, unit("images")] = 64
    """Images per step."""

    def check(self) -> None:
        super().check()
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise SettingsError("--optimizer nesterov looks ahead by its momentum; give --momentum above 0, such as 0.9", "momentum")
