"""Settings of a recurrent net, and options of its panels. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.bounded import clean
from dlplay.engine.quantities import (
    Batch,
    BlockSize,
    ClipNorm,
    Dropout,
    ExampleIndex,
    LayerIndex,
    Layers,
    LearningRate,
    Measurement,
    MinCount,
    Steps,
    TokenOrLast,
    VocabSize,
    Warmup,
    WeightDecay,
    unit,
)
from dlplay.engine.settings import Options, SettingsError, frozen, unless
from dlplay.parts import prompt_options
from dlplay.parts.prompt_options import NextWord, Prompt
from dlplay.parts.transformer_settings import StreamSettings, TextSource

SINES = "sines"
"""Name of the series that is always there."""


@frozen
class RecurrentSettings(StreamSettings):
    """Settings of a recurrent net."""

    task: Literal["text", "adding", "copy", "series"] = "text"
    """What it learns: the next token of a text, the sum of two marked numbers, copying symbols after a gap, or a series of numbers."""

    cell: Literal["rnn-tanh", "rnn-relu", "gru", "lstm"] = "lstm"
    """A plain cell replaces its whole state at every step; a GRU and an LSTM have gates that decide what is kept, added and read."""

    text: TextSource = "reference"
    tokens: Literal["char", "word"] = "char"
    """For text: a token is a character as it is, or a word, number or punctuation mark in lower case."""

    vocab_size: VocabSize = 8000

    min_count: MinCount = 3
    """For text: words that occur less often in the training text are read as <unk>; characters are all kept."""

    predict: Literal["every", "last"] = "every"
    """For text: predict the token after every step of a stream, or only the one after each window, read from a zero state."""

    length: Annotated[int, Meta(ge=2, le=1000), unit("steps")] = 50
    """For adding: numbers in a sequence. For copy: steps between the last symbol and the first that is to be recalled."""

    data: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": [SINES], "path": True})] = SINES
    """For series: sines (a mixture of three, with noise), or a CSV file of at most 64 MiB."""

    column: Annotated[str, Meta(max_length=200)] = ""
    """For series: name or number (from 1) of the CSV file's column; empty takes the first column of numbers that is not a counter."""

    horizon: Annotated[int, Meta(ge=1, le=500), unit("steps")] = 25
    """For series: length of the forecasts that are tested; each feeds on its own predictions."""

    layers: Layers = 1
    """Recurrent layers; each reads the hidden states of the one below."""

    width: Annotated[int, Meta(ge=2, le=2048)] = 192
    """Units in each layer: the size of the hidden state."""

    embedding: Annotated[int, Meta(ge=1, le=2048)] = 64
    """For text and copy: size of the vector that represents each token."""

    head: Annotated[int, Meta(ge=0, le=4096, extra={"least": "none", "label": "relu layer"})] = 0
    """Width of a relu layer between the last hidden state and the output, or none (0)."""

    bidirectional: bool = False
    """For adding and copy: a second set of units reads from the end; a model that predicts what comes next must not."""

    forget_bias: Annotated[float, Meta(ge=-10, le=10)] = 1.0
    """For an LSTM: initial bias of the forget gates; at 1 it remembers at first, and learns what to forget."""

    dropout: Dropout = 0.2
    """Share of activations that are zeroed at random while training, after each layer; none between time steps."""

    block_size: Annotated[BlockSize, unit("steps")] = 64
    """For text and series: steps through which gradients flow back; the state itself is carried on."""

    batch: Annotated[Batch, unit("streams")] = 32

    schedule: Literal["cosine", "one-cycle"] = "cosine"
    """Learning-rate schedule: warm-up and cosine decay, or one-cycle (up over the first 30 % of the steps, then down, beta1 lower by 0.1 at
    the peak; the warm-up is not used)."""

    lr: LearningRate = 4e-3
    """Peak learning rate: reached at the end of the warm-up, from where it decays along a cosine to a twentieth at the last step."""

    warmup: Warmup = 100
    """Steps over which the learning rate rises from zero."""

    weight_decay: WeightDecay = 0.01
    """AdamW's weight decay, on matrices and embeddings, not on biases."""

    clip: ClipNorm = 1.0
    """Gradients are scaled down to this norm, since they can explode over time; 0 turns clipping off."""

    steps: Steps = 2500
    """Training ends after this many steps; the learning rate decays towards that end."""

    eval_every: Steps = 250

    def check(self) -> None:
        """A series needs `task` series, and what is predicted must not be read."""
        super().check()
        if self.data != SINES and self.task != "series":
            raise SettingsError(
                f"--data {clean(self.data)} is a series of numbers, which --task {self.task} does not read; add --task series, "
                f"or leave it at {SINES}" + ("; use --text for a text" if self.task == "text" else ""),
                "data",
            )
        if self.bidirectional and self.task in ("text", "series"):
            raise SettingsError(
                f"--bidirectional would read what --task {self.task} is to predict; leave it out, or use --task adding or copy",
                "bidirectional",
            )

    def no_compilation(self) -> str:
        return "PyTorch leaves its fused recurrent layers as they are"

    def no_graph(self) -> str:
        if self.task == "series":
            return "each step reads on where the last one ended"
        if self.task == "text" and self.predict == "every":
            return "each step reads on where the last one ended; --predict last does not"
        return super().no_graph()

    def unused(self) -> dict[str, str]:
        return (
            super().unused()
            | unless(self.tokens == "word", "--tokens word", "min_count")
            | unless(self.task == "text", "--task text", "text", "tokens", "vocab_size", "min_count", "predict")
            | unless(self.task in ("adding", "copy"), "--task adding or copy", "length", "bidirectional")
            | unless(self.task in ("text", "copy"), "--task text or copy", "embedding")
            | unless(self.task in ("text", "series"), "--task text or series", "block_size")
            | unless(self.data != SINES, "a CSV file as --data", "column")
            | unless(self.task == "series", "--task series", "data", "column", "horizon")
            | unless(self.cell == "lstm", "--cell lstm", "forget_bias")
            | unless(self.schedule != "one-cycle", "--schedule cosine", "warmup")
        )


