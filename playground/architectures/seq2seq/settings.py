"""Settings of a sequence-to-sequence Transformer, and options of its panels. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.quantities import (
    Batch,
    ClipNorm,
    Dropout,
    HeadIndex,
    Heads,
    LabelSmoothing,
    LayerIndex,
    LayerOrLast,
    Layers,
    LearningRate,
    Steps,
    TokenOrLast,
    VocabSize,
    Warmup,
    WeightDecay,
    Width,
    live,
    unit,
)
from dlplay.engine.settings import Options, SettingsError, frozen, unless
from dlplay.parts.prompt_options import Answer, Patches
from dlplay.parts.transformer_settings import TransformerSettings

GENERATED = "made"
"""The value of `data` for pairs that the task generates."""


@frozen
class Seq2SeqSettings(TransformerSettings):
    """Settings of a sequence-to-sequence Transformer."""

    task: Literal["reverse", "copy", "sort", "addition", "dates"] = "reverse"
    """What the generated pairs are: letters reversed, copied or sorted, sums, or dates in words to ISO dates."""

    data: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": [GENERATED], "path": True})] = GENERATED
    """made (the task generates pairs), or a UTF-8 file of at most 64 MiB with your own pairs, SOURCE tab TARGET on each line."""

    tokens: Literal["char", "word"] = "char"
    """What a token is: a character; or, for your own pairs, a word, number or punctuation mark in lower case."""

    length: Annotated[int, Meta(ge=1, le=100), unit("letters")] = 10
    """For reverse, copy and sort: the longest source; all lengths from 1 on are equally frequent."""

    symbols: Annotated[int, Meta(ge=2, le=26), unit("letters")] = 26
    """For reverse, copy and sort: how many different letters there are, starting with a."""

    digits: Annotated[int, Meta(ge=1, le=8)] = 3
    """For addition: digits of the largest number that is added."""

    sum_order: Literal["units-first", "as-written"] = "as-written"
    """For addition: which digit of the sum comes first; units first is easier, because every carry is known when it is needed."""

    vocab_size: VocabSize = 8000
    """For your own pairs: size of the vocabulary at most; the rarest of the other tokens are read as <unk>."""

    layers: Layers = 2
    """Layers of the encoder, and as many of the decoder."""

    heads: Heads = 4
    width: Width = 64

    norm: Literal["post", "pre"] = "pre"
    """Where the layer norms are: post, after each residual addition, as published; pre, before each sublayer and at the end of a stack."""

    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """Position encodings: sines and cosines as published, or a learned vector for each position."""

    dropout: Dropout = 0.0
    """Share of activations that are zeroed at random while training; fresh pairs at every step need none."""

    label_smoothing: LabelSmoothing = 0.0
    """Share of the target's probability that is spread evenly over all tokens while training; 0.1 as published."""

    batch: Annotated[Batch, live, unit("pairs")] = 32
    """Pairs per step."""

    schedule: Literal["cosine", "paper", "one-cycle"] = "cosine"
    """The learning rate: warm-up to lr and cosine decay to a twentieth; the paper's width^-0.5 min(step^-0.5, step warmup^-1.5); or
    one-cycle (up to lr over the first 30 % of the steps, then down, beta1 lower by 0.1 at the peak; the warm-up is not used)."""

    lr: LearningRate = 2e-3
    """For cosine: peak learning rate, at the end of the warm-up. The paper's schedule has none: it follows from width and warm-up."""

    warmup: Warmup = 100
    """Steps over which the learning rate rises from zero; 4000 as published."""

    weight_decay: WeightDecay = 0.0
    """AdamW's weight decay, on matrices and embeddings, not on biases and norms; none as published."""

    clip: ClipNorm = 1.0

    eval_beams: Annotated[int, Meta(ge=1, le=16), live, unit("beams")] = 1
    """Above 1 every evaluation also decodes by beam search with so many beams, and measures beam_exact_match."""

    steps: Steps = 2000
    """Training ends after this many steps; with cosine the learning rate decays towards that end."""

    eval_every: Steps = 200
    """Steps between two evaluations on all held-out pairs."""

    def check(self) -> None:
        super().check()
        if self.tokens == "word" and self.data == GENERATED:
            raise SettingsError(
                f"--tokens word is for your own pairs, but --task {self.task} generates characters; leave it at char, or add --data FILE",
                "tokens",
            )

    def unused(self) -> dict[str, str]:
        made = self.data == GENERATED
        return (
            super().unused()
            | unless(self.task in ("reverse", "copy", "sort"), "--task reverse, copy or sort", "length", "symbols")
            | unless(self.task == "addition", "--task addition", "digits", "sum_order")
            | unless(made, "pairs that are made", "task", "length", "symbols", "digits", "sum_order")
            | unless(not made, "your own pairs, a file as --data", "tokens", "vocab_size")
            | unless(self.schedule != "paper", "--schedule cosine or one-cycle", "lr")
            | unless(self.schedule != "one-cycle", "--schedule cosine or paper", "warmup")
        )


