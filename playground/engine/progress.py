"""How far a long answer is: whoever computes it says what is done, whoever waits for it listens. Nothing is said while nobody does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

FIRST, AGAIN = 0.5, 0.2
"""Seconds after which something is said of an answer for the first time, and the least between two times."""


class _Listener:
    """Passes on what is said, as seldom as a person reads."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._due = tell, time.perf_counter() + FIRST

    def hear(self, text: str) -> None:
        now = time.perf_counter()
        if now >= self._due:
            self._due = now + AGAIN
            self._tell(text)


_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[None]:
    """Within it `tell` gets what is said, in a line, once it has taken `FIRST` seconds, and then at most every `AGAIN` seconds."""
    token = _listener.set(_Listener(tell))
    try:
        yield
    finally:
        _listener.reset(token)


def say(text: str) -> None:
    """What is done from now on."""
    if (listener := _listener.get()) is not None:
        listener.hear(text)


def each(items: Collection[T], noun: str) -> Iterator[T]:
    """The items; before each is said which one of how many it is: "head 3 of 144"."""
    for number, item in enumerate(items, 1):
        say(f"{noun} {number:,} of {len(items):,}")
        yield item
