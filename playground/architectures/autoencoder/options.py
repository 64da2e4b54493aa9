"""What an autoencoder's panels can be asked with. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import SettingsError
from dlplay.parts.image_options import ImageOptions, PickOptions

Noise = Literal["as trained", "none", "gaussian", "masking", "salt-and-pepper"]
Level = Annotated[float, Meta(ge=0, le=1)]
Silence = Annotated[int, Meta(ge=-1, le=4095)]
Axis = Annotated[int, Meta(ge=0, le=4095)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputOptions(ImageOptions):
    """An image or a drawing, and what is done to it and to its code on the way."""

    input_noise: Noise = "as trained"
    """What is done to the input before the net sees it."""

    input_noise_level: Level = 0.25
    """Strength of that noise: the standard deviation, or the share of cells that are changed."""

    silence: Silence = -1
    """A unit of the code that is set to 0 before it is decoded; -1 for none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageOptions(PickOptions):
    """A page of images, and what is done to them and to their codes on the way."""

    input_noise: Noise = "as trained"
    """What is done to the inputs before the net sees them."""

    input_noise_level: Level = 0.25
    """Strength of that noise: the standard deviation, or the share of cells that are changed."""

    silence: Silence = -1
    """A unit of the code that is set to 0 before it is decoded; -1 for none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlaneOptions(PickOptions):
    """A plane through the code of the image that is looked at."""

    x_axis: Axis = 0
    """Unit of the code that changes from left to right; beyond the last one it is the last."""

    y_axis: Axis = 1
    """Unit of the code that changes from bottom to top; beyond the last one it is the last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScatterOptions(PlaneOptions):
    """From where the codes are seen."""

    view: Literal["pca", "units"] = "pca"
    """The plane in which the codes differ most (pca), or the one of two units of the code."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridOptions(PlaneOptions):
    """How finely the plane is looked at."""

    images: Annotated[int, Meta(ge=3, le=15)] = 7
    """Images in each row and column of the grid."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlaceOptions(PlaneOptions):
    """A place in the plane."""

    place: Annotated[str, Meta(max_length=100)] = "0,0"
    """The place, as two numbers with a comma: standard deviations of the two units from their means over the held-out images."""

    def check(self) -> None:
        """Raises `SettingsError`."""
        parse_place(self.place)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureOptions(PickOptions):
    """Which features are shown."""

    of: Literal["decoder", "encoder", "gradient"] = "decoder"
    """What each unit of the code draws (decoder), the weights that see the image (encoder), or what would push each unit up (gradient)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairOptions(PickOptions):
    """Two held-out images."""

    other: Annotated[int, Meta(ge=0, le=10_000_000)] = 1
    """Number of the held-out image at the other end."""


def parse_place(text: str) -> tuple[float, float]:
    """`"0.5,-1"` as numbers; empty text is the middle. Raises `SettingsError`."""
    if not text.strip():
        return 0.0, 0.0
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= 100 and abs(y) <= 100):
        raise SettingsError(f"--place {text[:40]!r} is not two numbers from -100 to 100 with a comma; write it like 0.5,-1", "place")
    return x, y
