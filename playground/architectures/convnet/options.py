"""What the ConvNet's panels can be asked with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from playground.engine.settings import Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """An input: a held-out image, or a drawing."""

    image: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Number of the held-out image to look at."""

    drawing: Annotated[str, Meta(max_length=40_000)] = ""
    """A drawing to look at instead: rows of comma-separated ink from 0 to 16, parted by semicolons."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PickOptions(Options):
    """Which held-out image is looked at."""

    image: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Number of the held-out image to look at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelOptions(Options):
    """Which kernels are shown."""

    layer: Annotated[int, Meta(ge=0, le=7)] = 0
    """The layer, counted from 0 at the input."""

    channel: Annotated[int, Meta(ge=0, le=1023)] = 0
    """The input channel of that layer that the kernels look at; the first layer of colour images shows all three at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapOptions(ImageOptions):
    """Which feature maps are shown."""

    layer: Annotated[int, Meta(ge=0, le=7)] = 0
    """The layer, counted from 0 at the input."""

    after: Literal["convolution", "activation", "pooling"] = "activation"
    """The point within the layer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaliencyOptions(ImageOptions):
    """Whose logit the cells' influence is measured on."""

    target: Annotated[int, Meta(ge=-1, le=999)] = -1
    """Number of the class to ask about; -1 for the class the net decides on."""
