"""Settings of a GPT, and options of its panels. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.quantities import (
    Batch,
    BlockSize,
    Dropout,
    HeadIndex,
    Heads,
    LayerIndex,
    Layers,
    LearningRate,
    MinCount,
    Steps,
    VocabSize,
    Warmup,
    WeightDecay,
    Width,
    live,
    unit,
)
from dlplay.engine.settings import frozen, unless
from dlplay.parts.prompt_options import Prompt
from dlplay.parts.transformer_settings import TextSettings, TextSource, TransformerSettings


@frozen
class GPTSettings(TextSettings, TransformerSettings):
    """Settings of a GPT."""

    text: TextSource = "reference"

    tokens: Literal["word", "char", "bpe"] = "word"
    """What a token is: a word, number or punctuation mark in lower case; a character as it is; or (bpe) a piece of a word, from byte pairs
    that are learned from the text, or those of a model that was opened with --from hf:."""

    layers: Layers = 3
    heads: Heads = 4
    width: Width = 96

    feed_forward: bool = True
    """A feed-forward network after the attention of each block; without it the model is attention-only, as in the first studies of
    circuits (Elhage et al., 2021)."""

    init_std: Annotated[float, Meta(gt=0, le=1)] = 0.02
    """Standard deviation of the weights before training (GPT-2's initializer_range). GPT-2's .02 is for widths of 768 and more; with it a
    narrow model attends evenly for longer."""

    block_size: BlockSize = 64
    """Context length: how many tokens the model sees at once."""

    dropout: Dropout = 0.25
    vocab_size: VocabSize = 8000
    min_count: MinCount = 3

    batch: Annotated[Batch, live, unit("windows")] = 16
    """Windows of text per step, each of a block's length from a random place."""

    schedule: Literal["cosine", "one-cycle"] = "cosine"
    """Learning-rate schedule: warm-up and cosine decay, or one-cycle (up over the first 30 % of the steps, then down, beta1 lower by 0.1 at
    the peak; the warm-up is not used)."""

    lr: LearningRate = 3e-3
    warmup: Warmup = 100
    weight_decay: WeightDecay = 1.0

    lora: Annotated[int, Meta(ge=0, le=256, extra={"least": "off"})] = 0
    """Rank of the matrices that are trained beside the frozen ones of a model that was opened with --from (LoRA); 0: all weights train."""

    steps: Steps = 4000
    """Training ends after this many steps; the learning rate decays towards that end."""

    eval_every: Steps = 100
    """Steps between two evaluations on the whole held-out text."""

    def unused(self) -> dict[str, str]:
        return (
            super().unused()
            | unless(self.tokens != "char", "--tokens word or bpe", "min_count")
            | unless(self.schedule != "one-cycle", "--schedule cosine", "warmup")
        )


@frozen
class AttentionHead(Prompt):
    """Options of the attention map."""

    layer: LayerIndex = 0
    """Which block, counted from 0; beyond the last one the last is shown."""

    head: HeadIndex = 0
    """Which of its heads, counted from 0; beyond the last one the last is shown."""
