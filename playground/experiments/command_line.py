"""Settings as the command line that a person would type."""

from __future__ import annotations

import shlex
from collections.abc import Container, Mapping
from typing import Any

import msgspec

from dlplay.engine.card import Card
from dlplay.engine.settings import COMMON, fields, show, to_dict


def command_line(card: Card, settings: Mapping[str, Any], origin: str, *first: str) -> str:
    """`dlplay ARCH` with the words `first` and those of `flags`."""
    return shlex.join(["dlplay", card.name, *first, *flags(card, settings, origin)])


def flags(card: Card, settings: Mapping[str, Any], origin: str, without: Container[str] = ()) -> list[str]:
    """Where the weights come from, and the settings that would have another value if they were left out; none that is named in `without`.

    A setting that is left out has its default, but where the weights come from a checkpoint, the architecture's own have the checkpoint's.
    """
    defaults = to_dict(card.settings())
    words = ["--from", origin] if origin else []
    for item in fields(card.settings):
        value = settings.get(item.name, defaults[item.name])
        default = msgspec.json.encode(value) == msgspec.json.encode(defaults[item.name])
        if item.name in without or (default and (not origin or item.name in COMMON or item.code)):
            continue
        if isinstance(value, bool):
            words.append(item.flag if value else "--no-" + item.flag.removeprefix("--"))
        else:
            words += [item.flag, repr(value) if isinstance(value, float) else show(value)]
    return words
