"""Settings of a Transformer-XL, and options of its panels. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.bounded import clean
from dlplay.engine.quantities import (
    Batch,
    BlockSize,
    Dropout,
    HeadIndex,
    Heads,
    LayerOrLast,
    Layers,
    LearningRate,
    Measurement,
    MinCount,
    Steps,
    VocabSize,
    Warmup,
    WeightDecay,
    Width,
    unit,
)
from dlplay.engine.settings import Options, SettingsError, frozen, unless
from dlplay.parts import prompt_options
from dlplay.parts.prompt_options import MAX_PROMPT, NextAnswer, NextWord, Patches, Prompt, TokenOfPrompt
from dlplay.parts.transformer_settings import StreamSettings, TextSource, TransformerSettings

MemoryLength = Annotated[int, Meta(ge=0, le=4096, extra={"unit": "tokens", "least": "none"})]

READ = "cat red paris plum gold tea ................................"
"""The default text before the prompt, for a model trained on recall."""

QUESTION = "animal cat city"
"""The default prompt, for the same."""


@frozen
class TransformerXLSettings(StreamSettings, TransformerSettings):
    """Settings of a Transformer-XL."""

    task: Literal["recall", "text"] = "recall"
    """What it learns: to recall words from some segments ago when their kind is named, or the next token of a text."""

    facts: Annotated[int, Meta(ge=1, le=8)] = 6
    """For recall: words of different kinds in a sequence; each is asked for once at its end."""

    gap: Annotated[int, Meta(ge=0, le=2048), unit("tokens")] = 46
    """For recall: dots between the last word and the first question, enough that no word is in the segment of the questions."""

    text: TextSource = "reference"
    tokens: Literal["word", "char", "bpe"] = "word"
    vocab_size: VocabSize = 8000
    min_count: MinCount = 3

    block_size: BlockSize = 16
    """Segment length: tokens that are read at once, and as far back as gradients flow."""

    memory: MemoryLength = 48
    """Memory length in training: tokens before a segment whose layer inputs it attends to; 0 trains without a memory."""

    eval_memory: MemoryLength = 48
    """Memory length in evaluation; it may be longer than in training."""

    layers: Layers = 2
    """Blocks of attention and feed-forward; each reaches one memory further back than the one before."""

    heads: Heads = 2
    width: Width = 64
    dropout: Dropout = 0.0
    batch: Annotated[Batch, unit("streams")] = 32
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    """Learning-rate schedule: warm-up and cosine decay, or one-cycle (up over the first 30 % of the steps, then down, beta1 lower by 0.1 at
    the peak; the warm-up is not used)."""

    lr: LearningRate = 3e-3
    warmup: Warmup = 100
    weight_decay: WeightDecay = 0.01

    steps: Steps = 500
    """Training ends after this many steps; the learning rate decays towards that end."""

    eval_every: Steps = 50

    def check(self) -> None:
        """Recall reads no text, and its words must be in another segment than its questions."""
        super().check()
        if self.task != "recall":
            return
        if self.text != "reference":
            raise SettingsError(
                f"--text {clean(self.text, 300)} is a text, which --task recall does not read; add --task text, or leave it at reference",
                "text",
            )
        questions = 2 * self.facts
        if self.block_size < questions:
            raise SettingsError(
                f"--block-size {self.block_size} does not hold the questions for --facts {self.facts}, two tokens each; "
                f"use a segment of at least {questions} tokens or fewer facts",
                "block_size",
            )
        if self.gap < self.block_size - questions:
            raise SettingsError(
                f"--gap {self.gap} leaves words in the segment of {self.block_size} tokens that asks for them; "
                f"use at least {self.block_size - questions}",
                "gap",
            )

    def no_graph(self) -> str:
        return "each step reads on where the last one ended" if self.task == "text" else super().no_graph()

    def unused(self) -> dict[str, str]:
        return (
            super().unused()
            | unless(self.tokens != "char", "--tokens word or bpe", "min_count")
            | unless(self.task == "text", "--task text", "text", "tokens", "vocab_size", "min_count")
            | unless(self.task == "recall", "--task recall", "facts", "gap")
            | unless(self.schedule != "one-cycle", "--schedule cosine", "warmup")
        )


@frozen
class PromptWithMemory(Prompt):
    """A prompt, and what was read before it."""

    prompt: str = QUESTION
    """What the model reads now, for recall a kind of word such as city; of a prompt longer than a segment the start goes to the memory."""

    read_before: str = READ
    """What the model read before, segment by segment; only the memory of it is left."""

    memory_length: Annotated[int, Meta(ge=-1, le=4096, extra={"least": "as set"})] = -1
    """Tokens in the memory; 0: no memory. As set: the memory length in evaluation."""

    def check(self) -> None:
        super().check()
        if len(self.read_before) > MAX_PROMPT:
            raise SettingsError(
                f"the text before the prompt has {len(self.read_before):,} characters; at most {MAX_PROMPT:,} are read, so give its end",
                "read_before",
            )


@frozen
class NextToken(PromptWithMemory, NextWord):
    """Options of the next token's candidates."""


@frozen
class Passage(PromptWithMemory, prompt_options.Passage):
    """Options of a passage."""


@frozen
class PromptToken(PromptWithMemory, TokenOfPrompt):
    """Options of a question about one token of the prompt."""


@frozen
class Attribution(PromptToken, NextAnswer):
    """Options of the logit attribution."""


@frozen
class PatchedText(PromptWithMemory, Patches):
    """Options of activation patching between two texts, what was read before and the prompt together."""


@frozen
class AttentionHead(Options):
    """One attention head."""

    layer: LayerOrLast = -1
    """Which block, counted from 0, or last."""

    head: HeadIndex = 0
    """Which of its heads, counted from 0; beyond the last one the last is shown."""


@frozen
class AttentionMap(PromptWithMemory, AttentionHead):
    """Options of the attention map."""


@frozen
class MemoryAttention(PromptToken):
    """Options of the attention to memory."""

    of: Annotated[Literal["all heads", "one head"], Meta(extra={"label": "attention of"})] = "all heads"
    """Whose attention: the largest weight of any head of any layer, or that of one head."""

    layer: LayerOrLast = -1
    """For one head: which block, counted from 0, or last."""

    head: HeadIndex = 0
    """For one head: which one of that block, counted from 0; beyond the last one the last is shown."""


@frozen
class Neighbours(PromptWithMemory, prompt_options.Neighbours):
    """Options of the embedding neighbours."""


@frozen
class Speed(Options):
    """Options of the speed of evaluation."""

    measurement: Measurement = 0
    """Another number than 0 measures, and a further one measures again; a number that was measured shows the same result."""
