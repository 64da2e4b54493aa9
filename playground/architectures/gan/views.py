"""Views of the plane that several panels share: where it is looked at, and the discriminator's surface over it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dlplay.architectures.gan.examples import Examples
from dlplay.engine.panels import Array

Bounds = tuple[float, float, float, float]
"""Left, right, bottom, top."""

ROWS, COLUMNS = 36, 48
LONGEST_ARROW = 0.2
"""Of the view's half side."""


def view_of(examples: Examples) -> Bounds:
    """A square around the real points as they were read, with a margin."""
    assert examples.points is not None
    points = examples.points.train
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, 0.65 * float((high - low).max()) or 1.0
    return float(middle[0] - half), float(middle[0] + half), float(middle[1] - half), float(middle[1] + half)


def surface(discriminator: nn.Module, bounds: Bounds, device: torch.device, as_probability: bool) -> Array:
    """The discriminator's output over the view, (rows, columns), top row first."""
    left, right, bottom, top = bounds
    x = left + (right - left) * (torch.arange(COLUMNS) + 0.5) / COLUMNS
    y = top - (top - bottom) * (torch.arange(ROWS) + 0.5) / ROWS
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2).to(device)
    outputs = discriminator(places).view(ROWS, COLUMNS)
    return Array.of((outputs.sigmoid() if as_probability else outputs).float().cpu())


def arrows(push: Tensor, bounds: Bounds, before: int, after: int) -> Array:
    """`push` (n, 2) as arrows that fit the view, the longest of them a part of its half side; `before` and `after` points have none."""
    longest = push.norm(dim=1).max().clamp(min=1e-12)
    scaled = push * (LONGEST_ARROW * (bounds[1] - bounds[0]) / 2 / longest)
    return Array.of(torch.cat([torch.zeros(before, 2), scaled.cpu(), torch.zeros(after, 2)]))


def longest(push: Tensor) -> str:
    """The longest push (n, 2) in words: arrows are drawn to fit the view, so that only this tells a push from next to none."""
    return f"longest arrow: slope {float(push.norm(dim=1).max()):.2g}"


def some(examples: Tensor, most: int) -> Tensor:
    """At most `most` of the examples, evenly spread over them."""
    if len(examples) <= most:
        return examples
    return examples[torch.from_numpy(np.linspace(0, len(examples) - 1, most).astype(np.int64)).to(examples.device)]


def outside(samples: Tensor, bounds: Bounds) -> str:
    """How many of the samples (N, 2) lie outside the view, in words; empty when none does."""
    left, right, bottom, top = bounds
    x, y = samples[:, 0], samples[:, 1]
    count = int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())
    return f"{count} of {len(samples)} samples lie outside the view" if count else ""
