"""What the questions about a BERT can be put with. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from msgspec import Meta

from dlplay.engine.settings import Options, SettingsError
from dlplay.parts.prompt_options import MAX_PROMPT

MASK = "[MASK]"
"""As it is typed for a word that is to be found."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence(Options):
    """Options of every question about a sentence."""

    sentence: str = "If the [MASK] is not found, a NameError exception is raised."
    """A sentence with [MASK] for each word that is to be found; of a longer one than a block the first words count."""

    def check(self) -> None:
        """A pasted book is refused in words."""
        if len(self.sentence) > MAX_PROMPT:
            raise SettingsError(
                f"the sentence has {len(self.sentence):,} characters; at most {MAX_PROMPT:,} are read, so give its beginning alone",
                "sentence",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place(Sentence):
    """Options of a question about one word of the sentence."""

    place: Annotated[int, Meta(ge=-1, le=1023)] = -1
    """Which word of the sentence, counted from 0; -1 is the first [MASK], or else the first word."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fill(Place):
    """Options of what may stand at a place."""

    top: Annotated[int, Meta(ge=1, le=50)] = 8
    """How many of the likeliest words are listed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionHead(Sentence):
    """Options of the attention map."""

    layer: Annotated[int, Meta(ge=0, le=47)] = 0
    """Which block, counted from 0; beyond the last one the last is shown."""

    head: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which head of it, counted from 0; beyond the last one the last is shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contexts(Place):
    """Options of a word in two contexts."""

    other_sentence: Annotated[str, Meta(max_length=MAX_PROMPT)] = "The name of the class is the name that is not in the exception."
    """Another sentence with the same word in it."""

    shared: Annotated[str, Meta(max_length=200)] = ""
    """The word that is looked at in both; empty: the one at the chosen place, or else the longest word that both have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordNeighbours(Place):
    """Options of the embedding neighbours."""

    word: Annotated[str, Meta(max_length=200)] = ""
    """Whose neighbours; empty: those of the word at the chosen place, or of the likeliest one where it is masked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example(Options):
    """Options of the held-out rows."""

    example: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Which row of the held-out text, counted from 0; beyond the last one the last is shown."""
