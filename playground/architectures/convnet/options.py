"""What the ConvNet's panels can be asked with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Options
from dlplay.parts.image_options import ImageOptions


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

    target: Annotated[int, Meta(ge=-1, le=999, extra={"least": "its own"})] = -1
    """Number of the class to ask about; -1 for the class the net decides on."""
