"""Conditions over metrics, as the claims of lessons are written.

    conv.test_accuracy >= plain.test_accuracy + 0.5
    long.test_mse <= 0.2 * long.test_mse[PCA, the linear optimum]
    modes_covered <= 4 after 1000 steps
    gates.test_mse == 0 within 0.001
    max(luck.test_accuracy) - min(luck.test_accuracy) >= 0.01

A quantity is a run's metric (`RUN.METRIC`; in a lesson with one run its metric alone), the baseline of a metric (its name in brackets), or
what a step read from a panel (the name that it was given). Of a metric the last value counts, or with `after N steps` the last one up to
that step; of several seeds the median, or what `min` and `max` say. `within` is the tolerance: how far a value may be beyond the bound.
"""

from __future__ import annotations

import dataclasses
import operator
import re
import statistics
from collections.abc import Callable, Iterator, Sequence


class ConditionError(ValueError):
    """A text that is no condition: the words say what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number that is looked up: of a run, or what was read from a panel (`run` and `baseline` are empty then)."""

    run: str
    metric: str
    baseline: str = ""
    of_seeds: str = ""
    """`min`, `max`, or empty for the median."""

    def __str__(self) -> str:
        words = f"{self.run}.{self.metric}" if self.run else self.metric
        words += f"[{self.baseline}]" if self.baseline else ""
        return f"{self.of_seeds}({words})" if self.of_seeds else words


Look = Callable[[Quantity, int | None], Sequence[float] | None]
"""The values of a quantity, one for each seed, up to a step; None while there are none."""


@dataclasses.dataclass(frozen=True)
class Term:
    """`factor` times a quantity; without a quantity, the factor itself."""

    factor: float
    quantity: Quantity | None

    def value(self, look: Look, after: int | None) -> float | None:
        if self.quantity is None:
            return self.factor
        values = look(self.quantity, after)
        if not values:
            return None
        choose: Callable[[Sequence[float]], float] = {"min": min, "max": max}.get(self.quantity.of_seeds, statistics.median)
        return self.factor * choose(values)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a condition. `holds` is None while a value is missing."""

    holds: bool | None
    left: float | None
    right: float | None
    values: dict[str, float]
    """Every quantity in it, as it was found."""


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """A comparison of two sums."""

    text: str
    left: tuple[Term, ...]
    comparison: str
    right: tuple[Term, ...]
    tolerance: float = 0.0
    after: int | None = None
    """The step whose values count; None: the last one."""

    @property
    def quantities(self) -> list[Quantity]:
        return [term.quantity for term in (*self.left, *self.right) if term.quantity is not None]

    def judge(self, look: Look) -> Verdict:
        """Whether it holds, by the values that `look` finds. A value that is no number (NaN) holds nothing."""
        values = {str(one): found for one in self.quantities if (found := Term(1.0, one).value(look, self.after)) is not None}
        left, right = (_total(side, look, self.after) for side in (self.left, self.right))
        if left is None or right is None:
            return Verdict(None, left, right, values)
        return Verdict(self._compare(left, right), left, right, values)

    def _compare(self, left: float, right: float) -> bool:
        if self.comparison == "==":
            return abs(left - right) <= self.tolerance
        slack = self.tolerance if self.comparison.startswith("<") else -self.tolerance
        return COMPARISONS[self.comparison](left, right + slack)


def _total(side: Sequence[Term], look: Look, after: int | None) -> float | None:
    values = [term.value(look, after) for term in side]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


# --- reading ------------------------------------------------------------------------------------------------------------------------

LONGEST = 300
"""Characters of a condition."""
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?)|(?P<name>[a-z][a-z0-9_]*)|\[(?P<baseline>[^\[\]]+)\]|(?P<sign><=|>=|==|[-<>+*().]))"
)
_Tokens = list[tuple[str, str]]


def parse(text: str) -> Condition:
    """The condition that a text is. Raises `ConditionError`."""
    if len(text) > LONGEST:
        raise ConditionError(f"a condition of {len(text)} characters; use {LONGEST} at most")
    reader = _Reader(text)
    left = reader.sum()
    comparison = reader.take("sign")
    if comparison not in (*COMPARISONS, "=="):
        raise reader.error("a comparison (<= >= < > ==)", comparison)
    right = reader.sum()
    tolerance, after = 0.0, None
    if reader.next_is("name", "within"):
        tolerance = float(reader.take("number"))
    elif comparison == "==":
        raise ConditionError(f"{text!r}: == needs a tolerance, such as within 0.01")
    if reader.next_is("name", "after"):
        words = reader.take("number")
        if not words.isdecimal():
            raise ConditionError(f"{text!r}: after {words} is no whole number of steps")
        after = int(words)
        reader.expect("name", "steps")
    if reader.left:
        raise reader.error("the end", reader.left[0][1])
    return Condition(text, left, comparison, right, tolerance, after)


class _Reader:
    """The tokens of a condition, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.left: _Tokens = list(_tokens(text))

    def error(self, wanted: str, found: str) -> ConditionError:
        return ConditionError(f"{self.text!r}: {wanted} is expected where {found or 'the text ends'!r} stands")

    def take(self, kind: str) -> str:
        if not self.left or self.left[0][0] != kind:
            raise self.error(f"a {kind}", self.left[0][1] if self.left else "")
        return self.left.pop(0)[1]

    def expect(self, kind: str, word: str) -> None:
        if not self.next_is(kind, word):
            raise self.error(repr(word), self.left[0][1] if self.left else "")

    def next_is(self, kind: str, word: str) -> bool:
        if self.left[:1] != [(kind, word)]:
            return False
        del self.left[0]
        return True

    def sum(self) -> tuple[Term, ...]:
        terms = [self.term(-1.0 if self.next_is("sign", "-") else 1.0)]
        while (minus := self.next_is("sign", "-")) or self.next_is("sign", "+"):
            terms.append(self.term(-1.0 if minus else 1.0))
        return tuple(terms)

    def term(self, sign: float) -> Term:
        if self.left and self.left[0][0] == "number":
            factor = sign * float(self.take("number"))
            return Term(factor, self.quantity() if self.next_is("sign", "*") else None)
        return Term(sign, self.quantity())

    def quantity(self) -> Quantity:
        name = self.take("name")
        if name in ("min", "max") and self.next_is("sign", "("):
            inner = self.quantity()
            self.expect("sign", ")")
            return dataclasses.replace(inner, of_seeds=name)
        run, metric = (name, self.take("name")) if self.next_is("sign", ".") else ("", name)
        baseline = self.take("baseline").strip() if self.left and self.left[0][0] == "baseline" else ""
        return Quantity(run, metric, baseline)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ConditionError(f"{text!r}: {text[at:].strip()[:20]!r} is no part of a condition")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()
