"""Text corpora: the language reference inside every CPython, or the user's own file, tokenized and split."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import platform
import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.data import bounded
from dlplay.data.subwords import BytePairs, SubWords
from dlplay.data.tokens import TOKENIZERS, Characters, Tokenizer, choose_vocabulary, number
from dlplay.engine.errors import DataError

REFERENCE, REPEATS = "reference", "repeats"
"""Names of the built-in texts."""

PARAGRAPHS = 7000
"""Of the text that repeats: enough that a small model does not learn it by heart."""

MAX_BYTES = 64 * bounded.MIB

HELD_OUT = 0.1
"""Share of the text, at its end, that is held out."""


UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""A letter of a script that puts no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""

SHORT = 2_000_000
"""Characters of a text whose tokens are kept in memory."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A text and its source."""

    name: str
    content: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text as token ids, with its last tenth held out."""

    tokenizer: Tokenizer
    train: NDArray[np.int64]  # (tokens,)
    held_out: NDArray[np.int64]  # (tokens,)
    name: str
    key: str
    """A digest of everything that the ids depend on."""
    held_out_bytes: int | None = None
    """Size of the held-out text in UTF-8, where the tokens give it back as it is; None where they do not, as words in lower case."""

    @property
    def words(self) -> str:
        """The corpus in words, with sizes."""
        facts = (
            f"{self.name}: {len(self.train):,} {self.tokenizer.noun} to train on, the last {len(self.held_out):,} held out, "
            f"vocabulary {len(self.tokenizer.vocabulary):,}"
        )
        if self.tokenizer.unknown is not None:
            unknown = float((self.held_out == self.tokenizer.unknown).mean())
            facts += f", {100 * unknown:.1f} % of the held-out {self.tokenizer.noun} are <unk>"
        if self.repeated:
            length = run_length(self.tokenizer)
            facts += (
                f"; {100 * self.repeated:.1f} % of them stand in the training part as well, in runs of {length} or more, "
                "so held-out numbers flatter"
            )
        words = [word for word in self.tokenizer.vocabulary if word[0].isalpha()]
        if self.tokenizer.kind == "word" and 2 * sum(UNSPACED.search(word) is not None for word in words) > len(words):
            facts += "; its words are not divided by spaces, so use --tokens char or bpe"
        return facts

    @property
    def assets(self) -> dict[str, Any]:
        """The vocabulary."""
        return self.tokenizer.assets()

    @functools.cached_property
    def repeated(self) -> float:
        """Share of the held-out tokens that stand in the training part as well, in the same run of `run_length` tokens or more."""
        length = run_length(self.tokenizer)
        if min(len(self.train), len(self.held_out)) < length:
            return 0.0
        weights = np.random.default_rng(0).integers(1 << 63, size=len(self.tokenizer.vocabulary), dtype=np.uint64)
        copied = np.isin(_run_digests(weights[self.held_out], length), _run_digests(weights[self.train], length))
        edges = np.zeros(len(self.held_out) + 1, dtype=np.int64)
        edges[: len(copied)] += copied
        edges[length : length + len(copied)] -= copied
        return float((edges.cumsum()[:-1] > 0).mean())


def run_length(tokenizer: Tokenizer) -> int:
    """Tokens in a row that are not equal by chance: 20 words or pieces, or 100 characters, which is about as long."""
    return 100 if tokenizer.kind == "char" else 20


def _run_digests(tokens: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """A polynomial hash of every run of `length` tokens (runs,), from random numbers that stand for the tokens."""
    if length == 1:
        return tokens
    half = length // 2
    halves = _run_digests(tokens, half)
    base = np.uint64(0x9E3779B97F4A7C15)
    pairs = halves[:-half] * base**half + halves[half:]
    return pairs if length % 2 == 0 else pairs[:-1] * base + tokens[length - 1 :]


def read_text(source: str) -> Text:
    """The text called `source`: `reference`, `repeats`, or a UTF-8 file of at most 64 MiB. Raises `DataError`."""
    built_in = {REFERENCE: reference, REPEATS: repeats}
    return built_in[source]() if source in built_in else read_text_file(Path(source))


@functools.cache
def reference() -> Text:
    """CPython's language reference, as `pydoc` has it: English with grammar and examples. It differs between Python versions.

    A fifth of the topics stand a second time inside a longer one, as `while` in `compound`. They are left out, so that nothing that is held
    out is read in training.
    """
    from pydoc_data.topics import topics  # 0.7 MB that only this text needs

    content = "\n\n".join(_without_repeats(topics))
    name = f"the language reference of Python {'.'.join(platform.python_version_tuple()[:2])}"
    return Text(name, content, hashlib.sha256(content.encode()).hexdigest())


@functools.cache
def repeats() -> Text:
    """Paragraphs of random sentences: each has four of its own, of 2 to 8 syllables out of 60, and says them 14 times in random order.

    The first time nothing can be predicted. When a sentence comes again nearly every syllable can, by looking for its copy and what came
    after it: what induction heads do (Olsson et al., 2022). How far back the copy lies differs every time, so that it cannot be done by
    counting back. The last paragraphs, held out among them, have no sentence that came before.
    """
    rng = np.random.default_rng(0)
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    said: set[str] = set()

    def sentence(*, new: bool) -> str:
        length = rng.integers(2, 9)
        while True:
            found = " ".join(syllables[each] for each in rng.integers(len(syllables), size=length))
            if not (new and found in said):
                said.add(found)
                return found

    paragraphs = []
    for place in range(PARAGRAPHS):
        own = [sentence(new=place >= (1 - 1.5 * HELD_OUT) * PARAGRAPHS) for _ in range(4)]
        paragraphs.append(" ".join(f"{own[each]} ." for each in rng.integers(4, size=14)))
    content = "\n".join(paragraphs)
    return Text("random sentences that come again", content, hashlib.sha256(content.encode()).hexdigest())


def _without_repeats(topics: Mapping[str, str]) -> Iterator[str]:
    """The topics in alphabetical order, each paragraph only in the longest topic that has it; not those of which less than half is left."""
    seen: set[str] = set()
    kept = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = {" ".join(paragraph.split()): paragraph for paragraph in topics[name].split("\n\n") if paragraph.strip()}
        new = [paragraph for words, paragraph in paragraphs.items() if words not in seen]
        if 2 * sum(map(len, new)) >= len(topics[name]):
            kept[name] = "\n\n".join(new)
        seen |= paragraphs.keys()
    return (kept[name] for name in sorted(kept))


def read_text_file(path: Path) -> Text:
    """A user's own text: a regular file, UTF-8 with or without a byte order mark, no NUL. Raises `DataError`."""
    data = bounded.read_bytes(path, MAX_BYTES)
    name = bounded.named(path)
    if (nul := data.find(b"\0")) >= 0:
        raise DataError(
            f"{name} is not text: byte {nul:,} is NUL; give a UTF-8 text file (UTF-16 can be changed with iconv -f UTF-16 -t UTF-8)"
        )
    try:
        content = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        wrong = data[error.start]
        raise DataError(
            f"{name} is not UTF-8: byte {error.start:,} is 0x{wrong:02x}; change its encoding, as with iconv -t UTF-8"
        ) from None
    return Text(bounded.clean(path.name) or "the text", content.replace("\r\n", "\n"), hashlib.sha256(data).hexdigest())


