"""The values of what is seen now, as quickly as the device gives them: a single small forward pass is mostly calls, so few are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlplay.architectures.dqn.model import QNetwork


class Actor:
    """Reads a net's values from observations in numpy. Holds its weights as they are, so it is never out of date."""

    def __init__(self, net: QNetwork, device: torch.device) -> None:
        self.net, self.device = net, device
        self.quick = net.kind == "vector" and device.type == "cpu" and net.state_value is None
        self.layers: list[tuple[Tensor, Tensor]] = [
            (layer.weight.detach(), layer.bias.detach()) for layer in net.body if isinstance(layer, nn.Linear)
        ]
        self.last = (net.head.weight.detach(), net.head.bias.detach())

    def greedy(self, observation: NDArray[Any]) -> int:
        """The best action for one observation."""
        if self.quick:
            x = torch.from_numpy(observation)
            if self.net.scaled:
                x = (x - self.net.centre) / self.net.reach
            for weight, bias in self.layers:
                x = torch.addmv(bias, weight, x).relu_()
            weight, bias = self.last
            return int(torch.addmv(bias, weight, x).argmax())
        return int(self.values(observation[None])[0].argmax())

    def values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Values (B, actions) of observations (B, *shape)."""
        with torch.no_grad():
            values: NDArray[np.float32] = self.net(torch.from_numpy(observations).to(self.device)).cpu().numpy()
        return values
