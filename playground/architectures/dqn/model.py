"""A Q-network after Mnih et al. (2015): the value Q(s, a) of every action in an observation.

In the comments B is the batch, A the number of actions.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ObservationSpec(NamedTuple):
    """What one observation is."""

    kind: Literal["vector", "state", "image"]
    """Numbers (float32); the index of a discrete state (int32); or pixels (uint8)."""
    shape: tuple[int, ...]
    """(n,) of a vector; () of a state; (C, H, W) of an image."""
    states: int = 0
    """Number of discrete states."""
    frames: int = 1
    """Frames that are stacked in an image's channels; 1: they are not stacked."""

    @property
    def dtype(self) -> Any:
        """The numpy type."""
        return {"vector": np.float32, "state": np.int32, "image": np.uint8}[self.kind]


class QNetwork(nn.Module):
    """Values of all actions.

    A dueling network (Wang et al., 2016) ends in two streams, each with a hidden layer of its own: one for the value V(s) of the state, one
    for the advantage A(s, a) of each action over the mean action. The last of the `hidden` layers is the streams'; those before are shared.

    `centre` and `reach` (n,), the middle and half the range of each number of a vector, scale it to -1 to 1. They are buffers, so that a
    checkpoint holds the scale with the weights.
    """

    centre: Tensor
    reach: Tensor

    def __init__(
        self,
        observation: ObservationSpec,
        action_count: int,
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
        self.kind, self.states = observation.kind, observation.states
        if self.kind == "image":
            self.convolutions = convolutions(observation.shape)
            with torch.no_grad():
                width = self.convolutions(torch.zeros(1, *observation.shape)).flatten(1).shape[1]
        else:
            width = self.states or math.prod(observation.shape)
        self.dueling = dueling
        layers: list[nn.Module] = []
        for units in hidden[:-1] if dueling else hidden:
            if units:
                layers += [nn.Linear(width, units), nn.ReLU()]
                width = units
        self.body = nn.Sequential(*layers)
        if dueling:
            self.value_stream = stream(width, hidden[-1], 1)
            self.advantage_stream = stream(width, hidden[-1], action_count)
        else:
            self.head = nn.Linear(width, action_count)

    def features(self, observations: Tensor) -> Tensor:
        """The last layer that all actions share, (B, width), of observations (B, *shape)."""
        if self.kind == "state":
            x = F.one_hot(observations.long(), self.states).float()  # (B, states)
        elif self.kind == "image":
            x = self.convolutions(observations.float() / 255).flatten(1)
        else:
            x = (observations - self.centre) / self.reach if self.scaled else observations
        features: Tensor = self.body(x)
        return features

    def value_and_advantages(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """V (B, 1) and A (B, A) of a dueling network; the advantages of a state have a mean of zero."""
        features = self.features(observations)
        advantages: Tensor = self.advantage_stream(features)
        return self.value_stream(features), advantages - advantages.mean(1, keepdim=True)

    def forward(self, observations: Tensor) -> Tensor:
        """Q-values (B, A) of observations (B, *shape)."""
        if self.dueling:
            value, advantages = self.value_and_advantages(observations)
            return value + advantages
        values: Tensor = self.head(self.features(observations))
        return values


def stream(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One stream of a dueling network."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def convolutions(shape: tuple[int, ...]) -> nn.Sequential:
    """The layers of Mnih et al. (2015) for images of at least 36 pixels a side; fewer and smaller kernels for smaller images."""
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
