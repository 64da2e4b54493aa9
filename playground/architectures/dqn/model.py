"""A Q-network after Mnih et al. (2015): the value of every action in what is observed."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Observed(NamedTuple):
    """What an environment lets its agent see."""

    kind: Literal["vector", "state", "image"]
    """Numbers; the number of a state; or a picture in bytes."""
    shape: tuple[int, ...]
    """(n,) numbers; () for the number of a state; (C, H, W) of a picture."""
    states: int = 0
    """How many states there are."""


class QNetwork(nn.Module):
    """Values of all actions; dueling nets (Wang et al., 2016) add the value of the state and each action's advantage over their mean.

    `centre` and `reach` (n,) bring observed numbers to about -1 to 1; they are buffers, so that weights and scale travel together.
    """

    centre: Tensor
    reach: Tensor

    def __init__(
        self,
        observed: Observed,
        actions: int,
        hidden: tuple[int, ...],
        dueling: bool = False,
        centre: Tensor | None = None,
        reach: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.scaled = centre is not None and reach is not None
        if centre is not None and reach is not None:
            self.register_buffer("centre", centre)
            self.register_buffer("reach", reach)
        self.kind, self.states = observed.kind, observed.states
        if self.kind == "image":
            self.convolutions = convolutions(observed.shape)
            with torch.no_grad():
                width = self.convolutions(torch.zeros(1, *observed.shape)).flatten(1).shape[1]
        else:
            width = self.states or math.prod(observed.shape)
        layers: list[nn.Module] = []
        for units in hidden:
            if units:
                layers += [nn.Linear(width, units), nn.ReLU()]
                width = units
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, actions)
        self.state_value = nn.Linear(width, 1) if dueling else None

    def features(self, observations: Tensor) -> Tensor:
        """What the last layer reads, (B, width), of observations (B, *shape)."""
        if self.kind == "state":
            x = F.one_hot(observations.long(), self.states).float()  # (B, states)
        elif self.kind == "image":
            x = self.convolutions(observations.float() / 255).flatten(1)
        else:
            x = (observations - self.centre) / self.reach if self.scaled else observations
        features: Tensor = self.body(x)
        return features

    def forward(self, observations: Tensor) -> Tensor:
        """Values (B, actions)."""
        features = self.features(observations)
        values: Tensor = self.head(features)
        if self.state_value is None:
            return values
        state: Tensor = self.state_value(features)
        return state + values - values.mean(1, keepdim=True)


def convolutions(shape: tuple[int, ...]) -> nn.Sequential:
    """The layers of Mnih et al. (2015) for pictures of 36 pixels and more, smaller kernels for those that these would not fit into."""
    channels, height, width = shape
    kernels: tuple[tuple[int, int, int], ...]
    if min(height, width) >= 36:
        kernels = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    else:
        kernels = ((16, 3, 1), (32, 3, 2)) if min(height, width) >= 5 else ((16, 1, 1),)
    layers: list[nn.Module] = []
    for outputs, kernel, stride in kernels:
        layers += [nn.Conv2d(channels, outputs, kernel, stride), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers)
