"""Interventions: what is done to a part of a model while it is looked at, as a person writes it. Imports no torch.

    blocks.1.head.3=mean               one attention head, replaced by its mean over held-out data
    blocks.0.feed_forward[17]*2        one unit of a module's output, doubled
    convolutions.2[0:4,7]=0            channels 0 to 3 and 7, ablated
    blocks.1@-1+0.5                    every unit at the last position, 0.5 added
    encoder.0~0.1                      Gaussian noise of standard deviation 0.1 added
    blocks.2=skip                      the module hands on its input
    blocks.0@3=from prompt: the cat    the activation that another input has there; in quotes where it has a ;
    tokens["the"]=0                    the embedding of a word, wherever it is read; ["the","a"] are two of them
    rnn.layers.0[17]=0                 one unit of a recurrent layer, at each step, so that it goes on through time
    rnn.layers.0.forget_gate=1         a gate of it; and an LSTM's cell, rnn.layers.0.cell
    blocks.*.memory@-3=0               the third token back in the memory of every layer; * is any name

Several are parted by `;` and are done in their order, each to what the one before has left.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Literal

from dlplay.engine.errors import SettingsError

LONGEST = 2000
"""Characters of all interventions together, at most."""
MOST = 64
"""Interventions at once, at most."""

_WORD = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_WORDS = rf"\[\s*{_WORD}(?:\s*,\s*{_WORD})*\s*\]"
_EACH = re.compile(rf"(?:{_WORDS}|:\s*{_WORD}(?=\s*(?:;|$))|[^;])+", re.DOTALL)
"""What stands between two `;`, of which those in a quoted word, or in another input that is quoted as a whole, are none."""
_FORM = re.compile(
    rf"(?P<part>[A-Za-z_]\w*(?:\.(?:-?\w+|\*))*)\s*(?P<words>{_WORDS})?\s*(?:\[(?P<units>[^\]]*)\])?\s*"
    r"(?:@(?P<positions>[^=*+~]*?))?\s*(?P<sign>[=*+~])\s*(?P<value>.+)",
    re.DOTALL,
)
_RANGE = re.compile(r"(-?\d{1,9})(?::(-?\d{1,9}))?")
_SOURCE = re.compile(r"from\s+([a-z_][a-z0-9_]*)\s*:\s*(.*)", re.DOTALL)
_EXAMPLE = "write it like PART=0, PART[17]*2 or PART@-1=mean, with a part that the panel anatomy names"

Range = tuple[int, int | None]
"""First and, if it is a range, the end that is left out."""


@dataclasses.dataclass(frozen=True)
class Intervention:
    """One of them."""

    part: str
    """A module's path, or `PATH.head.N` for an attention head, `PATH.layers.N` for a layer of a recurrent module or `PATH.layers.N.GATE`
    for a gate of it; a number in it may count from the end, as in `blocks.-1`, and a `*` between dots is any name."""
    kind: Literal["set", "scale", "add", "noise", "mean", "skip", "patch"]
    value: float = 0.0
    """The number set, multiplied with, added, or the noise's standard deviation."""
    units: tuple[Range, ...] = ()
    """Of the output: channels of feature maps, otherwise the last dimension; none: all."""
    positions: tuple[Range, ...] = ()
    """In the sequence, from 0, or from -1 backwards; none: all."""
    source: tuple[str, str] = ("", "")
    """For a patch: the option of the panel that is another, and its value."""
    words: tuple[str, ...] = ()
    """Of a token embedding: the places where one of these is read; none: all."""

    def __str__(self) -> str:
        words = f"[{','.join(map(quoted, self.words))}]" if self.words else ""
        units = f"[{_ranges(self.units)}]" if self.units else ""
        positions = f"@{_ranges(self.positions)}" if self.positions else ""
        done = {
            "set": f"={self.value:.10g}",
            "scale": f"*{self.value:.10g}",
            "add": f"+{self.value:.10g}",
            "noise": f"~{self.value:.10g}",
            "patch": f"=from {self.source[0]}: {_quoted_if_needed(self.source[1])}",
        }.get(self.kind, f"={self.kind}")
        return f"{self.part}{words}{units}{positions}{done}"


def parse(text: str) -> tuple[Intervention, ...]:
    """The interventions of a text; none of an empty one. Raises `SettingsError` for field `do`."""
    if len(text) > LONGEST:
        raise SettingsError(f"--do has {len(text):,} characters; use {LONGEST:,} at most", "do")
    found = tuple(_one(part.strip()) for part in _EACH.findall(text) if part.strip())
    if len(found) > MOST:
        raise SettingsError(f"--do has {len(found)} interventions; use {MOST} at most", "do")
    return found


