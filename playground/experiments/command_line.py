"""Settings as the command line that a person would type."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from dlplay.engine.card import Card
from dlplay.engine.settings import fields, show, to_dict


def command_line(card: Card, settings: Mapping[str, Any], origin: str, *first: str) -> str:
    """`dlplay ARCH` with the words `first`, where the weights come from, and every setting that is not at its default."""
    defaults = to_dict(card.settings())
    words = ["dlplay", card.name, *first, *(["--from", origin] if origin else [])]
    for item in fields(card.settings):
        value = settings.get(item.name, defaults[item.name])
        if msgspec.json.encode(value) == msgspec.json.encode(defaults[item.name]):
            continue
        if isinstance(value, bool):
            words.append(item.flag if value else "--no-" + item.flag.removeprefix("--"))
        else:
            words += [item.flag, repr(value) if isinstance(value, float) else show(value)]
    return shlex.join(words)
