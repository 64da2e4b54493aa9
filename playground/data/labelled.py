"""Texts with a class each, from the user's own file: `text<TAB>class` on every line."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from playground.data import bounded
from playground.data.digits import stratified_split
from playground.data.text import lines, read_text_file
from playground.engine.errors import DataError

MAX_LINES = 1_000_000
MAX_CLASSES = 100
MAX_NAME = 60
"""Characters of a class's name."""

HELD_OUT = 0.2
"""Share of each class that is never trained on."""


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Texts and their classes, a part of each class held out."""

    name: str
    texts: list[str]
    labels: NDArray[np.int64]  # (texts,)
    classes: list[str]
    """Their names, in the order of the alphabet."""
    train: NDArray[np.int64]
    """Which texts are trained on."""
    held_out: NDArray[np.int64]
    key: str
    """Names everything that the split depends on."""

    @property
    def words(self) -> str:
        """The data in words, with sizes."""
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        shown = ", ".join(f"{name} {count:,}" for name, count in zip(self.classes[:6], counts, strict=False))
        more = f" and {len(self.classes) - 6} more" if len(self.classes) > 6 else ""
        return f"{self.name}: {len(self.train):,} texts to train on, {len(self.held_out):,} held out; {shown}{more}"


def read_labelled(path: Path) -> Labelled:
    """A UTF-8 file of at most 64 MiB with 2 to 100 classes; empty lines are passed over. Raises `DataError`."""
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
            raise DataError(f"{file.name} holds more than {MAX_LINES:,} texts; give fewer")
        texts.append(text)
        names.append(name)
    classes = sorted(set(names))
    if not 2 <= len(classes) <= MAX_CLASSES:
        few = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}"
        raise DataError(f"{file.name} holds {few} in {len(texts):,} texts; give a file with 2 to {MAX_CLASSES} of them")
    number_of = {name: number for number, name in enumerate(classes)}
    labels = np.array([number_of[name] for name in names], dtype=np.int64)
    counts = np.bincount(labels)
    if counts.min() < 2:
        raise DataError(f"{file.name}: class {classes[int(counts.argmin())]!r} has one text alone; give 2 or more, so that one is held out")
    if len(labels) < 5 * len(classes):
        raise DataError(
            f"{file.name} holds {len(labels)} texts of {len(classes)} classes; give {5 * len(classes)} or more, one of each to hold out"
        )
    train, held_out = stratified_split(labels, HELD_OUT)
    tested = {texts[number] for number in held_out.tolist()}
    train = np.array([number for number in train.tolist() if texts[number] not in tested], dtype=np.int64)
    if len(np.unique(labels[train])) < len(classes):
        raise DataError(f"{file.name}: of some class every text is held out, since its texts repeat; give more different ones")
    return Labelled(file.name, texts, labels, classes, train, held_out, hashlib.sha256(file.sha256.encode()).hexdigest())
