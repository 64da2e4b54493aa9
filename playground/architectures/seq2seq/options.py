"""What a question about a sequence-to-sequence Transformer can be put with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silence(Options):
    """A head that is switched off while the question is answered."""

    silence: Literal["none", "encoder", "decoder", "cross"] = "none"
    """Switches the head at layer and head off: one of the encoder, of the decoder's look back, or of its look at the source."""

    layer: Annotated[int, Meta(ge=0, le=23)] = 0
    """Which layer, counted from 0; beyond the last one the last."""

    head: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which head of it, counted from 0; beyond the last one the last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source(Silence):
    """Options of every question about a source and its output."""

    source: Annotated[str, Meta(max_length=8000)] = ""
    """What is read; empty: the held-out pair that example names."""

    output: Annotated[str, Meta(max_length=8000)] = ""
    """What the output is made to begin with; a final <eos> ends it there. Empty: the model says all of it by itself."""

    words: Annotated[int, Meta(ge=1, le=512, extra={"unit": "tokens"})] = 512
    """At most this many output tokens are said."""

    place: Annotated[int, Meta(ge=-1, le=511)] = -1
    """Which output token is looked at, counted from 0; -1 is the last."""

    example: Annotated[int, Meta(ge=0, le=999)] = 0
    """Which held-out pair stands in for an empty source, counted from 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionMap(Source):
    """Options of the attention map."""

    attention: Literal["encoder", "decoder", "cross"] = "cross"
    """Whose attention at layer and head: the source on itself, the output on itself, or the output on the source."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alignment(Source):
    """Options of the alignment."""

    aligned_layer: Annotated[int, Meta(ge=-1, le=23, extra={"least": "last"})] = -1
    """Which layer's cross attention, counted from 0; -1 is the last."""

    aligned_head: Annotated[int, Meta(ge=-1, le=63, extra={"least": "mean"})] = -1
    """Which head of it, counted from 0; -1 is the mean of all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beam(Source):
    """Options of the beam search."""

    beams: Annotated[int, Meta(ge=1, le=32, extra={"unit": "outputs"})] = 5
    """Outputs that are kept at every step."""

    alpha: Annotated[float, Meta(ge=0, le=2)] = 0.6
    """Power of the length penalty ((5 + length) / 6)^alpha; 0 ranks by the log-probability alone, which favours short outputs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut(Silence):
    """Options of the held-out pairs."""

    pairs: Annotated[int, Meta(ge=1, le=1000)] = 200
    """How many held-out pairs are decoded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadsOff(Options):
    """Options of what each head is worth."""

    tested: Annotated[int, Meta(ge=1, le=256, extra={"unit": "pairs"})] = 64
    """How many held-out pairs are decoded for each head."""
