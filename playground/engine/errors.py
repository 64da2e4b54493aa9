"""Errors caused by what a person gave. The message says what it was, what is allowed and what to do; they are shown without a traceback."""

import difflib
from collections.abc import Iterable

MISFITS = (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError)
"""What code raises that is given values of another kind or size than it saved."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file or value, the limit and what to do."""


def cause(error: BaseException) -> str:
    """The error of somebody's own code and the line it comes from, on one line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace is not None else ""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500] + where


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name."""
    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"


class SettingsError(ValueError):
    """A setting that cannot be used: the words name the value, the bound and the way out."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