@frozen
class Unit(Options):
    """One unit, and whether it is ablated or clamped."""

    layer: LayerIndex = 0
    """Which recurrent layer, counted from 0; beyond the last one the last is meant."""

    unit: Annotated[int, Meta(ge=0, le=2047)] = 0
    """Which unit of that layer, counted from 0; beyond the last one the last is meant."""

    intervention: Annotated[
        Literal["none", "ablate", "clamp"], Meta(extra={"was": {"hold": {"free": "none", "silent": "ablate", "clamped": "clamp"}}})
    ] = "none"
    """What is done to that unit in all that is shown: nothing, ablate it (its hidden value is 0), or clamp it at clamp-at."""

    clamp_at: Annotated[float, Meta(ge=-1, le=1, extra={"was": {"hold_at": {}}})] = 1.0
    """The value at which the unit is clamped."""


@frozen
class NextToken(NextWord, Unit):
    """Options of the next token's candidates."""


@frozen
class Passage(prompt_options.Passage, Unit):
    """Options of a passage."""

    words: Annotated[int, Meta(ge=1, le=500, extra={"label": "tokens"})] = 200


@frozen
class PromptToken(Prompt, Unit):
    """Options of the prompt, step by step."""

    token: TokenOrLast = -1
    """Which token of the prompt, counted from 0, or last."""


@frozen
class Piece(Options):
    """What is read."""

    read: Literal["held-out", "prompt"] = "held-out"
    """What the model reads: a piece of the held-out data, or the prompt."""

    example: ExampleIndex = 0
    """Which piece of the held-out data, counted from 0; after the last comes the first again."""


@frozen
class Gates(Piece, Prompt, Unit):
    """Options of one unit's gates through time."""


@frozen
class Part(Options):
    """A part of a cell."""

    part: Literal["hidden", "cell", "input gate", "forget gate", "output gate", "candidate", "update", "reset"] = "hidden"
    """What is shown of each unit; a cell that does not have it shows its hidden state."""


@frozen
class Activations(Piece, Part, Prompt, Unit):
    """Options of the activations through time."""


@frozen
class GradientFlow(Options):
    """Options of the gradient through time."""

    back: Annotated[int, Meta(ge=10, le=200), unit("steps")] = 60
    """How many steps back the gradient is followed."""

    example: ExampleIndex = 0
    """Which pieces of the held-out data, counted from 0."""


@frozen
class Cost(Options):
    """Options of the cost against length."""

    measurement: Measurement = 0
    """Another number than 0 measures, and a further one measures again; a number that was measured shows the same result."""


@frozen
class Forecast(Unit):
    """Options of the forecast."""

    example: ExampleIndex = 0
    """Where in the held-out series the forecast starts, counted from 0; after the last place comes the first again."""

    ahead: Annotated[int, Meta(ge=1, le=500), unit("steps")] = 50
    """Length of the forecast; beyond the end of the series it stands alone."""
