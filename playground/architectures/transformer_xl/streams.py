"""One long sequence read in many places at once: streams that lie side by side in training, and rows that cover what is held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import Memory
from dlplay.engine.errors import DataError

ROWS = 16
"""Rows that an evaluation reads side by side, at most."""


class Streams:
    """Segments of `batch` contiguous streams: row b of a segment goes on where row b of the one before ended, and so does its memory.

    After a pass the streams begin anew, at a place shifted by up to a segment, with an empty memory.
    """

    def __init__(self, sequence: Tensor, batch: int, block: int, generator: torch.Generator) -> None:
        self.sequence, self.batch, self.block = sequence, batch, block
        self._generator = generator
        self.memory: Memory | None = None
        """What was carried to the segment that `next` gave; None at the start of a stream."""
        self.shift, self.position = 0, 0
        if len(sequence) < batch * block + block + 1:
            raise DataError(
                f"{len(sequence):,} tokens to train on do not fill {batch} streams of {block}; "
                f"at least {batch * block + block + 1:,} are needed: give a longer text, or a smaller --batch or --block-size"
            )
        self._cut()

    def _cut(self) -> None:
        length = (len(self.sequence) - 1 - self.shift) // self.batch
        end = self.shift + self.batch * length
        self._inputs = self.sequence[self.shift : end].view(self.batch, length)
        self._targets = self.sequence[self.shift + 1 : end + 1].view(self.batch, length)

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and what follows each of them, (batch, block) both."""
        if self.position + self.block > self._inputs.shape[1]:
            self.shift = int(torch.randint(self.block, (), generator=self._generator))
            self.position, self.memory = 0, None
            self._cut()
        here = slice(self.position, self.position + self.block)
        self.position += self.block
        return self._inputs[:, here], self._targets[:, here]

    def extra_state(self) -> dict[str, Any]:
        """The place in the streams and what is remembered."""
        memory = {str(layer): inputs for layer, inputs in enumerate(self.memory or ())}
        return {"shift": self.shift, "position": self.position, "memory": memory}

    def load_extra_state(self, saved: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self.shift, self.position = int(saved["shift"]), int(saved["position"])
        memory = saved.get("memory") or {}
        device = self.sequence.device
        self.memory = [memory[str(layer)].to(device).clone() for layer in range(len(memory))] or None
        self._cut()


class HeldOut:
    """The held-out end of a sequence in rows side by side: each token is predicted once, in a segment that follows what its row has read.

    Row r begins `warm_up` tokens before its part, without being scored there, so that its memory is full; the first one warms up on the end
    of the training part. Segments lie alike for every length of memory.
    """

    def __init__(self, train: Tensor, held_out: Tensor, *, block: int, memory: int, rows: int = ROWS) -> None:
        self.count, self.block = len(held_out), block
        self.warm_up = min(-(-2 * memory // block), (len(train) - 1) // block) * block
        self._sequence = torch.cat([train[len(train) - self.warm_up - 1 :], held_out])
        self.rows = max(1, min(rows, self.count // 64))
        self._part = -(-self.count // self.rows)

    def segments(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Inputs, what follows each, and whether it is scored: (rows, at most `block`) each, one segment after the other."""
        device = self._sequence.device
        first = torch.arange(self.rows, device=device)[:, None] * self._part
        for start in range(0, self.warm_up + self._part, self.block):
            step = torch.arange(start, min(start + self.block, self.warm_up + self._part), device=device)[None]
            place = first + step  # of the input; its target is number place - warm_up of the held-out part
            scored = (step >= self.warm_up) & (place - self.warm_up < self.count)
            place = place.clamp(max=len(self._sequence) - 2)
            yield self._sequence[place], self._sequence[place + 1], scored
