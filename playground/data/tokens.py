"""Tokenizers: one of words, numbers and punctuation, and one of characters."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dlplay.engine.errors import DataError

UNKNOWN = "<unk>"
"""Token 0 of every vocabulary: anything that is not in it."""

MAX_VOCABULARY = 65_536

FIRST_MARK = "\u0300"
"""There are no combining marks before it."""
JOINERS = "\u200c\u200d"
"""The zero-width non-joiner and joiner, which belong to the spelling of Persian, Hindi and other languages."""


def printable(text: str) -> str:
    """`text` with control and format characters and surrogates replaced by U+FFFD, except line ends, tabs and joiners."""
    return "".join(char if char in "\n\t" + JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd" for char in text)


class Tokenizer(ABC):
    """A vocabulary, and how text becomes ids and ids become text."""

    kind: ClassVar[str]
    noun: ClassVar[str]
    """What tokens are called, in the plural."""
    unknown: int | None = 0
    """The token for anything not in the vocabulary; None when there is no such thing."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Raises `DataError` for an invalid vocabulary."""
        words = [str(word) for word in vocabulary]
        if not 2 <= len(words) <= MAX_VOCABULARY or words[0] != UNKNOWN or len(set(words)) != len(words):
            raise DataError(f"a vocabulary must be 2 to {MAX_VOCABULARY:,} different tokens, {UNKNOWN} first; this one is damaged")
        if (bad := next((word for word in words[1:] if not self.is_token(word)), None)) is not None:
            raise DataError(f"the vocabulary holds {bad[:40]!r}, which is not a token of kind {self.kind!r}; it is damaged")
        self.vocabulary = words
        self._ids = {word: index for index, word in enumerate(words)}

    @classmethod
    def from_assets(cls, assets: dict[str, Any]) -> Self:
        """The tokenizer whose `assets` these are. Raises `DataError` when they are missing or damaged."""
        if not isinstance(assets.get("vocabulary"), list):
            raise DataError("the checkpoint's vocabulary is missing or damaged; use another checkpoint")
        return cls(assets["vocabulary"])

    def assets(self) -> dict[str, Any]:
        """JSON values from which `from_assets` makes the same tokenizer."""
        return {"tokens": self.kind, "vocabulary": self.vocabulary}

    @property
    def identity(self) -> Sequence[str]:
        """Strings that are equal only for equal tokenizers, for a digest."""
        return self.vocabulary

    @classmethod
    @abstractmethod
    def is_token(cls, word: str) -> bool:
        """Whether `split` could return `word`."""

    @classmethod
    @abstractmethod
    def split(cls, text: str) -> Iterator[str]:
        """The tokens of `text`, in the vocabulary or not."""

    @classmethod
    @abstractmethod
    def spans(cls, text: str) -> Iterator[tuple[str, int, int]]:
        """The tokens of `text`, each with its start and end."""

    @abstractmethod
    def space(self, before: Sequence[int], token: int) -> bool:
        """Whether text has a space between the tokens `before` and `token`."""

    @abstractmethod
    def label(self, token: int) -> str:
        """The token as shown by itself: never empty, without control characters."""

    def names(self) -> dict[str, int]:
        """The id of every token by its names: as it is in the vocabulary and, where no other is called so, as it is shown by itself."""
        names = {word: token for token, word in enumerate(self.vocabulary)}
        for token in range(len(self.vocabulary)):
            names.setdefault(self.label(token), token)
        return names

    @property
    @abstractmethod
    def start(self) -> int:
        """The token used for an empty prompt."""

    def id(self, word: str) -> int:
        """The id of `word`, 0 when it is unknown."""
        return self._ids.get(word, 0)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; 0 for tokens that are not in the vocabulary."""
        return [self._ids.get(word, 0) for word in self.split(text)]

    def read(self, text: str) -> tuple[list[int], list[str]]:
        """The ids of `text`, and the token in the text for each."""
        words = list(self.split(text))
        return [self.id(word) for word in words], words

    def decode(self, ids: Iterable[int], after: Sequence[int] = (), *, spaced: bool = False) -> str:
        """The text of `ids`, spaced so that it follows the tokens `after`; `spaced`: a space follows them already."""
        seen = list(after)
        parts: list[str] = []
        for token in ids:
            gap = self.space(seen, token) and not (spaced and not parts)
            parts.append((" " if gap else "") + self.text(token))
            seen.append(token)
        return "".join(parts)

    def text(self, token: int) -> str:
        """The token as written in text."""
        return self.vocabulary[token]


@functools.cache
def marks() -> str:
    """What may follow a letter inside a word: combining marks (general category M) and joiners, as a class of a regular expression."""
    codes = itertools.chain(range(ord(FIRST_MARK), 0x20000), range(0xE0100, 0xE01F0))  # there are no marks outside these
    return f"[{JOINERS}{''.join(char for char in map(chr, codes) if is_mark(char))}]"


def is_mark(char: str) -> bool:
    """Whether it may follow a letter inside a word."""
    return char in JOINERS or unicodedata.category(char)[0] == "M"


def words_pattern(letter: str, mark: str, digit: str) -> str:
    """The regular expression of a token of `Words`, from the classes of its characters. All repeats are bounded."""
    return pattern_of(rf"(?:{letter}{mark}{{0,8}}){{1,40}}", digit)


def pattern_of(word: str, digit: str) -> str:
    """The same, from the expression of a word without apostrophes."""
    return rf"{UNKNOWN}|{word}(?:'{word}){{0,3}}|{digit}{{1,40}}|[.,;:!?()\[\]\"']"


class Words(Tokenizer):
    """Words (with apostrophes), numbers, and punctuation marks, in lower case; other symbols, as of markup and arithmetic, are dropped.

    A letter keeps its combining marks and joiners (U+200C, U+200D), so that words of every script that has spaces stay whole.
    """

    kind = "word"
    noun = "words"
    _straight = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})

    @classmethod
    def _token(cls, text: str) -> re.Pattern[str]:
        """For the tokens of this text. Where it has no marks, the pattern need not look for one behind every letter."""
        return cls._pattern(marked=any(is_mark(char) for char in set(text) if char >= FIRST_MARK))

    @staticmethod
    @functools.cache
    def _pattern(*, marked: bool) -> re.Pattern[str]:
        letter, digit = r"[^\W\d_]", r"\d"
        return re.compile(words_pattern(letter, marks(), digit) if marked else pattern_of(f"{letter}{{1,40}}", digit))

    @classmethod
    def is_token(cls, word: str) -> bool:
        return cls._token(word).fullmatch(word) is not None

    @classmethod
    def split(cls, text: str) -> Iterator[str]:
        normal = unicodedata.normalize("NFC", text).translate(cls._straight).lower()
        return (match.group() for match in cls._token(normal).finditer(normal))

    @classmethod
    def spans(cls, text: str) -> Iterator[tuple[str, int, int]]:
        """`text` should be composed (NFC), so that the positions are right."""
        straight = text.translate(cls._straight)
        for match in cls._token(straight).finditer(straight):
            for word in cls.split(match.group()):
                yield word, match.start(), match.end()

    def space(self, before: Sequence[int], token: int) -> bool:
        """No space before a closing mark, nor after an opening one; quotes open and close in turn."""
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
        return self.vocabulary[token]

    @property
    def start(self) -> int:
        """The full stop, which comes before a new sentence."""
        return self.id(".")


class Characters(Tokenizer):
    """Every character is a token."""

    kind = "char"
    noun = "characters"
    _shown = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}

    @classmethod
    def is_token(cls, word: str) -> bool:
        return len(word) == 1

    @classmethod
    def split(cls, text: str) -> Iterator[str]:
        return iter(text)

    @classmethod
    def spans(cls, text: str) -> Iterator[tuple[str, int, int]]:
        return ((char, place, place + 1) for place, char in enumerate(text))

    def space(self, before: Sequence[int], token: int) -> bool:
        return False

    def text(self, token: int) -> str:
        """The character; the replacement character for control characters and the unknown token."""
        return printable(self.vocabulary[token]) if token else "\ufffd"

    def label(self, token: int) -> str:
        """The character, or a visible symbol for white space."""
        word = self.vocabulary[token]
        return self._shown.get(word) or (UNKNOWN if token == 0 else self.text(token))

    @property
    def start(self) -> int:
        """The line end, which comes before a new line."""
        return self.id("\n")


TOKENIZERS: dict[str, type[Tokenizer]] = {kind.kind: kind for kind in (Words, Characters)}


def number(words: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Number the distinct tokens in order of their first occurrence; returns the number of each token, and the distinct tokens."""
    numbers: dict[str, int] = {}
    ids = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), dtype=np.int64)
    return ids, list(numbers)


def choose_vocabulary(ids: NDArray[np.int64], words: list[str], *, size: int, min_count: int) -> list[str]:
    """`<unk>` and the most frequent tokens of `ids` that occur at least `min_count` times, `size` in all; ties in alphabetical order."""
    counts = np.bincount(ids, minlength=len(words))
    frequent = [index for index in np.flatnonzero(counts >= min_count).tolist() if words[index] != UNKNOWN]
    frequent.sort(key=lambda index: (-int(counts[index]), words[index]))
    return [UNKNOWN, *(words[index] for index in frequent[: size - 1])]
