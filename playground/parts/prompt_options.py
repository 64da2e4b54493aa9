"""Options of the panels about a prompt. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.quantities import TokenOrLast
from dlplay.engine.settings import Options, SettingsError, frozen

MAX_PROMPT = 100_000

Temperature = Annotated[float, Meta(ge=0, le=10)]
TopK = Annotated[int, Meta(ge=0, le=1000, extra={"least": "all"})]
TopP = Annotated[float, Meta(gt=0, le=1)]


@frozen
class Prompt(Options):
    """Options of every panel about a prompt."""

    prompt: str = "the value of"
    """The text that the model reads; if it is longer than a block, its last tokens."""

    def check(self) -> None:
        if len(self.prompt) > MAX_PROMPT:
            raise SettingsError(
                f"the prompt has {len(self.prompt):,} characters; at most {MAX_PROMPT:,} are read, so give its end alone", "prompt"
            )


@frozen
class NextWord(Prompt):
    """Options of the next token's candidates."""

    temperature: Temperature = 1.0
    """Logits are divided by it: below 1 sharpens the distribution, above 1 flattens it; 0 always takes the most likely token."""

    top_k: TopK = 10
    """How many of the most likely candidates are kept; 0 keeps all."""

    top_p: TopP = 1.0
    """Only the most likely candidates that together reach this probability are kept."""


@frozen
class Passage(NextWord):
    """Options of a passage."""

    words: Annotated[int, Meta(ge=1, le=500)] = 40
    """How many tokens are generated after the prompt."""

    sampling_seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """Seed of the passage's own random generator: the same seed gives the same passage."""


@frozen
class TokenOfPrompt(Prompt):
    """Options of a panel about one token of the prompt."""

    token: TokenOrLast = -1
    """Which token of the prompt, counted from 0, or last."""


@frozen
class Answer(Options):
    """Options of a panel about one answer of the model."""

    answer: Annotated[str, Meta(max_length=200)] = ""
    """The word that the model answers with; empty: the most likely one."""


@frozen
class NextAnswer(TokenOfPrompt, Answer):
    """Options of a panel about one token that may come next."""


@frozen
class Patches(Answer):
    """Options of activation patching."""

    corrupt: Annotated[str, Meta(max_length=MAX_PROMPT)] = ""
    """The corrupted input, of as many tokens as the clean one; empty: the clean one with a word replaced."""

    site: Literal["residual", "heads", "feed_forward"] = "residual"
    """What is patched: the residual stream after each layer, each attention head, or each feed-forward layer."""


@frozen
class PatchedPrompt(Prompt, Patches):
    """Options of activation patching between two prompts."""


@frozen
class Neighbours(TokenOfPrompt):
    """Options of the embedding neighbours."""

    word: Annotated[str, Meta(max_length=200)] = ""
    """A word whose neighbours are shown; empty: the chosen token of the prompt."""