@frozen
class HeadAblation(Options):
    """A head that is ablated while the panel is computed."""

    ablate: Annotated[Literal["none", "encoder", "decoder", "cross"], Meta(extra={"was": {"silence": {}}})] = "none"
    """Ablates the head at layer and head: of the encoder's or the decoder's self-attention, or of the cross-attention."""

    layer: LayerIndex = 0
    """Which layer, counted from 0; beyond the last one the last."""

    head: HeadIndex = 0
    """Which of its heads, counted from 0; beyond the last one the last."""


@frozen
class Source(HeadAblation):
    """Options of every panel about a source and its output."""

    source: Annotated[str, Meta(max_length=8000)] = ""
    """What the encoder reads; empty: the held-out pair number example."""

    output: Annotated[str, Meta(max_length=8000)] = ""
    """What the output must start with; a final <eos> ends it there. Empty: the model generates all of it."""

    words: Annotated[int, Meta(ge=1, le=512), unit("tokens")] = 512
    """Output tokens at most."""

    place: Annotated[TokenOrLast, Meta(extra={"label": "token"})] = -1
    """Which output token is selected, counted from 0, or last."""

    example: Annotated[int, Meta(ge=0, le=999)] = 0
    """Which held-out pair is shown for an empty source, counted from 0."""


@frozen
class AttentionMap(Source):
    """Options of the attention map."""

    attention: Literal["encoder", "decoder", "cross"] = "cross"
    """Which attention at layer and head: the encoder's or the decoder's self-attention, or the cross-attention."""


@frozen
class Alignment(Source):
    """Options of the alignment."""

    aligned_layer: LayerOrLast = -1
    """Which layer's cross-attention, counted from 0, or last."""

    aligned_head: Annotated[int, Meta(ge=-1, le=63, extra={"least": "mean"})] = -1
    """Which of its heads, counted from 0, or the mean of all."""


@frozen
class AttributedToken(Source, Answer):
    """Options of the logit attribution."""


@frozen
class PatchedSource(Source, Patches):
    """Options of activation patching between two sources."""


@frozen
class Beam(Source):
    """Options of the beam search."""

    beams: Annotated[int, Meta(ge=1, le=32), unit("beams")] = 5
    """Hypotheses that are kept at every step."""

    alpha: Annotated[float, Meta(ge=0, le=2)] = 0.6
    """Exponent of the length penalty ((5 + length) / 6)^alpha; 0 ranks by the log-probability alone, which favours short outputs."""


@frozen
class HeldOut(HeadAblation):
    """Options of the held-out pairs."""

    pairs: Annotated[int, Meta(ge=1, le=1000)] = 200
    """How many held-out pairs are decoded."""


@frozen
class AllHeads(Options):
    """Options of the ablation of all heads."""

    tested: Annotated[int, Meta(ge=1, le=256), unit("pairs")] = 64
    """How many held-out pairs are decoded for each head."""
