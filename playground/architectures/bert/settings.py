"""Settings of a BERT, and options of its panels. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.quantities import (
    Batch,
    ClipNorm,
    Dropout,
    ExampleIndex,
    HeadIndex,
    Heads,
    LayerIndex,
    Layers,
    LearningRate,
    MinCount,
    Share,
    Steps,
    Warmup,
    WeightDecay,
    Width,
    live,
    unit,
)
from dlplay.engine.settings import Options, SettingsError, frozen, unless
from dlplay.parts.prompt_options import MAX_PROMPT, Patches
from dlplay.parts.transformer_settings import TextSettings, TextSource, TransformerSettings


@frozen
class BERTSettings(TextSettings, TransformerSettings):
    """Settings of a BERT."""

    text: TextSource = "reference"

    tokens: Literal["word", "char", "wordpiece"] = "word"
    """What a token is: a word, number or punctuation mark in lower case; a character as it is; or (wordpiece) a piece of a word, with the
    tokenizer of a model that was opened with --from hf:."""

    data: Annotated[str, Meta(max_length=4096, extra={"path": True})] = ""
    """Texts to classify: a file with a text, a tab and its class on each line. Empty: pretraining on masked words."""

    next_sentence: bool = False
    """Each row holds two segments of text, and the model also predicts whether the second follows the first."""

    layers: Layers = 2
    heads: Heads = 4
    width: Width = 96

    block_size: Annotated[int, Meta(ge=8, le=1024), unit("tokens")] = 32
    """Context length: how many tokens the model sees at once, [CLS] and [SEP] included."""

    dropout: Dropout = 0.1
    vocab_size: Annotated[int, Meta(ge=2, le=65_532)] = 8000

    min_count: MinCount = 3
    """Words that occur less often in the training text are read as <unk>; characters are all kept."""

    mask_share: Annotated[float, Meta(gt=0, lt=1), live] = 0.15
    """Share of the words that are to be predicted, chosen anew at every step."""

    mask_random: Share = 0.1
    """Of the words to be predicted, the share that is replaced by a random word instead of [MASK]."""

    mask_kept: Share = 0.1
    """Of the words to be predicted, the share that is left as it is."""

    short_share: Share = 0.1
    """Share of the rows that are cut to a random shorter length, so that the model also trains on short texts."""

    batch: Annotated[Batch, live, unit("rows")] = 32
    """Rows of text per step, each from a random place."""

    schedule: Literal["linear", "one-cycle"] = "linear"
    """Learning-rate schedule: warm-up and linear decay, or one-cycle (up over the first 30 % of the steps, then down, beta1 lower by 0.1 at
    the peak; the warm-up is not used)."""

    lr: LearningRate = 3e-3
    """Peak learning rate: reached at the end of the warm-up, from where it decays linearly to zero at the last step."""

    warmup: Warmup = 300
    """Steps over which the learning rate rises from zero; a post-norm transformer needs them."""

    weight_decay: WeightDecay = 0.3
    clip: ClipNorm = 1.0

    steps: Steps = 8000
    """Training ends after this many steps; the learning rate decays towards that end."""

    eval_every: Steps = 500
    """Steps between two evaluations on all held-out data."""

    def check(self) -> None:
        super().check()
        if self.mask_random + self.mask_kept > 1:
            raise SettingsError(
                f"--mask-kept {self.mask_kept:g} and --mask-random {self.mask_random:g} add up to more than 1; "
                f"use --mask-kept {1 - self.mask_random:g} at most",
                "mask_kept",
            )

    def no_accumulation(self) -> str:
        return "with next sentences it is the sum of two means, over words and over rows" if self.next_sentence and not self.data else ""

    def unused(self) -> dict[str, str]:
        return (
            super().unused()
            | unless(not self.data, "pretraining, without --data", "mask_share", "mask_random", "mask_kept", "short_share")
            | unless(self.tokens != "char", "--tokens word", "min_count")
            | unless(self.schedule != "one-cycle", "--schedule linear", "warmup")
        )


@frozen
class Sentence(Options):
    """Options of every panel about a sentence."""

    sentence: str = "If the [MASK] is not found, a NameError exception is raised."
    """A sentence with [MASK] in place of each word to be predicted; if it is longer than a block, its first words are read."""

    def check(self) -> None:
        if len(self.sentence) > MAX_PROMPT:
            raise SettingsError(
                f"the sentence has {len(self.sentence):,} characters; at most {MAX_PROMPT:,} are read, so give only its beginning",
                "sentence",
            )


@frozen
class WordOfSentence(Sentence):
    """Options of a panel about one word of the sentence."""

    place: Annotated[int, Meta(ge=-1, le=1023, extra={"least": "first mask", "label": "word"})] = -1
    """Which word of the sentence, counted from 0, or first mask; without a mask that is the first word."""


@frozen
class Fill(WordOfSentence):
    """Options of the candidates for a masked word."""

    top: Annotated[int, Meta(ge=1, le=50)] = 8
    """How many of the most likely words are listed."""


@frozen
class AttentionHead(Sentence):
    """Options of the attention map."""

    layer: LayerIndex = 0
    """Which block, counted from 0; beyond the last one the last is shown."""

    head: HeadIndex = 0
    """Which of its heads, counted from 0; beyond the last one the last is shown."""


@frozen
class Contexts(WordOfSentence):
    """Options of a word in two contexts."""

    other_sentence: Annotated[str, Meta(max_length=MAX_PROMPT)] = "The name of the class is the name that is not in the exception."
    """Another sentence with the same word in it."""

    shared: Annotated[str, Meta(max_length=200)] = ""
    """The word to compare; empty: the one at the chosen place, or else the longest word that is in both sentences."""


@frozen
class PatchedSentence(WordOfSentence, Patches):
    """Options of activation patching between two sentences."""


@frozen
class WordNeighbours(WordOfSentence):
    """Options of the embedding neighbours."""

    word: Annotated[str, Meta(max_length=200)] = ""
    """Whose neighbours; empty: those of the word at the chosen place or, if it is masked, of the most likely word there."""


@frozen
class HeldOutRow(Options):
    """Options of the held-out rows."""

    example: ExampleIndex = 0
    """Which row of the held-out text, counted from 0; beyond the last one the last is shown."""
