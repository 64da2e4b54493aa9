"""Options of panels that show an image. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dlplay.engine.quantities import ExampleIndex
from dlplay.engine.settings import Options, frozen


@frozen
class HeldOutImage(Options):
    """One of the held-out images."""

    image: ExampleIndex = 0
    """Index of the held-out image."""


@frozen
class InputImage(HeldOutImage):
    """A held-out image or, when there is one, a drawing."""

    drawing: Annotated[str, Meta(max_length=40_000, extra={"pad": [16, 16]})] = ""
    """A drawing to use instead: rows of comma-separated ink from 0 to 16 parted by semicolons, or of hex digits parted by slashes."""