def parse_lasting(text: str) -> tuple[Intervention, ...]:
    """Interventions that training can run with: numbers, which need no data and no random generator. Raises `SettingsError`."""
    try:
        found = parse(text)
    except SettingsError as error:
        raise SettingsError(str(error).replace("--do", "--train-with", 1), "train_with") from None
    for each in found:
        if each.kind == "skip" and ".head." in each.part:
            raise SettingsError(f"--train-with {each}: a head is not skipped; set it to 0", "train_with")
        if each.kind not in ("set", "scale", "add", "skip"):
            raise SettingsError(f"--train-with {each}: training runs with =NUMBER, *NUMBER, +NUMBER or =skip alone", "train_with")
    return found


def written(interventions: tuple[Intervention, ...]) -> str:
    """Inverse of `parse`."""
    return "; ".join(map(str, interventions))


def _one(text: str) -> Intervention:
    match = _FORM.fullmatch(text)
    if match is None:
        raise SettingsError(f"--do {text[:80]!r} is no intervention; {_EXAMPLE}", "do")
    units, positions = (_parse_ranges(text, match[name]) for name in ("units", "positions"))
    part, sign, value = match["part"], match["sign"], match["value"].strip()
    words = tuple(map(_unquoted, re.findall(_WORD, match["words"] or "", re.DOTALL)))
    if sign == "=" and value in ("mean", "skip"):
        if value == "skip" and (words or units or positions):
            raise SettingsError(f"--do {text[:80]!r}: a whole module is skipped; leave out what stands in [ ] and behind @", "do")
        return Intervention(part, "mean" if value == "mean" else "skip", units=units, positions=positions, words=words)
    if sign == "=" and value.startswith("from"):
        source = _SOURCE.fullmatch(value)
        if source is None:
            raise SettingsError(f"--do {text[:80]!r}: another input is named like =from prompt: the cat", "do")
        other = source[2].strip()
        other = _unquoted(other) if re.fullmatch(_WORD, other, re.DOTALL) else other
        return Intervention(part, "patch", units=units, positions=positions, source=(source[1], other), words=words)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e6:
        raise SettingsError(f"--do {text[:80]!r}: {value[:40]!r} is no number from -1e6 to 1e6, nor mean or skip; {_EXAMPLE}", "do")
    if sign == "~" and number < 0:
        raise SettingsError(f"--do {text[:80]!r}: a standard deviation is not negative", "do")
    kinds: dict[str, Literal["set", "scale", "add", "noise"]] = {"=": "set", "*": "scale", "+": "add", "~": "noise"}
    return Intervention(part, kinds[sign], number, units, positions, words=words)


def quoted(word: str) -> str:
    """A word as it stands in [ ]."""
    for char, written in _ESCAPED.items():
        word = word.replace(char, f"\\{written}")
    return f'"{word}"'


def _quoted_if_needed(text: str) -> str:
    """Another input: in quotes where it would be read otherwise without."""
    return quoted(text) if ";" in text or text != text.strip() or re.fullmatch(_WORD, text, re.DOTALL) else text


def _unquoted(text: str) -> str:
    meant = {written: char for char, written in _ESCAPED.items()}
    return re.sub(r"\\(.)", lambda match: meant.get(match[1], match[1]), text[1:-1], flags=re.DOTALL)


_ESCAPED = {"\\": "\\", '"': '"', "\n": "n", "\t": "t", "\r": "r"}
"""Characters of a quoted word, the backslash first, and what stands for them behind a backslash."""


def _parse_ranges(text: str, ranges: str | None) -> tuple[Range, ...]:
    """`0:4,7` as ((0, 4), (7, None))."""
    if ranges is None:
        return ()
    found = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise SettingsError(f"--do {text[:80]!r}: {part.strip()[:20]!r} is no number and no range like 0:4, nor words in quotes", "do")
        found.append((int(match[1]), None if match[2] is None else int(match[2])))
    return tuple(found)


def _ranges(ranges: tuple[Range, ...]) -> str:
    return ",".join(str(first) if end is None else f"{first}:{end}" for first, end in ranges)


def indices(ranges: tuple[Range, ...], count: int, where: str) -> list[int]:
    """The units that ranges mean among the `count` of an address; all without ranges. Raises `SettingsError` for one that is not there."""
    if not ranges:
        return list(range(count))
    found: dict[int, None] = {}
    for first, end in ranges:
        for index in [first] if end is None else range(first, end):
            if not -count <= index < count:
                raise SettingsError(f"--do: there is no unit {index} of {where}; there are {count}, from 0 to {count - 1}", "do")
            found[index % count] = None
    if not found:
        raise SettingsError(f"--do: [{_ranges(ranges)}] is empty; a range ends before its second number", "do")
    return list(found)
