"""What the GAN's panels and actions can be asked with. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Options, SettingsError

SHEET = 64
"""Fixed latents whose samples are followed over time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointOptions(Options):
    """A place that is looked at or acted on."""

    point: Annotated[str, Meta(max_length=60)] = ""
    """A place in the plane, x,y; for images the number of a sample, counted from 0."""

    def place(self) -> tuple[float, float] | None:
        """The place in the plane; None when none was chosen. Raises `SettingsError`."""
        return parse_place(self.point, "point") if self.point.strip() else None

    def number(self) -> int:
        """The number of the sample that is looked at. Raises `SettingsError`."""
        text = self.point.strip() or "0"
        if not text.isdecimal() or int(text) >= SHEET:
            raise SettingsError(f"--point {self.point!r} is not the number of a sample; images have samples 0 to {SHEET - 1}", "point")
        return int(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions(PointOptions):
    """A place in latent space."""

    latent_place: Annotated[str, Meta(max_length=60)] = "0,0"
    """Two of the latent's numbers, x,y; most of the generator's latents lie within -2 to 2."""

    across: Annotated[int, Meta(ge=0, le=1023)] = 0
    """Which of the latent's numbers x is."""

    along: Annotated[int, Meta(ge=0, le=1023)] = 1
    """Which of the latent's numbers y is."""

    def check(self) -> None:
        """Raises `SettingsError`."""
        parse_place(self.latent_place, "latent_place")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapOptions(PointOptions):
    """Two directions of latent space."""

    across: Annotated[int, Meta(ge=0, le=1023)] = 0
    """Which of the latent's numbers grows from left to right."""

    along: Annotated[int, Meta(ge=0, le=1023)] = 1
    """Which of the latent's numbers grows from the bottom to the top."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathOptions(Options):
    """Two latents."""

    start: Annotated[int, Meta(ge=0, le=SHEET - 1)] = 0
    """Number of the fixed latent that the path begins at."""

    end: Annotated[int, Meta(ge=0, le=SHEET - 1)] = 1
    """Number of the fixed latent that it ends at."""

    path: Literal["line", "sphere"] = "line"
    """Straight, or at an even distance from the origin, where most latents lie when they have many numbers."""


def parse_place(text: str, field: str) -> tuple[float, float]:
    """`"0.5,-1"` as two numbers. Raises `SettingsError`."""
    try:
        x, y = (float(word) for word in text.split(",")) if text.strip() else (0.0, 0.0)
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= 1000 and abs(y) <= 1000):
        raise SettingsError(
            f"--{field.replace('_', '-')} {text!r} is not two numbers from -1000 to 1000 with a comma between, such as 0.5,-1", field
        )
    return x, y
