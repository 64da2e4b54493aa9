"""What a question about a prompt can be put with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from msgspec import Meta

from dlplay.engine.settings import Options, SettingsError

MAX_PROMPT = 100_000

Temperature = Annotated[float, Meta(ge=0, le=10)]
TopK = Annotated[int, Meta(ge=0, le=1000)]
TopP = Annotated[float, Meta(gt=0, le=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt(Options):
    """Options of every question about a prompt."""

    prompt: str = "the value of"
    """The text that the model reads; of a longer one than a block the last tokens count."""

    def check(self) -> None:
        """A pasted book is refused in words."""
        if len(self.prompt) > MAX_PROMPT:
            raise SettingsError(
                f"the prompt has {len(self.prompt):,} characters; at most {MAX_PROMPT:,} are read, so give its end alone", "prompt"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextWord(Prompt):
    """Options of the next word's candidates."""

    temperature: Temperature = 1.0
    """Logits are divided by it: below 1 the likely gets likelier, above 1 all become alike; 0 leaves the likeliest alone."""

    top_k: TopK = 10
    """How many of the likeliest candidates are kept; 0 keeps all."""

    top_p: TopP = 1.0
    """Only the likeliest candidates that together reach this probability are kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passage(NextWord):
    """Options of a passage."""

    words: Annotated[int, Meta(ge=1, le=500)] = 40
    """How many tokens are written after the prompt."""

    sampling_seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """Start of the passage's own random numbers: the same seed writes the same passage, another one branches off."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenOfPrompt(Prompt):
    """Options of a question about one token of the prompt."""

    token: Annotated[int, Meta(ge=-1, le=1023, extra={"least": "last"})] = -1
    """Which token of the prompt, counted from 0; -1 is the last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours(TokenOfPrompt):
    """Options of the embedding neighbours."""

    word: Annotated[str, Meta(max_length=200)] = ""
    """Whose neighbours; empty: those of the chosen token of the prompt."""