def lines(content: str) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not blank, each with its number, from 1. An iterator, since a list would take far more memory."""
    start, number = 0, 0
    while start <= len(content):
        end = content.find("\n", start)
        end = len(content) if end < 0 else end
        line, start, number = content[start:end], end + 1, number + 1
        if line.strip():
            yield number, line


def encode_corpus(text: Text, tokenizer: Tokenizer, *, minimum: int) -> Corpus:
    """`text` encoded with an existing tokenizer. Raises `DataError` when it has fewer than `minimum` tokens.

    Words are cut after nine tenths of the words, characters and pieces after nine tenths of the characters, so that these two hold out the
    same text.
    """
    if isinstance(tokenizer, SubWords):
        cut = _cut(text.content)
        return _corpus(text, tokenizer, *map(tokenizer.encode_long, (text.content[:cut], text.content[cut:])), minimum=minimum)
    numbers, words = _numbers(text, type(tokenizer))
    return _numbered(text, tokenizer, numbers, words, minimum=minimum)


def read_corpus(text: Text, kind: str, *, vocab_size: int, min_count: int, minimum: int, vocabulary: Sequence[str] | None = None) -> Corpus:
    """`text` encoded with a tokenizer of `kind` (word, char or bpe), with a given `vocabulary` or one from its training part.

    The vocabulary is every character of the training part, or every word that occurs `min_count` times in it, up to `vocab_size`; or
    (bpe) bytes and the most frequent pairs. Raises `DataError` when the text has fewer than `minimum` tokens.
    """
    if kind == BytePairs.kind:
        return encode_corpus(
            text, BytePairs.trained(text.content[: _cut(text.content)], size=vocab_size, min_count=min_count), minimum=minimum
        )
    tokenizer_type = TOKENIZERS.get(kind)
    if tokenizer_type is None:
        raise DataError(f"--tokens {kind} needs a pretrained model: give one with --from hf:DIR, or use --tokens word or char")
    if vocabulary is not None:
        return encode_corpus(text, tokenizer_type(vocabulary), minimum=minimum)
    numbers, words = _numbers(text, tokenizer_type)
    _check_length(text, len(numbers), tokenizer_type.noun, minimum)
    chosen = choose_vocabulary(numbers[: _cut(numbers)], words, size=vocab_size, min_count=min_count if kind == "word" else 1)
    if len(chosen) < 2:
        way = (
            "use --tokens char or bpe, since its words are not divided by spaces"
            if UNSPACED.search(words[0])
            else "give a longer text or a lower --min-count"
        )
        raise DataError(f"no word occurs {min_count} times in the training part of {text.name}; {way}")
    return _numbered(text, tokenizer_type(chosen), numbers, words, minimum=minimum)


def _numbers(text: Text, kind: type[Tokenizer]) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each token, and the distinct tokens. Of a short text they are kept: every model of it begins with them."""
    return _kept_numbers(text, kind) if len(text.content) <= SHORT else number(kind.split(text.content))


