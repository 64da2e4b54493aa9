"""What the questions about a Transformer-XL can be put with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.architectures.transformer_xl.settings import MAX_MEMORY
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts.prompt_options import MAX_PROMPT, Neighbours, NextWord, Passage, Prompt, TokenOfPrompt

READ = "cat red paris plum gold tea ................................"
"""What was read before, for a recall model that nobody has told anything yet."""

ASKED = "animal cat city"
"""And what it is asked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Before(Prompt):
    """A prompt, and what was read before it."""

    prompt: str = ASKED
    """What the model reads now, such as a kind of word (city) for recall; of more than a segment the first part goes to the memory."""

    read_before: str = READ
    """What it read before that, segment by segment, of which only the memory is left."""

    memory_length: Annotated[int, Meta(ge=-1, le=MAX_MEMORY, extra={"least": "as set"})] = -1
    """Tokens that the memory holds; 0 empties it, -1 is the length with which the model is evaluated."""

    def check(self) -> None:
        """A pasted book is refused in words."""
        super().check()
        if len(self.read_before) > MAX_PROMPT:
            raise SettingsError(
                f"what was read before has {len(self.read_before):,} characters; at most {MAX_PROMPT:,} are read, so give its end alone",
                "read_before",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextToken(Before, NextWord):
    """Options of the next token's candidates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continued(Before, Passage):
    """Options of a passage."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRead(Before, TokenOfPrompt):
    """Options of a question about one token of the prompt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head(Options):
    """One attention head."""

    layer: Annotated[int, Meta(ge=-1, le=47, extra={"least": "last"})] = -1
    """Which block, counted from 0; -1, or beyond the last one, is the last."""

    head: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which head of it, counted from 0; beyond the last one the last is shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention(Before, Head):
    """Options of the attention map."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryUsed(TokenRead):
    """Options of what is used of the memory."""

    of: Literal["all heads", "one head"] = "all heads"
    """Whose attention: the strongest that any head of any layer pays, or that of one head."""

    layer: Annotated[int, Meta(ge=-1, le=47, extra={"least": "last"})] = -1
    """For one head: which block, counted from 0; -1, or beyond the last one, is the last."""

    head: Annotated[int, Meta(ge=0, le=63)] = 0
    """For one head: which one of that block, counted from 0; beyond the last one the last is shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Similar(Before, Neighbours):
    """Options of the embedding neighbours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed(Options):
    """Options of the speed of evaluation."""

    measurement: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Any number but 0 measures, another one again; the same one shows what was measured then."""
