"""Samples from the same latents at a few moments of the training, spread evenly over all of it however long it gets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MOMENTS = 12
FIRST_GAP = 10
"""Steps between the first moments; it doubles whenever there are too many of them."""


class Memory:
    """What came out of the fixed latents, and when."""

    def __init__(self) -> None:
        self.gap = FIRST_GAP
        self.steps: list[int] = []
        self.samples: list[Tensor] = []  # (latents, *shape) each

    def due(self, step: int) -> bool:
        """Whether this step is a moment to remember."""
        return step % self.gap == 0 and (not self.steps or self.steps[-1] < step)

    def add(self, step: int, samples: Tensor) -> None:
        """Remember; every second moment is given up when there are too many."""
        self.steps.append(step)
        self.samples.append(samples)
        if len(self.steps) > MOMENTS:
            self.gap *= 2
            kept = [index for index, at in enumerate(self.steps) if at % self.gap == 0]
            self.steps, self.samples = [self.steps[i] for i in kept], [self.samples[i] for i in kept]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"gap": self.gap, "steps": list(self.steps), **({"samples": torch.stack(self.samples)} if self.samples else {})}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Inverse of `state`."""
        self.gap, self.steps = int(state["gap"]), [int(step) for step in state["steps"]]
        self.samples = [*state["samples"].to(device).clone()] if self.steps else []
