"""What the Transformer learns: pairs that a task makes up without end, or those of the user's file; a part of the sources is held out."""

from __future__ import annotations

import hashlib
import random
import string
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from dlplay.architectures.seq2seq import dates
from dlplay.architectures.seq2seq.settings import MADE, Seq2SeqSettings
from dlplay.data import bounded
from dlplay.data.pairs import LEAST, Pair, PairFile, read_pairs, share
from dlplay.data.tokens import TOKENIZERS, UNKNOWN, Characters, Tokenizer, choose_vocabulary, number
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError

HELD_OUT = 1000
"""Pairs that are tested on, at most."""

HELD_OUT_SHARE = 0.1
"""Of all sources."""

LONGEST = 256
"""Tokens of a source or a target in a file."""


class Problem(ABC):
    """Pairs to train on and pairs that are held out: no source is ever among both."""

    tokenizer: Tokenizer
    held_out: list[Pair]
    source_length: int
    """Tokens of the longest source, its end included."""
    target_length: int
    data: str
    """The data in words, with sizes."""
    key: str
    """Names everything that the held-out pairs depend on."""

    missing: str = ""
    """Why there are no pairs, where the vocabulary came from a checkpoint and its file is gone."""

    @abstractmethod
    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        """Pairs to train on."""

    @abstractmethod
    def answer(self, source: str) -> str | None:
        """The right answer to any source; None where nobody knows it."""

    def tidy(self, source: str) -> str:
        """What a person typed, as the pairs have it."""
        return source.strip()


class Made(Problem):
    """Base of the tasks that make pairs up: every source has a fixed share of being held out, and is then never trained on."""

    def __init__(self, settings: Seq2SeqSettings, alphabet: str, lengths: tuple[int, int], name: str) -> None:
        self.tokenizer = Characters([UNKNOWN, *alphabet])
        self.source_length, self.target_length = lengths[0] + 1, lengths[1] + 1
        self.key = f"{name} 1"
        self.held_out = self._hold_out(settings)
        self.data = (
            f"{name}: fresh pairs at every step, {settings.batch} a step; {len(self.held_out):,} pairs held out, whose sources are never "
            f"trained on; vocabulary {len(alphabet)}"
        )

    @abstractmethod
    def make(self, rng: random.Random) -> Pair:
        """Any pair."""

    def tidy(self, source: str) -> str:
        """In lower case."""
        return source.strip().lower()

    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        """Pairs whose sources are not held out."""
        found: list[Pair] = []
        while len(found) < count:
            pair = self.make(rng)
            if not is_held_out(pair.source):
                found.append(pair)
        return found

    def _hold_out(self, settings: Seq2SeqSettings) -> list[Pair]:
        """The same ones every time, each source once. Raises `SettingsError` where there are too few sources."""
        rng = random.Random(f"held out {self.key}")
        found: dict[str, Pair] = {}
        free = False
        for _ in range(40 * HELD_OUT):
            pair = self.make(rng)
            if is_held_out(pair.source):
                found.setdefault(pair.source, pair)
                if len(found) == HELD_OUT:
                    break
            else:
                free = True
        if not found or not free:
            field = "digits" if settings.task == "addition" else "length"
            raise SettingsError(
                f"--{field} {getattr(settings, field)} leaves too few different sources to hold some out; use a larger one", field
            )
        return list(found.values())


class Letters(Made):
    """Reverse, copy and sort."""

    def __init__(self, settings: Seq2SeqSettings) -> None:
        self.task, self.length, self.letters = settings.task, settings.length, string.ascii_lowercase[: settings.symbols]
        name = f"{self.task} of 1 to {self.length} letters"
        super().__init__(settings, self.letters, (self.length, self.length), f"{name} out of {settings.symbols}")

    def make(self, rng: random.Random) -> Pair:
        """Letters of any length up to the longest."""
        source = "".join(rng.choices(self.letters, k=rng.randint(1, self.length)))
        return Pair(source, self.answer(source))

    def answer(self, source: str) -> str:
        """Backwards, as it stands, or in order."""
        return source[::-1] if self.task == "reverse" else source if self.task == "copy" else "".join(sorted(source))


