"""What a recurrent net can be told. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.data.bounded import clean
from dlplay.engine.settings import Settings, SettingsError

SINES = "sines"
"""Names the series that is always there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentSettings(Settings):
    """What a recurrent net can be told."""

    task: Literal["text", "adding", "copy", "series"] = "text"
    """What it learns: the next token of a text, the sum of two marked numbers, recalling symbols after a gap, or a series of numbers."""

    cell: Literal["rnn-tanh", "rnn-relu", "gru", "lstm"] = "lstm"
    """How it remembers: a plain unit overwrites all it knows at every step; a GRU and an LSTM have gates that keep, replace and tell."""

    text: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": ["reference"], "path": True})] = "reference"
    """For text: reference (the language reference inside Python), or a UTF-8 text file of at most 64 MiB."""

    tokens: Literal["char", "word"] = "char"
    """For text: what it reads at a time: a character as it stands, or a word, number or punctuation mark in lower case."""

    vocab_size: Annotated[int, Meta(ge=2, le=65_536)] = 8000
    """For text: at most this many different tokens are known; the rarest of the rest are read as <unk>."""

    min_count: Annotated[int, Meta(ge=1, le=10_000)] = 3
    """For text: a word that comes less often in the training text is read as <unk>; characters are all kept."""

    predict: Literal["every", "last"] = "every"
    """For text: the token after every place of a stream that is read on and on, or only the one after a window read from nothing."""

    length: Annotated[int, Meta(ge=2, le=1000, extra={"unit": "steps"})] = 50
    """For adding: numbers in a sequence. For copy: steps between the last symbol and the first that is to be recalled."""

    data: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": [SINES], "path": True})] = SINES
    """For series: sines (a mixture of three, with noise), or a CSV file of at most 64 MiB."""

    column: Annotated[str, Meta(max_length=200)] = ""
    """For series: name or number (from 1) of the CSV file's column; empty takes the first of numbers that do not only count up."""

    horizon: Annotated[int, Meta(ge=1, le=500, extra={"unit": "steps"})] = 25
    """For series: how far ahead it is tested to forecast, living on its own predictions."""

    layers: Annotated[int, Meta(ge=1, le=8)] = 1
    """Recurrent layers, each reading the hidden states of the one below."""

    width: Annotated[int, Meta(ge=2, le=2048)] = 192
    """Units in each layer: the length of all that it can carry on from one step to the next."""

    embedding: Annotated[int, Meta(ge=1, le=2048)] = 64
    """For text and copy: length of the vector that stands for a token."""

    head: Annotated[int, Meta(ge=0, le=4096)] = 0
    """Width of a relu layer between the last hidden state and the output; 0 puts none there."""

    bidirectional: bool = False
    """For adding and copy: a second set of units reads from the end; who predicts what comes next must not look there."""

    forget_bias: Annotated[float, Meta(ge=-10, le=10)] = 1.0
    """For an LSTM: where the forget gates' biases begin; 1 makes it remember at first, until it learns what to forget."""

    dropout: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.2
    """Share of values switched off at random while training, after each layer and never through time."""

    block_size: Annotated[int, Meta(ge=2, le=1024, extra={"unit": "steps"})] = 64
    """For text and series: steps through which errors are followed back; the state itself is carried on beyond them."""

    batch: Annotated[int, Meta(ge=1, le=4096, extra={"unit": "streams"})] = 32
    """Streams read side by side, or sequences in each step."""

    lr: Annotated[float, Meta(gt=0, le=1, extra={"live": True})] = 4e-3
    """Step size at its highest: after the warm-up, from where it falls along a cosine to a twentieth at the last step."""

    warmup: Annotated[int, Meta(ge=0, le=1_000_000, extra={"unit": "steps", "live": True})] = 100
    """Steps over which the step size rises from nothing."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.01
    """How strongly AdamW pulls the matrices (not biases) to zero, times the step size."""

    clip: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 1.0
    """The gradient's norm is cut down to this, since it can explode through time; 0 leaves it alone."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 2500
    """Training ends after this many steps; the step size falls towards that end."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 250
    """Steps between two evaluations on held-out data."""

    def check(self) -> None:
        """Whoever predicts the future may not read it; and a file that nobody would read is not passed over in silence."""
        super().check()
        if self.data != SINES and self.task != "series":
            raise SettingsError(
                f"--data {clean(self.data)} is a series of numbers, which --task {self.task} does not read; add --task series, "
                f"or leave it at {SINES}" + ("; a text is given with --text" if self.task == "text" else ""),
                "data",
            )
        if self.bidirectional and self.task in ("text", "series"):
            raise SettingsError(
                f"--bidirectional reads from the end, where the answer to --task {self.task} stands; "
                "leave it out, or use --task adding or copy",
                "bidirectional",
            )
