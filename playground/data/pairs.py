"""Pairs of source and target from the user's own file: one pair per line, separated by a tab."""

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
"""Most characters of a source or a target."""

LEAST = 20
"""Different sources that a file must have, so that some can be held out."""


class Pair(NamedTuple):
    """A source and the target to produce for it."""

    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class PairFile:
    """A user's own pairs."""

    name: str
    pairs: list[Pair]
    key: str
    """A digest of the file."""


def read_pairs(path: Path) -> PairFile:
    """The pairs of a UTF-8 file of at most 64 MiB; empty lines are skipped. Raises `DataError` with the number of the wrong line."""
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
            raise DataError(f"{name} holds more than {MAX_PAIRS:,} pairs, which is the limit; give a shorter file")
    if not pairs:
        raise DataError(f"{name} is empty; {form}")
    return PairFile(bounded.clean(path.name) or "the file", pairs, text.sha256)


def share(source: str) -> float:
    """A hash of the source as a number from 0 to 1, the same on every machine: it decides whether the source is held out."""
    scrambled = zlib.crc32(source.encode("utf-8", "surrogatepass")) * 0x9E3779B1 & 0xFFFFFFFF  # Knuth's multiplicative hash
    return (scrambled ^ scrambled >> 15) / 2**32
