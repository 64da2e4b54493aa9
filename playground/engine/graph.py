"""A forward pass to export: a module with named inputs and outputs, some of them with dynamic axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Graph:
    """One forward pass, such as that of a GAN's generator."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    """An example of each argument of `module.forward`, by name and in order, with a batch of two or more."""
    outputs: tuple[str, ...]
    """Names of what it returns: one tensor, or a tuple of them."""
    free: Mapping[str, Mapping[int, str]]
    """Dynamic axes of the inputs, whose length may differ from the example, with a name each: `{"tokens": {0: "batch", 1: "time"}}`."""
