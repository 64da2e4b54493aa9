"""A forward pass as it leaves the playground: a module with named inputs and outputs, some of whose axes may have any length."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Graph:
    """One forward pass that can be written down, such as the generator's of a GAN."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    """An example of each argument of `module.forward`, by name and in order; its batch holds at least two."""
    outputs: tuple[str, ...]
    """Names of what it returns: one tensor, or a tuple of them."""
    free: Mapping[str, Mapping[int, str]]
    """Axes of the inputs that may have another length than in the example, with a name for each: `{"tokens": {0: "batch", 1: "time"}}`."""
