"""Pairs of texts to learn from: the user's own file, a line for each pair, a tab between source and target."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path
from typing import NamedTuple

from dlplay.data import bounded
from dlplay.data.text import lines, read_text_file
from dlplay.engine.errors import DataError

MAX_PAIRS = 1_000_000
MAX_SIDE = 4000
"""Characters of a source or a target."""

LEAST = 20
"""Different sources that a file must hold, so that some can be held out."""


class Pair(NamedTuple):
    """What is read and what is to be said."""

    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class PairFile:
    """A user's own pairs."""

    name: str
    pairs: list[Pair]
    key: str
    """Names everything that the pairs depend on."""


def read_pairs(path: Path) -> PairFile:
    """The pairs of a UTF-8 file of at most 64 MiB; empty lines are passed over. Raises `DataError` naming the line that is no pair."""
    text = read_text_file(path)
    name = bounded.named(path)
    form = "write a source, one tab and a target on each line"
    pairs = []
    for number, line in lines(text.content):
        fields = line.split("\t")
        if len(fields) != 2:
            raise DataError(f"{name}, line {number:,} has {len(fields) - 1:,} tabs; {form}")
        source, target = (field.strip() for field in fields)
        if not source or not target:
            raise DataError(f"{name}, line {number:,} has nothing {'after' if source else 'before'} its tab; {form}")
        if (longest := max(len(source), len(target))) > MAX_SIDE:
            raise DataError(f"{name}, line {number:,} has a side of {longest:,} characters; at most {MAX_SIDE:,} are read, so shorten it")
        pairs.append(Pair(source, target))
        if len(pairs) > MAX_PAIRS:
            raise DataError(f"{name} holds more than {MAX_PAIRS:,} pairs, which is the most that is read; give a shorter file")
    if not pairs:
        raise DataError(f"{name} is empty; {form}")
    return PairFile(bounded.clean(path.name) or "the file", pairs, text.sha256)


def share(source: str) -> float:
    """A number from 0 to 1 that every source has for itself, on every machine: what decides whether it is held out."""
    scrambled = zlib.crc32(source.encode("utf-8", "surrogatepass")) * 0x9E3779B1 & 0xFFFFFFFF  # Knuth: neighbours far apart
    return (scrambled ^ scrambled >> 15) / 2**32
