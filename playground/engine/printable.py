"""Text from files, environments and errors, made safe to print: what a terminal would obey is shown instead."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and line ends, marks that turn the direction of a line, and surrogates, which no encoding takes."""


def printable(text: str) -> str:
    r"""`text` with unsafe characters as `\u001b` and the like, which in a line of JSON is the same character."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def escaped(error: UnicodeError) -> tuple[str, int]:
    r"""A codec's error handler: what an encoding lacks as `\u00e9`, in UTF-16's pairs, which in a line of JSON is the same character."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)), error.end


_ADDRESS = re.compile(r"postgres(?:ql)?(?:\+\w*)?:/\S*")


def without_address(text: str) -> str:
    """`text` with `postgresql://…` in place of every address of a database, whose password nobody else should read."""
    return _ADDRESS.sub("postgresql://…", text)
