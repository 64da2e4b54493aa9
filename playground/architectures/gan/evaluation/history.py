"""Samples from the same latents at a few steps, spread evenly over the training however long it gets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MAX_SNAPSHOTS = 12
FIRST_INTERVAL = 10
"""Steps between the first snapshots; the interval doubles whenever there are too many of them."""


class SampleHistory:
    """Snapshots of the samples, and the steps that they were taken at."""

    def __init__(self) -> None:
        self.interval = FIRST_INTERVAL
        self.steps: list[int] = []
        self.samples: list[Tensor] = []  # (latents, *shape) each

    def due(self, step: int) -> bool:
        """Whether a snapshot is taken at this step."""
        return step % self.interval == 0 and (not self.steps or self.steps[-1] < step)

    def add(self, step: int, samples: Tensor) -> None:
        """Add a snapshot (latents, *shape); every second one is dropped when there are too many."""
        self.steps.append(step)
        self.samples.append(samples)
        if len(self.steps) > MAX_SNAPSHOTS:
            self.interval *= 2
            kept = [index for index, at in enumerate(self.steps) if at % self.interval == 0]
            self.steps, self.samples = [self.steps[i] for i in kept], [self.samples[i] for i in kept]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"gap": self.interval, "steps": list(self.steps), **({"samples": torch.stack(self.samples)} if self.samples else {})}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up what `state_dict` returned."""
        self.interval, self.steps = int(state["gap"]), [int(step) for step in state["steps"]]
        self.samples = [*state["samples"].to(device).clone()] if self.steps else []
