"""Images as panels hold them."""

from __future__ import annotations

from torch import Tensor

from dlplay.engine.panels import Array


def pictures(images: Tensor, full: float) -> Array:
    """Images (N, C, H, W) with cells from 0 to `full`, as (N, H, W) u1 when grey and (N, H, W, 3) u1 in colour."""
    light = (images * (255 / full)).round().clamp(0, 255).byte().cpu()
    return Array.of(light[:, 0] if light.shape[1] == 1 else light.permute(0, 2, 3, 1))