class Addition(Made):
    """The sum of two written numbers."""

    def __init__(self, settings: Seq2SeqSettings) -> None:
        self.digits, self.units_first = settings.digits, settings.sum_order == "units-first"
        order = ", the units said first" if self.units_first else ""
        super().__init__(
            settings,
            string.digits + "+",
            (2 * self.digits + 1, self.digits + 1),
            f"sums of two numbers of up to {self.digits} digits{order}",
        )

    def make(self, rng: random.Random) -> Pair:
        """Any two numbers."""
        one, other = rng.randrange(10**self.digits), rng.randrange(10**self.digits)
        return Pair(f"{one}+{other}", self._said(one + other))

    def _said(self, total: int) -> str:
        return str(total)[::-1] if self.units_first else str(total)

    def tidy(self, source: str) -> str:
        """Without spaces."""
        return "".join(source.split())

    def answer(self, source: str) -> str | None:
        """The sum, where it is one of two numbers."""
        parts = source.split("+")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 100 for part in parts):
            return None
        return self._said(int(parts[0]) + int(parts[1]))


class Dates(Made):
    """Dates in words to ISO dates."""

    def __init__(self, settings: Seq2SeqSettings) -> None:
        name = f"dates in words from {dates.FIRST.year} to {dates.LAST.year}, in {len(dates.FORMS)} forms"
        super().__init__(settings, "".join(dates.ALPHABET), (dates.LONGEST, 10), name)

    def make(self, rng: random.Random) -> Pair:
        """Any day in any form."""
        return Pair(*dates.draw(rng))

    def answer(self, source: str) -> str | None:
        """The ISO date, where it is a date in words."""
        return dates.read(source)


class Own(Problem):
    """The user's own pairs; a tenth of the sources is held out."""

    def __init__(self, settings: Seq2SeqSettings, assets: dict[str, Any] | None) -> None:
        kind, vocabulary = TOKENIZERS[settings.tokens], None
        if assets is not None:
            kind, vocabulary = _stored(assets, settings.data)
            self.source_length, self.target_length = (_length(assets, name) for name in ("source_length", "target_length"))
        self.train: list[Pair] = []
        self.held_out = []
        file: PairFile | None = None
        try:
            file = read_pairs(Path(settings.data))
            train, held_out = split(file, kind)
            lengths = _lengths([*train, *held_out], kind)
            if assets is not None and settings.positions == "learned":
                self._check_lengths(file, kind, lengths)
            else:
                self.source_length, self.target_length = lengths
            self.train, self.held_out = train, held_out
        except DataError as error:
            if assets is None:
                raise
            self.missing = str(error)
        self.tokenizer = kind(vocabulary or _vocabulary(self.train, kind, settings.vocab_size))
        self.key = hashlib.sha256("\0".join([file.key if file else "", kind.kind, *self.tokenizer.vocabulary]).encode()).hexdigest()
        self.data = (
            f"{file.name}: {len(self.train):,} pairs to train on, {len(self.held_out):,} held out, whose sources are never trained on; "
            f"vocabulary {len(self.tokenizer.vocabulary):,} {self.tokenizer.noun}"
            if file and not self.missing
            else f"no pairs, so that it can be asked and not trained: {self.missing}"
        )
        self._answers = {plain(pair.source, kind): pair.target for pair in [*self.held_out, *self.train]}

    def _check_lengths(self, file: PairFile, kind: type[Tokenizer], lengths: tuple[int, int]) -> None:
        """Raises `DataError` for a file whose pairs are longer than the checkpoint's learned positions go."""
        room = max(self.source_length, self.target_length + 1)
        if max(lengths[0], lengths[1] + 1) <= room:
            return
        longest = max((side for pair in file.pairs for side in pair), key=lambda side: sum(1 for _ in kind.split(side)))
        count = sum(1 for _ in kind.split(longest))
        raise DataError(
            f"{file.name}: {bounded.clean(longest, 30)!r} has {count:,} {kind.noun}, and the checkpoint's learned positions have room for "
            f"{room - 2:,}; give shorter pairs, or train on these without --from"
        )

    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        """Any of the training pairs. Raises `DataError` where the file is gone and the vocabulary came from a checkpoint."""
        if not self.train:
            raise DataError(self.missing)
        return rng.choices(self.train, k=count)

    def answer(self, source: str) -> str | None:
        """As the file has it."""
        return self._answers.get(plain(source, type(self.tokenizer)))


