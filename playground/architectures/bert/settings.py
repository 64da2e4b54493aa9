"""What the BERT can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Settings, SettingsError, check_heads


@dataclasses.dataclass(frozen=True, kw_only=True)
class BERTSettings(Settings):
    """What the BERT can be told."""

    text: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": ["reference"], "path": True})] = "reference"
    """What it reads: reference (the language reference inside Python), or a UTF-8 text file of at most 64 MiB."""

    tokens: Literal["word", "char", "wordpiece"] = "word"
    """What it reads at a time: a word, number or punctuation mark in lower case, a character as it stands, or (wordpiece) the pieces of
    words that a model from elsewhere brings along."""

    data: Annotated[str, Meta(max_length=4096, extra={"path": True})] = ""
    """Texts to tell apart: a file with a text, a tab and its class on each line. Empty: it learns masked words."""

    next_sentence: bool = False
    """Each row holds two pieces of text, and it learns as well whether the second follows the first or is from anywhere."""

    layers: Annotated[int, Meta(ge=1, le=48)] = 2
    """Blocks of attention and feed-forward, one after the other."""

    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads in each block; the width must divide by them."""

    width: Annotated[int, Meta(ge=4, le=4096)] = 96
    """Length of the vector that stands for each token, in every layer."""

    block_size: Annotated[int, Meta(ge=8, le=1024, extra={"unit": "tokens"})] = 32
    """How many tokens it sees at once, [CLS] and [SEP] among them."""

    dropout: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.1
    """Share of activations that are switched off at random while training; more of it counters overfitting."""

    vocab_size: Annotated[int, Meta(ge=2, le=65_532)] = 8000
    """At most this many different words are known; the rarest of the rest are read as <unk>."""

    min_count: Annotated[int, Meta(ge=1, le=10_000)] = 3
    """A word that comes less often in the training text is read as <unk>; characters are all kept."""

    mask_share: Annotated[float, Meta(gt=0, lt=1, extra={"live": True})] = 0.15
    """Share of the words that it is asked for, drawn anew at every step."""

    mask_random: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.1
    """Of the words that it is asked for, the share that is replaced by any word instead of [MASK]."""

    mask_kept: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.1
    """Of the words that it is asked for, the share that is left as it is."""

    short_share: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.1
    """Share of the rows that are cut to any shorter length, so that short texts are met while training, too."""

    batch: Annotated[int, Meta(ge=1, le=4096, extra={"live": True, "unit": "rows"})] = 32
    """Rows of text in each step, each from a random place."""

    lr: Annotated[float, Meta(gt=0, le=1, extra={"live": True})] = 3e-3
    """Step size at its highest: after the warm-up, from where it falls in a straight line to nothing at the last step."""

    warmup: Annotated[int, Meta(ge=0, le=1_000_000, extra={"unit": "steps", "live": True})] = 300
    """Steps over which the step size rises from nothing; norms behind each sum need it."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.3
    """How strongly AdamW pulls the matrices (not biases and norms) to zero, times the step size; a text read many times needs much."""

    clip: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 1.0
    """The gradient's norm is cut down to this; 0 leaves it alone."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 8000
    """Training ends after this many steps; the step size falls towards that end."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 500
    """Steps between two evaluations on all that is held out."""

    def check(self) -> None:
        """The heads share the width evenly; no more than all of the chosen words are kept or replaced."""
        super().check()
        check_heads(self.width, self.heads)
        if self.mask_random + self.mask_kept > 1:
            raise SettingsError(
                f"--mask-kept {self.mask_kept:g} and --mask-random {self.mask_random:g} are more than 1 together; "
                f"use --mask-kept {1 - self.mask_random:g} at the most",
                "mask_kept",
            )
