"""What a sequence-to-sequence Transformer can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Settings, SettingsError, check_heads

MADE = "made"
"""Names the pairs that the task makes up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seq2SeqSettings(Settings):
    """What a sequence-to-sequence Transformer can be told."""

    task: Literal["reverse", "copy", "sort", "addition", "dates"] = "reverse"
    """What it learns from pairs that are made up: letters backwards, as they stand or in order, sums, or dates in words to ISO dates."""

    data: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": [MADE], "path": True})] = MADE
    """made (the task makes its pairs up), or a UTF-8 file of at most 64 MiB with your own pairs, SOURCE tab TARGET on a line, instead."""

    tokens: Literal["char", "word"] = "char"
    """What it reads at a time: a character; or, of your own pairs, a word, number or punctuation mark in lower case without other signs."""

    length: Annotated[int, Meta(ge=1, le=100, extra={"unit": "letters"})] = 10
    """For reverse, copy and sort: the longest source; every length from 1 on comes equally often."""

    symbols: Annotated[int, Meta(ge=2, le=26, extra={"unit": "letters"})] = 26
    """For reverse, copy and sort: how many different letters there are, from a on."""

    digits: Annotated[int, Meta(ge=1, le=8)] = 3
    """For addition: digits of the largest number that is added."""

    sum_order: Literal["units-first", "as-written"] = "as-written"
    """For addition: which digit of the sum is said first; units first is easier, since every carry is known when it is needed."""

    vocab_size: Annotated[int, Meta(ge=2, le=65_536)] = 8000
    """For your own pairs: at most this many different tokens are known; the rarest of the rest are read as <unk>."""

    layers: Annotated[int, Meta(ge=1, le=24)] = 2
    """Layers of the encoder, and as many of the decoder."""

    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads in each layer; the width must divide by them."""

    width: Annotated[int, Meta(ge=4, le=4096)] = 64
    """Length of the vector that stands for each token, in every layer; the feed-forward part is four times as wide."""

    norm: Literal["post", "pre"] = "pre"
    """Where layers are normalised: post, after each addition, as published; pre, before each part, with a norm at the end of a stack."""

    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """What stands for the place of a token: sines and cosines as published, or a learned vector for each place."""

    dropout: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.0
    """Share of activations that are switched off at random while training; fresh pairs at every step need none."""

    label_smoothing: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.0
    """Share of the wanted probability that is spread evenly over all tokens while training; 0.1 as published."""

    batch: Annotated[int, Meta(ge=1, le=4096, extra={"live": True, "unit": "pairs"})] = 32
    """Pairs in each step."""

    schedule: Literal["cosine", "paper"] = "cosine"
    """How the step size goes: up to lr and down a cosine to a twentieth, or the paper's width^-0.5 min(step^-0.5, step warmup^-1.5)."""

    lr: Annotated[float, Meta(gt=0, le=1, extra={"live": True})] = 2e-3
    """For cosine: step size at its highest, after the warm-up. The paper's schedule has none: it follows from width and warm-up."""

    warmup: Annotated[int, Meta(ge=1, le=1_000_000, extra={"unit": "steps", "live": True})] = 100
    """Steps over which the step size rises from nothing; 4000 as published."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.0
    """How strongly AdamW pulls the matrices (not biases and norms) to zero, times the step size; none as published."""

    clip: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 1.0
    """The gradient's norm is cut down to this; 0 leaves it alone."""

    eval_beams: Annotated[int, Meta(ge=1, le=16, extra={"live": True, "unit": "outputs"})] = 1
    """Above 1 every evaluation decodes by beam search as well, keeping this many outputs, and measures beam_exact_match."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 2000
    """Training ends after this many steps; a cosine falls towards that end."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 200
    """Steps between two evaluations on all held-out pairs."""

    def check(self) -> None:
        """The heads share the width evenly, and made-up pairs are made of characters."""
        super().check()
        check_heads(self.width, self.heads)
        if self.tokens == "word" and self.data == MADE:
            raise SettingsError(
                f"--tokens word is for your own pairs, and --task {self.task} is made of characters; leave it at char, or add --data FILE",
                "tokens",
            )
