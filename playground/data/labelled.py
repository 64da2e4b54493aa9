"""Labelled texts from the user's own file: `text<TAB>class` on every line."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.data import bounded
from dlplay.data.digits import stratified_split
from dlplay.data.text import lines, read_text_file
from dlplay.engine.errors import DataError

MAX_LINES = 1_000_000
MAX_CLASSES = 100
MAX_NAME = 60
"""Most characters of a class name."""

HELD_OUT = 0.2
"""Share of each class that is held out."""


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Texts and their classes, a share of each class held out. A dataset."""

    name: str
    texts: list[str]
    labels: NDArray[np.int64]  # (texts,)
    classes: list[str]
    """Their names, sorted."""
    train: NDArray[np.int64]
    """Indices of the texts to train on."""
    held_out: NDArray[np.int64]
    key: str
    """A digest of the file and of how it is split."""

    @property
    def words(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        shown = ", ".join(f"{name} {count:,}" for name, count in zip(self.classes[:6], counts, strict=False))
        more = f" and {len(self.classes) - 6} more" if len(self.classes) > 6 else ""
        return f"{self.name}: {len(self.train):,} texts to train on, {len(self.held_out):,} held out; {shown}{more}"

    @property
    def assets(self) -> dict[str, Any]:
        return {"classes": self.classes}


def read_labelled(path: Path) -> Labelled:
    """The texts of a UTF-8 file of at most 64 MiB with 2 to 100 classes; empty lines are skipped. Raises `DataError`."""
    file = read_text_file(path)
    texts: list[str] = []
    names: list[str] = []
    for number, line in lines(file.content):
        text, tab, name = line.rpartition("\t")
        name = bounded.clean(name, MAX_NAME + 1)
        if not tab or not name or not text.strip():
            raise DataError(
                f"{file.name}, line {number:,}: {bounded.clean(line, 40) or 'an unprintable line'!r} is not a text, a tab and a class"
            )
        if len(name) > MAX_NAME:
            raise DataError(f"{file.name}, line {number:,}: class {name[:30]!r}… has more than {MAX_NAME} characters; use a shorter name")
        if len(texts) == MAX_LINES:
            raise DataError(f"{file.name} holds more than {MAX_LINES:,} texts, which is the limit; give fewer")
        texts.append(text)
        names.append(name)
    classes = sorted(set(names))
    if not 2 <= len(classes) <= MAX_CLASSES:
        few = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}"
        raise DataError(f"{file.name} holds {few} in {len(texts):,} texts; give a file with 2 to {MAX_CLASSES} of them")
    number_of = {name: number for number, name in enumerate(classes)}
    labels = np.array([number_of[name] for name in names], dtype=np.int64)
    different, train, held_out = _split(texts, labels, classes, file.name)
    split = "" if different == len(texts) else " by different texts"  # an earlier version split by rows: the same where no text repeats
    key = hashlib.sha256((file.sha256 + split).encode()).hexdigest()
    return Labelled(file.name, texts, labels, classes, train, held_out, key)


def _split(texts: list[str], labels: NDArray[np.int64], classes: list[str], name: str) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """The number of distinct texts, the indices of all rows to train on, and of one row for each held-out text: a text that repeats is
    never on both sides, and one with several classes counts as the first. Raises `DataError` with the counts when there are too few."""
    numbers: dict[str, int] = {}
    first = np.array([numbers.setdefault(text, row) for row, text in enumerate(texts)])  # (texts,): where each text came first
    different = np.unique(first)
    counts = np.bincount(labels[different], minlength=len(classes))
    least = 5 * len(classes)
    if counts.min() < 2 or len(different) < least:
        rarest = np.argsort(counts, kind="stable")[:6].tolist()
        few = ", ".join(f"{bounded.clean(classes[label], 40)} {counts[label]}" for label in rarest)
        more = f" and {len(classes) - 6} classes with more" if len(classes) > 6 else ""
        raise DataError(
            f"{name} holds {len(different):,} different text{'s' * (len(different) > 1)} of {len(classes)} classes ({few}{more}); "
            f"give 2 or more of each class and {least} or more in all, so that some of each are held out"
        )
    chosen, held_out = stratified_split(labels[different], HELD_OUT)
    place = np.full(len(texts), len(texts))
    place[different[chosen]] = np.arange(len(chosen))
    rows = np.argsort(place[first], kind="stable")
    return len(different), rows[: int(np.isin(first, different[chosen]).sum())], different[held_out]
