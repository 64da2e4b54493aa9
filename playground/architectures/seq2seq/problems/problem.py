"""The problems: pairs that a task generates without end, or those of the user's file. Some sources are held out."""

from __future__ import annotations

import dataclasses
import random
import string
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from dlplay.architectures.seq2seq.problems import dates
from dlplay.architectures.seq2seq.settings import GENERATED, Seq2SeqSettings
from dlplay.data.bounded import clean
from dlplay.data.pairs import (
    HELD_OUT,
    MAX_HELD_OUT,
    MAX_TOKENS,
    Pair,
    PairCorpus,
    count_tokens,
    normalised,
    open_pairs,
    uniform_hash,
)
from dlplay.data.tokens import TOKENIZERS, UNKNOWN, Characters, Tokenizer
from dlplay.engine.dataset import Generated, Missing, present
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError


class Problem(ABC):
    """Pairs to train on and held-out pairs; no source is among both."""

    dataset: Generated | PairCorpus | Missing
    tokenizer: Tokenizer
    held_out: list[Pair]
    source_length: int
    """Tokens of the longest source, its end included."""
    target_length: int
    goal: str = ""
    """What the output should be, in a few words; empty where only the pairs say it."""

    @abstractmethod
    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        """Pairs to train on. Raises `DataError` when they are missing."""

    @abstractmethod
    def target(self, source: str) -> str | None:
        """The correct output for any source; None where it is unknown."""

    def tidy(self, source: str) -> str:
        """A typed source in the form that the pairs have."""
        return source.strip()


class GeneratedProblem(Problem):
    """Base of the tasks that generate pairs: a fixed tenth of all sources, chosen by their hash, is never trained on."""

    def __init__(self, settings: Seq2SeqSettings, alphabet: str, lengths: tuple[int, int], name: str) -> None:
        self.tokenizer = Characters([UNKNOWN, *alphabet])
        self.source_length, self.target_length = lengths[0] + 1, lengths[1] + 1
        key = f"{name} 1"
        self.held_out = self._hold_out(settings, random.Random(f"held out {key}"))
        self.dataset = Generated(
            f"{name}: fresh pairs at every step, {settings.accumulate * settings.batch} a step; {len(self.held_out):,} pairs held out, "
            f"whose sources are never trained on; vocabulary {len(alphabet)}",
            key,
        )

    @abstractmethod
    def generate(self, rng: random.Random) -> Pair:
        """Any pair."""

    def tidy(self, source: str) -> str:
        return source.strip().lower()

    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        found: list[Pair] = []
        while len(found) < count:
            pair = self.generate(rng)
            if not _is_held_out(pair.source):
                found.append(pair)
        return found

    def _hold_out(self, settings: Seq2SeqSettings, rng: random.Random) -> list[Pair]:
        """The same pairs in every run, each source once. Raises `SettingsError` when there are too few sources."""
        found: dict[str, Pair] = {}
        some_to_train_on = False
        for _ in range(40 * MAX_HELD_OUT):
            pair = self.generate(rng)
            if _is_held_out(pair.source):
                found.setdefault(pair.source, pair)
                if len(found) == MAX_HELD_OUT:
                    break
            else:
                some_to_train_on = True
        if not found or not some_to_train_on:
            field = "digits" if settings.task == "addition" else "length"
            raise SettingsError(
                f"--{field} {getattr(settings, field)} leaves too few different sources to hold some out; use a larger one", field
            )
        return list(found.values())


class Letters(GeneratedProblem):
    """Reverse, copy and sort."""

    def __init__(self, settings: Seq2SeqSettings) -> None:
        self.task, self.length, self.letters = settings.task, settings.length, string.ascii_lowercase[: settings.symbols]
        self.goal = {"reverse": "letters in reverse", "copy": "the same letters", "sort": "letters in order"}[self.task]
        name = f"{self.task} of 1 to {self.length} letters"
        super().__init__(settings, self.letters, (self.length, self.length), f"{name} out of {settings.symbols}")

    def generate(self, rng: random.Random) -> Pair:
        source = "".join(rng.choices(self.letters, k=rng.randint(1, self.length)))
        return Pair(source, self.target(source))

    def target(self, source: str) -> str:
        return source[::-1] if self.task == "reverse" else source if self.task == "copy" else "".join(sorted(source))


class Addition(GeneratedProblem):
    """The sum of two written numbers."""

    def __init__(self, settings: Seq2SeqSettings) -> None:
        self.digits, self.units_first = settings.digits, settings.sum_order == "units-first"
        self.goal = "the sum, units first" if self.units_first else "the sum"
        order = ", the units said first" if self.units_first else ""
        super().__init__(
            settings,
            string.digits + "+",
            (2 * self.digits + 1, self.digits + 1),
            f"sums of two numbers of up to {self.digits} digits{order}",
        )

    def generate(self, rng: random.Random) -> Pair:
        one, other = rng.randrange(10**self.digits), rng.randrange(10**self.digits)
        return Pair(f"{one}+{other}", self._written(one + other))

    def _written(self, total: int) -> str:
        return str(total)[::-1] if self.units_first else str(total)

    def tidy(self, source: str) -> str:
        return "".join(source.split())

    def target(self, source: str) -> str | None:
        parts = source.split("+")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 100 for part in parts):
            return None
        return self._written(int(parts[0]) + int(parts[1]))


