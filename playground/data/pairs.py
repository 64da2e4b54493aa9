"""Pairs of a source and its target: the user's own file, a line for each pair with a tab between them; some sources are held out."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlplay.data import bounded
from dlplay.data.text import lines, read_text_file
from dlplay.data.tokens import Tokenizer, choose_vocabulary, number
from dlplay.engine.errors import DataError

MAX_PAIRS = 1_000_000
MAX_CHARACTERS = 4000
"""Characters of a source or a target."""

MAX_TOKENS = 256
"""Tokens of a source or a target."""

MIN_SOURCES = 20
"""Distinct sources that a file must hold, so that some can be held out."""

HELD_OUT = 0.1
"""Share of all distinct sources that is never trained on."""

MAX_HELD_OUT = 1000


class Pair(NamedTuple):
    """What is read, and what is to be written."""

    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class PairFile:
    """All pairs of a file."""

    name: str
    pairs: list[Pair]
    sha256: str


@dataclasses.dataclass(frozen=True)
class PairCorpus:
    """Pairs and their tokenizer; no source is both trained on and held out. A dataset."""

    name: str
    tokenizer: Tokenizer
    train: list[Pair]
    held_out: list[Pair]
    source_length: int
    """Tokens of the longest source, its end included."""
    target_length: int
    key: str
    """A digest of the file and of its tokenizer."""

    @property
    def words(self) -> str:
        return (
            f"{self.name}: {len(self.train):,} pairs to train on, {len(self.held_out):,} held out, whose sources are never trained on; "
            f"vocabulary {len(self.tokenizer.vocabulary):,} {self.tokenizer.noun}"
        )

    @property
    def assets(self) -> dict[str, Any]:
        return {**self.tokenizer.assets(), "source_length": self.source_length, "target_length": self.target_length}


def read_pairs(path: Path) -> PairFile:
    """The pairs of a UTF-8 file of at most 64 MiB; empty lines are skipped. Raises `DataError` naming the line that is no pair."""
    text = read_text_file(path)
    name = bounded.named(path)
    form = "write a source, one tab and a target on each line"
    pairs = []
    for line_number, line in lines(text.content):
        fields = line.split("\t")
        if len(fields) != 2:
            raise DataError(f"{name}, line {line_number:,} has {len(fields) - 1:,} tabs; {form}")
        source, target = (field.strip() for field in fields)
        if not source or not target:
            raise DataError(f"{name}, line {line_number:,} has nothing {'after' if source else 'before'} its tab; {form}")
        if (longest := max(len(source), len(target))) > MAX_CHARACTERS:
            raise DataError(
                f"{name}, line {line_number:,} has a source or target of {longest:,} characters; "
                f"at most {MAX_CHARACTERS:,} are read, so shorten it"
            )
        pairs.append(Pair(source, target))
        if len(pairs) > MAX_PAIRS:
            raise DataError(f"{name} holds more than {MAX_PAIRS:,} pairs, which is the limit; give a shorter file")
    if not pairs:
        raise DataError(f"{name} is empty; {form}")
    return PairFile(bounded.clean(path.name) or "the file", pairs, text.sha256)


def open_pairs(path: Path, kind: type[Tokenizer], *, vocab_size: int, vocabulary: Sequence[str] | None = None) -> PairCorpus:
    """The pairs of a file, split by source, with a given `vocabulary` or one made from the training pairs. Raises `DataError`."""
    file = read_pairs(path)
    train, held_out = split_by_source(file, kind)
    tokenizer = kind(vocabulary or _vocabulary(train, kind, vocab_size))
    pairs = [*train, *held_out]
    return PairCorpus(
        file.name,
        tokenizer,
        train,
        held_out,
        source_length=1 + max(count_tokens(pair.source, kind) for pair in pairs),
        target_length=1 + max(count_tokens(pair.target, kind) for pair in pairs),
        key=hashlib.sha256("\0".join([file.sha256, kind.kind, *tokenizer.vocabulary]).encode()).hexdigest(),
    )


def split_by_source(file: PairFile, kind: type[Tokenizer]) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs: of all distinct sources the tenth with the smallest hashes, at most 1,000, is held out, each with its
    first target. Raises `DataError` when there are too few sources, or a source or target is too long or empty."""
    for index, pair in enumerate(file.pairs):
        for side in pair:
            if not 1 <= (count := count_tokens(side, kind)) <= MAX_TOKENS:
                shown = bounded.clean(side, 30)
                raise DataError(f"{file.name}: {shown!r} in pair {index + 1:,} has {count:,} {kind.noun}; 1 to {MAX_TOKENS} can be read")
    sources = [normalised(pair.source, kind) for pair in file.pairs]
    distinct = sorted(set(sources), key=lambda source: (uniform_hash(source), source))
    if len(distinct) < MIN_SOURCES:
        raise DataError(
            f"{file.name} holds {len(distinct)} different sources; at least {MIN_SOURCES} are needed, to hold some out: give more pairs"
        )
    chosen = set(distinct[: min(MAX_HELD_OUT, round(HELD_OUT * len(distinct)))])
    train = [pair for source, pair in zip(sources, file.pairs, strict=True) if source not in chosen]
    held_out: dict[str, Pair] = {}
    for source, pair in zip(sources, file.pairs, strict=True):
        if source in chosen:
            held_out.setdefault(source, pair)
    return train, list(held_out.values())


def count_tokens(text: str, kind: type[Tokenizer]) -> int:
    return sum(1 for _ in kind.split(text))


def normalised(source: str, kind: type[Tokenizer]) -> str:
    """The tokens of a source, by which two sources are the same to the model or not."""
    return "\t".join(kind.split(source))


def uniform_hash(source: str) -> float:
    """A number from 0 to 1 for every source, the same on every machine: it decides whether the source is held out."""
    scrambled = zlib.crc32(source.encode("utf-8", "surrogatepass")) * 0x9E3779B1 & 0xFFFFFFFF  # Knuth's multiplicative hashing
    return (scrambled ^ scrambled >> 15) / 2**32


def _vocabulary(pairs: Iterable[Pair], kind: type[Tokenizer], size: int) -> list[str]:
    ids, words = number(token for pair in pairs for side in pair for token in kind.split(side))
    return choose_vocabulary(ids, words, size=size, min_count=1)
