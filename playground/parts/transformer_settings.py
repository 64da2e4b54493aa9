"""Settings that transformers and language models share; each gives them defaults of its own. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.quantities import (
    Batch,
    BlockSize,
    ClipNorm,
    Dropout,
    Heads,
    Layers,
    LearningRate,
    MinCount,
    VocabSize,
    Warmup,
    WeightDecay,
    Width,
    unit,
)
from dlplay.engine.settings import Settings, SettingsError, frozen

TextSource = Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": ["reference", "repeats"], "path": True})]


@frozen
class TextSettings(Settings):
    """A text, and the vocabulary that is made from it."""

    text: TextSource = "reference"
    """Text to learn from: reference (the language reference inside Python), repeats (random sentences that come again), or a UTF-8 text
    file of at most 64 MiB."""

    vocab_size: VocabSize = 8000
    """Size of the vocabulary at most; the rarest of the other words or characters are read as <unk>."""

    min_count: MinCount = 3
    """Words that occur less often in the training text are read as <unk>, and pairs (bpe) are not merged; characters are all kept."""


@frozen
class StreamSettings(TextSettings):
    """A text that is read in contiguous streams, for architectures that have other tasks besides."""

    text: TextSource = "reference"
    """For text: reference (the language reference inside Python), repeats (random sentences that come again), or a UTF-8 text file of
    at most 64 MiB."""

    tokens: Literal["char", "word", "bpe"] = "word"
    """For text: a token is a character as it is; a word, number or punctuation mark in lower case; or (bpe) a piece of a word, from byte
    pairs that are learned from the text."""

    vocab_size: VocabSize = 8000
    """For text: size of the vocabulary at most; the rarest of the other words or characters are read as <unk>."""

    min_count: MinCount = 3
    """For text: words that occur less often in the training text are read as <unk>, and pairs (bpe) are not merged; characters are all
    kept."""

    block_size: BlockSize = 32
    """Tokens in a chunk: as far back as gradients flow."""

    batch: Annotated[Batch, unit("streams")] = 32
    """Streams that are read side by side, or sequences per step."""


@frozen
class TransformerSettings(Settings):
    """Size of a transformer, and how it is optimised."""

    layers: Layers = 2
    """Blocks of attention and feed-forward, one after the other."""

    heads: Heads = 4
    """Attention heads in each block; the width must be divisible by them."""

    width: Width = 96
    """Size of the vector that represents each token, in every layer (d_model)."""

    dropout: Dropout = 0.0
    """Share of activations that are zeroed at random while training; more of it counters overfitting."""

    lr: LearningRate = 3e-3
    """Peak learning rate: reached at the end of the warm-up, from where it decays along a cosine to a tenth at the last step."""

    warmup: Warmup = 100
    """Steps over which the learning rate rises from zero."""

    weight_decay: WeightDecay = 0.01
    """AdamW's weight decay, on matrices and embeddings, not on biases and norms; a text that is read many times needs much."""

    clip: ClipNorm = 1.0
    """Gradients are scaled down to this norm; 0 turns clipping off."""

    def check(self) -> None:
        super().check()
        check_heads(self.width, self.heads)


def tokens_a_step(accumulate: int, batch: int, block: int) -> str:
    """How many tokens make an update, in words: `4 x 16 x 64 = 4,096 a step`."""
    factors = [accumulate, batch, block] if accumulate > 1 else [batch, block]
    return f"{' x '.join(map(str, factors))} = {math.prod(factors):,} a step"


def check_heads(width: int, heads: int) -> None:
    """Attention heads share the width evenly. Raises `SettingsError`."""
    if width % heads:
        near = max(fewer for fewer in range(1, heads + 1) if width % fewer == 0)
        raise SettingsError(f"--width {width} does not divide by --heads {heads}; use {near} heads or another width", "heads")
