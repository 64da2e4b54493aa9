"""What a question about an image can be put with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from msgspec import Meta

from dlplay.engine.settings import Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class PickOptions(Options):
    """Which held-out image is looked at."""

    image: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Number of the held-out image to look at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(PickOptions):
    """An input: a held-out image, or a drawing."""

    drawing: Annotated[str, Meta(max_length=40_000, extra={"pad": [8, 8]})] = ""
    """A drawing to look at instead: rows of comma-separated ink from 0 to 16 parted by semicolons, or of hex digits parted by slashes."""
