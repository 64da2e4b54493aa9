"""Settings that import code. A checkpoint or a run.json may come from anywhere: what it names is imported once a person has agreed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from dlplay.engine.card import Card
from dlplay.engine.printable import printable
from dlplay.engine.settings import SettingsError, code, field, show


def agreed(card: Card, values: Mapping[str, Any], source: str, way: str = "--trust-code", *, trusted: bool = False) -> dict[str, Any]:
    """Those of the `values` in `source` that name code, when a person wants it imported: they said so before (`trusted`), or say it now
    on the terminal. Raises `SettingsError`, with the `way` to agree, when they do not."""
    named = code(card.settings, values)
    if not named or trusted:
        return named
    flags = " ".join(f"{field(card.settings, name).flag} {' '.join(show(value).split())[:200]}" for name, value in named.items())
    words = f"{source} names code to import, {flags}"
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(printable(f"{words}. It can do whatever you can do. Import it? [y/N] "), end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return named
    raise SettingsError(f"{words}; if you trust it, add {way.format(flags=flags)}, or enter it in the form of the screen")