def plain(source: str, kind: type[Tokenizer]) -> str:
    """A source as the model reads it, by which two are the same or not."""
    return "\t".join(kind.split(source))


def is_held_out(source: str) -> bool:
    """Whether a made-up source is tested on and never trained on."""
    return share(source) < HELD_OUT_SHARE


def split(file: PairFile, kind: type[Tokenizer]) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on and held-out ones: of all different sources the tenth with the smallest shares, at most 1,000, each with its first
    target. Raises `DataError` where there are too few or a side is too long or empty."""
    sources = [plain(pair.source, kind) for pair in file.pairs]
    for place, pair in enumerate(file.pairs):
        for side in pair:
            count = sum(1 for _ in kind.split(side))
            if not 1 <= count <= LONGEST:
                raise DataError(
                    f"{file.name}: {bounded.clean(side, 30)!r} in pair {place + 1:,} has {count:,} {kind.noun}; 1 to {LONGEST} can be read"
                )
    distinct = sorted(set(sources), key=lambda source: (share(source), source))
    if len(distinct) < LEAST:
        raise DataError(
            f"{file.name} holds {len(distinct)} different sources; at least {LEAST} are needed, to hold some out: give more pairs"
        )
    chosen = set(distinct[: min(HELD_OUT, round(HELD_OUT_SHARE * len(distinct)))])
    train = [pair for source, pair in zip(sources, file.pairs, strict=True) if source not in chosen]
    held_out: dict[str, Pair] = {}
    for source, pair in zip(sources, file.pairs, strict=True):
        if source in chosen:
            held_out.setdefault(source, pair)
    return train, list(held_out.values())


def pose(settings: Seq2SeqSettings, assets: dict[str, Any] | None = None) -> Problem:
    """The problem that the settings name. Raises `DataError` and `SettingsError`."""
    if settings.data != MADE:
        return Own(settings, assets)
    kinds: dict[str, type[Letters | Addition | Dates]] = {"addition": Addition, "dates": Dates}
    return kinds.get(settings.task, Letters)(settings)


def _vocabulary(pairs: list[Pair], kind: type[Tokenizer], size: int) -> list[str]:
    ids, words = number(token for pair in pairs for side in pair for token in kind.split(side))
    return choose_vocabulary(ids, words, size=size, min_count=1)


def _lengths(pairs: list[Pair], kind: type[Tokenizer]) -> tuple[int, int]:
    return tuple(1 + max(sum(1 for _ in kind.split(side)) for side in sides) for sides in zip(*pairs, strict=True))  # type: ignore[return-value]


def _stored(assets: dict[str, Any], data: str) -> tuple[type[Tokenizer], list[str]]:
    if not assets:
        raise DataError(
            f"the checkpoint was trained on pairs that are made up and knows no words of {bounded.clean(data, 300)}; "
            "leave out --data, or train on that file without --from"
        )
    kind = TOKENIZERS.get(str(assets.get("tokens")))
    if kind is None or not isinstance(assets.get("vocabulary"), list):
        raise DataError("the checkpoint's vocabulary is missing or damaged; use another checkpoint")
    return kind, kind(assets["vocabulary"]).vocabulary


def _length(assets: dict[str, Any], name: str) -> int:
    length = assets.get(name)
    if not isinstance(length, int) or not 2 <= length <= LONGEST + 1:
        raise DataError(f"the checkpoint's {name} {length!r} is missing or damaged; use another checkpoint")
    return length
