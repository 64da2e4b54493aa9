"""The architectures, one room each. This is the only place that looks for them; no other folder names one."""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil

from dlplay.engine.card import Card


@functools.cache
def cards() -> dict[str, Card]:
    """Every architecture's card by its name, in the order of the tabs."""
    found = [importlib.import_module(f"{__name__}.{room.name}").card for room in pkgutil.iter_modules(__path__) if room.ispkg]
    return {card.name: card for card in sorted(found, key=lambda card: (card.order, card.name))}


def card(name: str) -> Card:
    """The card called `name`. Raises `KeyError` with the nearest name in words."""
    known = cards()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise KeyError(f"there is no architecture {name!r}; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"))
