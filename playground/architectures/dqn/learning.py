"""What the values are moved towards, and how far they are from it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.dqn.model import QNetwork
from dlplay.architectures.dqn.replay import Batch


class Transitions(NamedTuple):
    """A `Batch` on the device."""

    observations: Tensor  # (B, *shape)
    actions: Tensor  # (B,)
    returns: Tensor  # (B,)
    following: Tensor  # (B, *shape)
    discounts: Tensor  # (B,)


def on_device(batch: Batch, device: torch.device) -> Transitions:
    """The arrays as tensors."""
    tensors = (torch.from_numpy(array) for array in batch)
    return Transitions(*(tensors if device.type == "cpu" else (tensor.to(device, non_blocking=True) for tensor in tensors)))


@torch.no_grad()
def goals(batch: Transitions, net: QNetwork, target: QNetwork, double: bool) -> Tensor:
    """What each value should be, (B,): the rewards, and for the rest the target net's value of what follows.

    The best action there is chosen by the target net as well (Mnih et al., 2015), or by the trained one (`double`, van Hasselt et al.,
    2016). Behind a termination nothing follows; behind a time limit the episode would have gone on, so its value counts.
    """
    values = target(batch.following)  # (B, actions)
    if double:
        best = net(batch.following).argmax(1, keepdim=True)
        following = values.gather(1, best)[:, 0]
    else:
        following = values.amax(1)
    return torch.addcmul(batch.returns, batch.discounts, following)


def distance(values: Tensor, wanted: Tensor, kind: str, weights: Tensor | None = None) -> Tensor:
    """Mean Huber (with its bend at 1) or squared distance of (B,) from (B,), each weighted."""
    function = F.smooth_l1_loss if kind == "huber" else F.mse_loss
    if weights is None:
        return function(values, wanted)
    return (function(values, wanted, reduction="none") * weights).mean()


def blend(target: list[Tensor], trained: list[Tensor], share: float) -> None:
    """Move the target net's parameters by `share` of the way; 1 copies."""
    if share >= 1:
        torch._foreach_copy_(target, trained)
    else:
        torch._foreach_lerp_(target, trained, share)
