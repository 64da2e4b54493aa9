"""Tensors of the CPU in one row of bytes, which goes to a card in one copy: a small copy costs as much as its call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ALIGNED = 16
"""Bytes at whose multiples tensors begin, so that a row can be viewed as any dtype."""


class Part(NamedTuple):
    """Where one tensor lies in its row."""

    first: int
    last: int
    dtype: torch.dtype
    shape: torch.Size


Layout = tuple[Part, ...]


def layout_of(tensors: Sequence[Tensor]) -> Layout:
    """Where each of them would lie in a row."""
    parts, first = [], 0
    for tensor in tensors:
        parts.append(Part(first, first + tensor.nbytes, tensor.dtype, tensor.shape))
        first += math.ceil(tensor.nbytes / ALIGNED) * ALIGNED
    return tuple(parts)


def size(layout: Layout) -> int:
    """Bytes of a row, from the first tensor to the end of the last."""
    return layout[-1].last if layout else 0


def views(row: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """The tensors in a row (bytes,)."""
    return tuple(row[part.first : part.last].view(part.dtype).view(part.shape) for part in layout)


def write(rows: Tensor, numbers: Sequence[int], layout: Layout, many: Sequence[Sequence[Tensor]]) -> None:
    """Put several lots of tensors, all with this layout, into the rows (R, bytes) of these numbers."""
    where = torch.tensor(numbers)
    for part, tensors in zip(layout, zip(*many, strict=True), strict=True):
        as_bytes = torch.stack(tensors).view(torch.uint8) if part.shape else torch.stack(tensors)[:, None].view(torch.uint8)
        rows[where, part.first : part.last] = as_bytes.reshape(len(numbers), part.last - part.first)


def send(tensors: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Tensors of the CPU on this device. A card gets them in one copy, for which nobody waits."""
    if device.type != "cuda" or not tensors:
        return tuple(tensor.to(device) for tensor in tensors)
    layout = layout_of(tensors)
    row = torch.empty(size(layout), dtype=torch.uint8, pin_memory=True)  # kept until it is copied
    write(row[None], [0], layout, [tensors])
    return views(row.to(device, non_blocking=True), layout)
