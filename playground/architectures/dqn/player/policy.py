"""The greedy policy of a Q-network. For one observation most of the time goes into calls, not into arithmetic, so few are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlplay.architectures.dqn.model import QNetwork


class GreedyPolicy:
    """Takes observations as numpy arrays. It shares the network's parameters, so it is never out of date."""

    def __init__(self, net: QNetwork, device: torch.device) -> None:
        self.net, self.device = net, device
        self._there: tuple[NDArray[Any], Tensor] | None = None
        self._fast = net.kind == "vector" and device.type == "cpu" and not net.dueling
        if self._fast:
            layers = [layer for layer in (*net.body, net.head) if isinstance(layer, nn.Linear)]
            parameters = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
            self._hidden, self._head = parameters[:-1], parameters[-1]

    def has(self, observations: NDArray[Any], there: Tensor) -> None:
        """These observations (B, *shape) are on the device already: when they are asked about they need not be copied."""
        self._there = observations.copy(), there

    def action(self, observation: NDArray[Any]) -> int:
        """The best action for one observation (*shape)."""
        if self._fast:
            x = torch.from_numpy(observation)
            if self.net.scaled:
                x = (x - self.net.centre) / self.net.reach
            for weight, bias in self._hidden:
                x = torch.addmv(bias, weight, x).relu_()
            weight, bias = self._head
            return int(torch.addmv(bias, weight, x).argmax())
        return int(self.actions(observation[None])[0])

    def actions(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """The best action (B,) for each observation (B, *shape)."""
        best: NDArray[np.int64] = self.q_values(observations).argmax(1)
        return best

    def q_values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Q-values (B, A) of observations (B, *shape)."""
        if self._there is not None and np.array_equal(observations, self._there[0]):
            there = self._there[1]
        else:
            there = torch.from_numpy(observations).to(self.device, non_blocking=True)
        with torch.no_grad():
            values: NDArray[np.float32] = self.net(there).cpu().numpy()
        return values