@functools.lru_cache(maxsize=1)
def _kept_numbers(text: Text, kind: type[Tokenizer]) -> tuple[NDArray[np.int64], list[str]]:
    return number(kind.split(text.content))


def _cut(whole: Sized) -> int:
    """Where the training part ends and the held-out part begins."""
    return int(len(whole) * (1 - HELD_OUT))


def _numbered(text: Text, tokenizer: Tokenizer, numbers: NDArray[np.int64], words: Sequence[str], *, minimum: int) -> Corpus:
    """The corpus of a text whose tokens are `words[number]` for each of `numbers`."""
    ids = np.array([tokenizer.id(word) for word in words], dtype=np.int64)[numbers]
    return _corpus(text, tokenizer, ids[: _cut(ids)], ids[_cut(ids) :], minimum=minimum)


def _check_length(text: Text, length: int, noun: str, minimum: int) -> None:
    if length < minimum:
        raise DataError(
            f"{text.name} holds {length:,} {noun}; at least {minimum:,} are needed, so that the held-out tenth fills a block: "
            "give a longer text or a smaller --block-size"
        )


def _corpus(text: Text, tokenizer: Tokenizer, train: NDArray[np.int64], held_out: NDArray[np.int64], *, minimum: int) -> Corpus:
    _check_length(text, len(train) + len(held_out), tokenizer.noun, minimum)
    named = [text.sha256, tokenizer.kind, *tokenizer.identity]
    made = hashlib.sha256("\0".join(named).encode("utf-8", "surrogatepass")).hexdigest()
    size = (
        len(text.content[_cut(text.content) :].encode("utf-8", "replace")) if tokenizer.kind in (Characters.kind, BytePairs.kind) else None
    )
    return Corpus(tokenizer, train, held_out, text.name, made, size)
