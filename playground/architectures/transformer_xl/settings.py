"""What a Transformer-XL can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.bounded import clean
from dlplay.engine.settings import Settings, SettingsError, check_heads

MAX_MEMORY = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerXLSettings(Settings):
    """What a Transformer-XL can be told."""

    task: Literal["recall", "text"] = "recall"
    """What it learns: words read some segments ago, asked for by their kind, or the next token of a text."""

    facts: Annotated[int, Meta(ge=1, le=8)] = 6
    """For recall: words of different kinds in a sequence; each is asked for once at its end."""

    gap: Annotated[int, Meta(ge=0, le=2048, extra={"unit": "tokens"})] = 46
    """For recall: dots between the last word and the first question, so many that no word stands in the segment of the questions."""

    text: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": ["reference"], "path": True})] = "reference"
    """For text: reference (the language reference inside Python), or a UTF-8 text file of at most 64 MiB."""

    tokens: Literal["word", "char"] = "word"
    """For text: what it reads at a time: a word, number or punctuation mark in lower case, or a character as it stands."""

    vocab_size: Annotated[int, Meta(ge=2, le=65_536)] = 8000
    """For text: at most this many different tokens are known; the rarest of the rest are read as <unk>."""

    min_count: Annotated[int, Meta(ge=1, le=10_000)] = 3
    """For text: a word that comes less often in the training text is read as <unk>; characters are all kept."""

    block_size: Annotated[int, Meta(ge=2, le=1024, extra={"unit": "tokens"})] = 16
    """Tokens of a segment: read at once, and as far back as gradients reach."""

    memory: Annotated[int, Meta(ge=0, le=MAX_MEMORY, extra={"unit": "tokens"})] = 48
    """Tokens before a segment whose layer inputs it attends to while training; 0 trains without a memory."""

    eval_memory: Annotated[int, Meta(ge=0, le=MAX_MEMORY, extra={"unit": "tokens"})] = 48
    """The same when it is evaluated; it may be longer."""

    layers: Annotated[int, Meta(ge=1, le=48)] = 2
    """Blocks of attention and feed-forward; each looks a memory further back than the one before."""

    heads: Annotated[int, Meta(ge=1, le=64)] = 2
    """Attention heads in each block; the width must divide by them."""

    width: Annotated[int, Meta(ge=4, le=4096)] = 64
    """Length of the vector that stands for each token, in every layer."""

    dropout: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.0
    """Share of activations that are switched off at random while training; more of it counters overfitting."""

    batch: Annotated[int, Meta(ge=1, le=4096, extra={"unit": "streams"})] = 32
    """Streams of text read side by side, or sequences in each step."""

    lr: Annotated[float, Meta(gt=0, le=1, extra={"live": True})] = 3e-3
    """Step size at its highest: after the warm-up, from where it falls along a cosine to a tenth at the last step."""

    warmup: Annotated[int, Meta(ge=0, le=1_000_000, extra={"unit": "steps", "live": True})] = 100
    """Steps over which the step size rises from nothing."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.01
    """How strongly AdamW pulls the matrices (not biases and norms) to zero, times the step size; a text read many times needs much."""

    clip: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 1.0
    """The gradient's norm is cut down to this; 0 leaves it alone."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 500
    """Training ends after this many steps; the step size falls towards that end."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 50
    """Steps between two evaluations on held-out data."""

    def check(self) -> None:
        """The heads share the width evenly, what is to be recalled lies in a segment before its question, no file is passed over."""
        super().check()
        check_heads(self.width, self.heads)
        if self.task != "recall":
            return
        if self.text != "reference":
            raise SettingsError(
                f"--text {clean(self.text, 300)} is a text, which --task recall does not read; add --task text, or leave it at reference",
                "text",
            )
        asked = 2 * self.facts
        if self.block_size < asked:
            raise SettingsError(
                f"--block-size {self.block_size} does not hold the questions for --facts {self.facts}, two tokens each; "
                f"use a segment of at least {asked} tokens or fewer facts",
                "block_size",
            )
        if self.gap < self.block_size - asked:
            raise SettingsError(
                f"--gap {self.gap} lets words stand in the segment of {self.block_size} tokens that asks for them; "
                f"use at least {self.block_size - asked}",
                "gap",
            )