class Dates(GeneratedProblem):
    """Dates in words to ISO dates."""

    def __init__(self, settings: Seq2SeqSettings) -> None:
        self.goal = "the date in digits"
        name = f"dates in words from {dates.FIRST.year} to {dates.LAST.year}, in {len(dates.FORMS)} forms"
        super().__init__(settings, "".join(dates.ALPHABET), (dates.LONGEST, 10), name)

    def generate(self, rng: random.Random) -> Pair:
        return Pair(*dates.draw(rng))

    def target(self, source: str) -> str | None:
        return dates.read(source)


class OwnPairs(Problem):
    """The user's own pairs. With a checkpoint's `assets`, its vocabulary is used, and the model can be asked when the file is gone."""

    def __init__(self, settings: Seq2SeqSettings, assets: dict[str, Any] | None) -> None:
        stored = None if assets is None else _Stored.of(assets, settings.data)
        kind = type(stored.tokenizer) if stored else TOKENIZERS[settings.tokens]
        vocabulary = stored.tokenizer.vocabulary if stored else None
        self.dataset: PairCorpus | Missing
        known: PairCorpus | _Stored
        try:
            corpus = open_pairs(Path(settings.data), kind, vocab_size=settings.vocab_size, vocabulary=vocabulary)
            known = self.dataset = stored.fitted(corpus) if stored and settings.positions == "learned" else corpus
            train, self.held_out = known.train, known.held_out
        except DataError as error:
            if stored is None:
                raise
            known, self.dataset = stored, Missing("pairs", str(error), assets or {})
            train, self.held_out = [], []
        self.tokenizer, self.source_length, self.target_length = known.tokenizer, known.source_length, known.target_length
        self._targets = {normalised(pair.source, kind): pair.target for pair in [*self.held_out, *train]}

    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        return rng.choices(present(self.dataset).train, k=count)

    def target(self, source: str) -> str | None:
        return self._targets.get(normalised(source, type(self.tokenizer)))


@dataclasses.dataclass(frozen=True)
class _Stored:
    """What a checkpoint knows of the pairs that it was trained on."""

    tokenizer: Tokenizer
    source_length: int
    target_length: int

    @classmethod
    def of(cls, assets: dict[str, Any], data: str) -> _Stored:
        """From a checkpoint's assets. Raises `DataError` when they are missing or damaged."""
        if not assets:
            raise DataError(
                f"the checkpoint was trained on generated pairs and has no vocabulary for {clean(data, 300)}; "
                "leave out --data, or train on that file without --from"
            )
        kind = TOKENIZERS.get(str(assets.get("tokens")))
        if kind is None:
            raise DataError("the checkpoint's vocabulary is missing or damaged; use another checkpoint")
        return cls(kind.from_assets(assets), _stored_length(assets, "source_length"), _stored_length(assets, "target_length"))

    def fitted(self, corpus: PairCorpus) -> PairCorpus:
        """The corpus with the lengths stored here. Raises `DataError` when its pairs are longer than the checkpoint's learned positions."""
        room = max(self.source_length, self.target_length + 1)
        if max(corpus.source_length, corpus.target_length + 1) <= room:
            return dataclasses.replace(corpus, source_length=self.source_length, target_length=self.target_length)
        kind = type(corpus.tokenizer)
        longest = max((side for pair in [*corpus.train, *corpus.held_out] for side in pair), key=lambda side: count_tokens(side, kind))
        raise DataError(
            f"{corpus.name}: {clean(longest, 30)!r} has {count_tokens(longest, kind):,} {kind.noun}, and the checkpoint's learned "
            f"positions have room for {room - 2:,}; give shorter pairs, or train on these without --from"
        )


def open_problem(settings: Seq2SeqSettings, assets: dict[str, Any] | None = None) -> Problem:
    """The problem that the settings name. Raises `DataError` and `SettingsError`."""
    if settings.data != GENERATED:
        return OwnPairs(settings, assets)
    kinds: dict[str, type[Letters | Addition | Dates]] = {"addition": Addition, "dates": Dates}
    return kinds.get(settings.task, Letters)(settings)


def _stored_length(assets: dict[str, Any], name: str) -> int:
    length = assets.get(name)
    if not isinstance(length, int) or not 2 <= length <= MAX_TOKENS + 1:
        raise DataError(f"the checkpoint's {name} {length!r} is missing or damaged; use another checkpoint")
    return length


def _is_held_out(source: str) -> bool:
    return uniform_hash(source) < HELD_OUT
