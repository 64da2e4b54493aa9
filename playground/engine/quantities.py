"""Named types of settings and options: what a number counts, its bounds, and whether it may change during a run.

A field takes the type and a default of its own, `layers: Layers = 3`; a unit of its own is added by `Annotated[Batch, unit("windows")]`.
Imports no torch.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

LIVE = {"live": True}
LIVE_STEPS = {"unit": "steps", "live": True}

live = Meta(extra=LIVE)
"""Takes effect at the next step of a running run."""


def unit(name: str) -> Meta:
    """What one unit of the value is: "images", "tokens"."""
    return Meta(extra={"unit": name})


Steps = Annotated[int, Meta(ge=1, le=1_000_000_000, extra=LIVE_STEPS)]
"""A number of training steps."""
Warmup = Annotated[int, Meta(ge=0, le=1_000_000, extra=LIVE_STEPS)]
Minutes = Annotated[float, Meta(ge=0, le=100_000, extra={"unit": "minutes", "live": True, "least": "no limit"})]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]

LearningRate = Annotated[float, Meta(gt=0, le=10, extra=LIVE)]
WeightDecay = Annotated[float, Meta(ge=0, le=10, extra=LIVE)]
Momentum = Annotated[float, Meta(ge=0, lt=1, extra=LIVE)]
ClipNorm = Annotated[float, Meta(ge=0, le=1000, extra={"live": True, "least": "off"})]
"""The largest norm a gradient may have; 0: no limit."""
Dropout = Annotated[float, Meta(ge=0, lt=1, extra=LIVE)]
LabelSmoothing = Annotated[float, Meta(ge=0, lt=1, extra=LIVE)]
Share = Annotated[float, Meta(ge=0, le=1, extra=LIVE)]
"""A part of a whole, from none (0) to all of it (1)."""

Batch = Annotated[int, Meta(ge=1, le=65_536)]
Layers = Annotated[int, Meta(ge=1, le=48)]
Heads = Annotated[int, Meta(ge=1, le=64)]
Width = Annotated[int, Meta(ge=4, le=4096)]
BlockSize = Annotated[int, Meta(ge=2, le=1024, extra={"unit": "tokens"})]
VocabSize = Annotated[int, Meta(ge=2, le=65_536)]
MinCount = Annotated[int, Meta(ge=1, le=10_000)]
ImageSize = Annotated[int, Meta(ge=8, le=128, extra={"unit": "pixels"})]

LayerIndex = Annotated[int, Meta(ge=0, le=47)]
LayerOrLast = Annotated[int, Meta(ge=-1, le=47, extra={"least": "last"})]
HeadIndex = Annotated[int, Meta(ge=0, le=63)]
TokenOrLast = Annotated[int, Meta(ge=-1, le=1023, extra={"least": "last"})]
ExampleIndex = Annotated[int, Meta(ge=0, le=10_000_000)]
Measurement = Annotated[int, Meta(ge=0, le=1000, extra={"least": "none"})]
"""Number of a measurement that takes seconds: 0 measures nothing, each other number measures once."""
