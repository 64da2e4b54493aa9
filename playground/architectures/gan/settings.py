"""What a GAN can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.errors import DataError
from dlplay.engine.settings import Settings, SettingsError

POINTS = ("8-gaussians", "25-gaussians", "ring", "moons", "spiral", "drawn")
IMAGE_SIDES = {"digits": 8, "mnist": 28, "fashion-mnist": 28}
HEART = (
    "0000000000000000/00aff80008ffa000/0affffa0affffa00/0fffffffffffff00/0fffffffffffff00/0fffffffffffff00/0affffffffffa000/"
    "00fffffffffff000/000fffffffff0000/0000fffffff00000/00000fffff000000/000000fff0000000/0000000f00000000"
)
"""What is drawn until somebody draws something else; the last rows may be left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GANSettings(Settings):
    """What a GAN can be told."""

    data: Annotated[str, Meta(min_length=1, max_length=1000, extra={"choices": [*POINTS, *IMAGE_SIDES], "path": True})] = "8-gaussians"
    """What is learnt: points or images by name, a file with two numbers a line, or a folder of IDX files or of class folders."""

    drawing: Annotated[str, Meta(max_length=300, extra={"pad": [16, 16]})] = HEART
    """For --data drawn: rows of the digits 0 (empty) to f (full ink), parted by /; points lie where there is ink."""

    image_size: Annotated[int, Meta(ge=8, le=64, extra={"unit": "pixels"})] = 32
    """Side to which the images of a folder of class folders are resized."""

    loss: Literal["wasserstein-gp", "wasserstein", "non-saturating", "minimax"] = "wasserstein-gp"
    """What the two nets play for; the Wasserstein losses make the discriminator a critic, with a gradient penalty or clipped weights."""

    generator: Literal["mlp", "conv", "transformer"] = "mlp"
    """The net that makes examples from noise; conv and transformer are for images."""

    discriminator: Literal["mlp", "conv", "transformer"] = "mlp"
    """The net that tells real examples from made ones; conv and transformer are for images."""

    layers: Annotated[int, Meta(ge=1, le=12)] = 3
    """Hidden layers, convolutions or blocks of each net."""

    width: Annotated[int, Meta(ge=2, le=2048)] = 128
    """Numbers in each hidden layer, channels of each convolution, or numbers of each token."""

    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads of a transformer; they share its width."""

    patch: Annotated[int, Meta(ge=1, le=32, extra={"unit": "cells"})] = 2
    """Side of the patches that a transformer cuts images into."""

    latent: Annotated[int, Meta(ge=1, le=1024)] = 2
    """Random numbers that each sample is made from; with 2 the whole latent space can be seen."""

    critic_steps: Annotated[int, Meta(ge=1, le=100, extra={"live": True})] = 3
    """Updates of the discriminator for each update of the generator."""

    lr: Annotated[float, Meta(gt=0, le=10, extra={"live": True})] = 2e-3
    """Learning rate of the generator."""

    critic_lr: Annotated[float, Meta(gt=0, le=10, extra={"live": True})] = 2e-3
    """Learning rate of the discriminator."""

    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Both learning rates over the steps: constant, or falling to nothing along a line or a cosine."""

    optimizer: Literal["auto", "adam", "rmsprop"] = "auto"
    """Rule that turns gradients into steps; auto is rmsprop for clipped weights and adam otherwise, as in the papers."""

    beta1: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.5
    """Share of the last step's direction that adam keeps; two players circle each other when it is large."""

    beta2: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.0
    """Share of the squared gradients that adam keeps; 0: as in the papers, 0.9 with a gradient penalty and 0.999 otherwise."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.0
    """Pull of the weights of both nets towards zero."""

    batch: Annotated[int, Meta(ge=1, le=65_536, extra={"unit": "examples"})] = 128
    """Real examples, and as many made ones, in one update."""

    penalty: Annotated[float, Meta(ge=0, le=10_000, extra={"live": True})] = 0.1
    """Weight of the gradient penalty: 0.1 suits points, which lie this near together; 10 is the paper's for images."""

    clip: Annotated[float, Meta(gt=0, le=100, extra={"live": True})] = 0.01
    """Bound that the critic's weights are cut to after each of its updates, with --loss wasserstein."""

    label_smoothing: Annotated[float, Meta(ge=0, le=0.5, extra={"live": True})] = 0.0
    """Taken off the discriminator's target for real examples, with minimax and non-saturating."""

    dropout: Annotated[float, Meta(ge=0, le=0.95, extra={"live": True})] = 0.0
    """Share of the discriminator's features hidden at each training step."""

    average: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share that a moving average of the generator's weights keeps at each step; samples come from it. 0: from the generator itself."""

    augment: Annotated[bool, Meta(extra={"live": True})] = False
    """Change real and made images alike at random (shift, brightness, a square cut out): few images are not learnt by heart then."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 2000
    """Training ends after this many steps, each of them one update of the generator."""

    def check(self) -> None:
        """Raises `SettingsError` for settings that no nets can be built from."""
        super().check()
        if self.data == "drawn":
            check_drawing(self.drawing)
        if self.data in POINTS:
            check_nets(self, (2,))
        elif self.data in IMAGE_SIDES:
            check_nets(self, (1, IMAGE_SIDES[self.data], IMAGE_SIDES[self.data]))


def check_drawing(drawing: str) -> None:
    """Raises `SettingsError` for a drawing that nothing can be learnt from."""
    from dlplay.data.points import parse_ink  # numpy, which the help does without

    try:
        parse_ink(drawing)
    except DataError as error:
        raise SettingsError(str(error), "drawing") from None


def check_nets(settings: GANSettings, shape: tuple[int, ...]) -> None:
    """Raises `SettingsError` when a net cannot make or read examples of this shape."""
    for field in ("generator", "discriminator"):
        kind = getattr(settings, field)
        if kind != "mlp" and len(shape) == 1:
            raise SettingsError(f"--{field} {kind} is for images; use --{field} mlp for points, or --data digits", field)
        if kind == "transformer":
            if settings.width % settings.heads:
                raise SettingsError(
                    f"--heads {settings.heads} does not divide --width {settings.width}; use a divisor such as "
                    f"{max(n for n in range(1, settings.heads + 1) if settings.width % n == 0)}",
                    "heads",
                )
            if any(side % settings.patch for side in shape[1:]):
                fits = max(n for n in range(1, settings.patch + 1) if all(side % n == 0 for side in shape[1:]))
                raise SettingsError(
                    f"--patch {settings.patch} does not divide images of {shape[1]}x{shape[2]}; use --patch {fits}", "patch"
                )
