"""The weights of layers of low rank (`parts.low_rank`) by name, and as plain ones. Works on arrays and tensors; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BASE, DOWN, UP = "base", "down", "up"
"""The parameters of such a layer, whose weight is base + up @ down."""


def merged(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by name, tensors or arrays, in which layers of low rank are plain ones: their base plus their product. Raises `KeyError` for
    a base that has no product."""
    found = {name: value for name, value in weights.items() if name.rpartition(".")[2] not in (BASE, DOWN, UP)}
    for name, base in weights.items():
        if is_base(name):
            found[plain(name)] = base + weights[beside(name, UP)] @ weights[beside(name, DOWN)]
    return found


def is_base(name: str) -> bool:
    """Whether it is the frozen weight of a layer of low rank."""
    return name.endswith(f".{BASE}")


def plain(name: str) -> str:
    """The name of the weight that a plain layer has in its place."""
    return beside(name, "weight")


def beside(name: str, other: str) -> str:
    """Another parameter of the same layer."""
    return f"{name.rpartition('.')[0]}.{other}"
