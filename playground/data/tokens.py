"""Text as numbers: a tokenizer of words, numbers and punctuation, and one of characters."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dlplay.engine.errors import DataError

UNKNOWN = "<unk>"
"""Token 0 of every vocabulary: whatever is not in it."""

MAX_VOCABULARY = 65_536


def printable(text: str) -> str:
    """`text` with everything that would steer a terminal, or cannot be encoded, as the replacement character; line ends and tabs stay."""
    return "".join(char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd" for char in text)


class Tokenizer(ABC):
    """A vocabulary and the rules that turn text into its ids and back."""

    kind: ClassVar[str]
    noun: ClassVar[str]
    """What a token is called, in the plural."""
    unknown: int | None = 0
    """The token for what is not in the vocabulary; None when everything is."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Raises `DataError` for a vocabulary that no tokenizer made."""
        words = [str(word) for word in vocabulary]
        if not 2 <= len(words) <= MAX_VOCABULARY or words[0] != UNKNOWN or len(set(words)) != len(words):
            raise DataError(f"a vocabulary must be 2 to {MAX_VOCABULARY:,} different tokens, {UNKNOWN} first; this one is damaged")
        if (bad := next((word for word in words[1:] if not self.is_token(word)), None)) is not None:
            raise DataError(f"the vocabulary holds {bad[:40]!r}, which is no token of kind {self.kind!r}; it is damaged")
        self.vocabulary = words
        self._ids = {word: index for index, word in enumerate(words)}

    @classmethod
    def from_assets(cls, assets: dict[str, Any]) -> Self:
        """What `assets` told of. Raises `DataError` when it is missing or damaged."""
        if not isinstance(assets.get("vocabulary"), list):
            raise DataError("the checkpoint's vocabulary is missing or damaged; use another checkpoint")
        return cls(assets["vocabulary"])

    def assets(self) -> dict[str, Any]:
        """JSON values from which `from_assets` makes the same tokenizer again."""
        return {"tokens": self.kind, "vocabulary": self.vocabulary}

    @property
    def identity(self) -> Sequence[str]:
        """Words that differ whenever the tokenizer does."""
        return self.vocabulary

    @classmethod
    @abstractmethod
    def is_token(cls, word: str) -> bool:
        """Whether `word` is one token as `split` makes them."""

    @classmethod
    @abstractmethod
    def split(cls, text: str) -> Iterator[str]:
        """The tokens of `text`, known or not."""

    @classmethod
    @abstractmethod
    def spans(cls, text: str) -> Iterator[tuple[str, int, int]]:
        """The tokens of `text`, each with where it begins and ends there."""

    @abstractmethod
    def space(self, before: Sequence[int], token: int) -> bool:
        """Whether running text has a space between the tokens `before` and `token`."""

    @abstractmethod
    def label(self, token: int) -> str:
        """The token as it is shown alone: never empty, never a control character."""

    @property
    @abstractmethod
    def start(self) -> int:
        """The token that stands in for an empty prompt."""

    def id(self, word: str) -> int:
        """The id of `word`, 0 when it is unknown."""
        return self._ids.get(word, 0)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; what is not in the vocabulary becomes 0."""
        return [self._ids.get(word, 0) for word in self.split(text)]

    def read(self, text: str) -> tuple[list[int], list[str]]:
        """The ids of `text`, and what stood there for each."""
        words = list(self.split(text))
        return [self.id(word) for word in words], words

    def decode(self, ids: Iterable[int], after: Sequence[int] = (), *, spaced: bool = False) -> str:
        """Running text of `ids`, spaced as it follows the tokens `after`; `spaced` tells that a space stands there already."""
        seen = list(after)
        parts: list[str] = []
        for token in ids:
            gap = self.space(seen, token) and not (spaced and not parts)
            parts.append((" " if gap else "") + self.text(token))
            seen.append(token)
        return "".join(parts)

    def text(self, token: int) -> str:
        """The token as it stands in running text."""
        return self.vocabulary[token]


class Words(Tokenizer):
    """Words (with their apostrophes), numbers, and the punctuation of sentences, brackets and quotes, all in lower case.

    Other signs, such as those of markup and arithmetic, are left out.
    """

    kind = "word"
    noun = "words"
    _token = re.compile(rf"{UNKNOWN}|[^\W\d_]{{1,40}}(?:'[^\W\d_]{{1,40}}){{0,3}}|\d{{1,40}}|[.,;:!?()\[\]\"']")
    _straight = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})

    @classmethod
    def is_token(cls, word: str) -> bool:
        """Whether `word` is one word, number or punctuation mark."""
        return cls._token.fullmatch(word) is not None

    @classmethod
    def split(cls, text: str) -> Iterator[str]:
        """Words, numbers and punctuation in their order."""
        normal = unicodedata.normalize("NFC", text).translate(cls._straight).lower()
        return (match.group() for match in cls._token.finditer(normal))

    @classmethod
    def spans(cls, text: str) -> Iterator[tuple[str, int, int]]:
        """As `split`, each with its place in `text`, whose letters should be composed (NFC)."""
        for match in cls._token.finditer(text.translate(cls._straight)):
            for word in cls.split(match.group()):
                yield word, match.start(), match.end()

    def space(self, before: Sequence[int], token: int) -> bool:
        """A closing mark clings to the word before it, an opening one to the word after; quotes open and close by turns."""
        if not before:
            return False
        last, word = self.vocabulary[before[-1]], self.vocabulary[token]
        if last in "([" or word in ".,;:!?)]":
            return False
        if word in "\"'" and self._quoted(before, word):
            return False
        return not (last in "\"'" and self._quoted(before, last))

    def _quoted(self, before: Sequence[int], mark: str) -> bool:
        """Whether a quote that `mark` opened is still open after the tokens `before`."""
        return list(before).count(self.id(mark)) % 2 == 1

    def label(self, token: int) -> str:
        """The word itself."""
        return self.vocabulary[token]

    @property
    def start(self) -> int:
        """The full stop, after which a sentence starts."""
        return self.id(".")


class Characters(Tokenizer):
    """Every character is a token, as it stands."""

    kind = "char"
    noun = "characters"
    _shown = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}

    @classmethod
    def is_token(cls, word: str) -> bool:
        """Whether `word` is one character."""
        return len(word) == 1

    @classmethod
    def split(cls, text: str) -> Iterator[str]:
        """The characters in their order."""
        return iter(text)

    @classmethod
    def spans(cls, text: str) -> Iterator[tuple[str, int, int]]:
        """The characters, each with its place."""
        return ((char, place, place + 1) for place, char in enumerate(text))

    def space(self, before: Sequence[int], token: int) -> bool:
        """Never: spaces are tokens themselves."""
        return False

    def text(self, token: int) -> str:
        """The character; one that would steer a terminal, and the unknown, as the replacement character."""
        return printable(self.vocabulary[token]) if token else "\ufffd"

    def label(self, token: int) -> str:
        """The character, or a sign for a blank one."""
        word = self.vocabulary[token]
        return self._shown.get(word) or (UNKNOWN if token == 0 else self.text(token))

    @property
    def start(self) -> int:
        """The line end, after which a line starts."""
        return self.id("\n")


TOKENIZERS: dict[str, type[Tokenizer]] = {kind.kind: kind for kind in (Words, Characters)}


def number(words: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Each token as a number, and the tokens by number, in the order in which they first came."""
    numbers: dict[str, int] = {}
    ids = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), dtype=np.int64)
    return ids, list(numbers)


def choose_vocabulary(ids: NDArray[np.int64], words: list[str], *, size: int, min_count: int) -> list[str]:
    """`<unk>` and the most frequent tokens of `ids` that come at least `min_count` times, `size` in all; ties go by the alphabet."""
    counts = np.bincount(ids, minlength=len(words))
    frequent = [index for index in np.flatnonzero(counts >= min_count).tolist() if words[index] != UNKNOWN]
    frequent.sort(key=lambda index: (-int(counts[index]), words[index]))
    return [UNKNOWN, *(words[index] for index in frequent[: size - 1])]
