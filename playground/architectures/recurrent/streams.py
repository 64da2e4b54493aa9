"""One long sequence read in many places at once: streams that lie side by side in training, and rows that cover what is held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.recurrent.model import State
from dlplay.engine.errors import DataError

WARM_UP = 256
"""Steps that a row of the evaluation reads, and is not scored on, before its own part."""

ROWS = 32
"""Rows that an evaluation reads side by side, at most."""


class Streams:
    """Chunks of `batch` contiguous streams: row b of a chunk goes on where row b of the one before ended, and so does its state.

    The state is handed on without its history (truncated back-propagation through time). After a pass the streams begin anew, at a place
    shifted by up to a chunk, with an empty state.
    """

    def __init__(self, sequence: Tensor, batch: int, block: int, generator: torch.Generator) -> None:
        self.sequence, self.batch, self.block = sequence, batch, block
        self._generator = generator
        self.state: State | None = None
        self.shift, self.position = 0, 0
        if len(sequence) < batch * block + block + 1:
            raise DataError(
                f"{len(sequence):,} steps to train on do not fill {batch} streams of {block}; "
                f"at least {batch * block + block + 1:,} are needed: give more data, or a smaller --batch or --block-size"
            )
        self._cut()

    def _cut(self) -> None:
        length = (len(self.sequence) - 1 - self.shift) // self.batch
        end = self.shift + self.batch * length
        self._inputs = self.sequence[self.shift : end].view(self.batch, length)
        self._targets = self.sequence[self.shift + 1 : end + 1].view(self.batch, length)

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and what follows each of them, (batch, block) both; `state` is what was carried to them."""
        if self.position + self.block > self._inputs.shape[1]:
            self.shift = int(torch.randint(self.block, (), generator=self._generator))
            self.position, self.state = 0, None
            self._cut()
        here = slice(self.position, self.position + self.block)
        self.position += self.block
        return self._inputs[:, here], self._targets[:, here]

    def carry(self, state: State) -> None:
        """What the next chunk begins with."""
        self.state = tuple(part.detach() for part in state)

    def extra_state(self) -> dict[str, Any]:
        """The place in the streams and what is carried."""
        carried = {str(number): part for number, part in enumerate(self.state or ())}
        return {"shift": self.shift, "position": self.position, "state": carried}

    def load_extra_state(self, saved: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self.shift, self.position = int(saved["shift"]), int(saved["position"])
        carried = saved.get("state") or {}
        device = self.sequence.device
        self.state = tuple(carried[str(number)].to(device).clone() for number in range(len(carried))) or None
        self._cut()


class HeldOut:
    """The held-out end of a sequence in rows side by side: each step is predicted once, from all that its row has read before it.

    Row r begins `WARM_UP` steps before its part, without being scored there, so that its state is that of a reader who has come a long
    way; the first one warms up on the end of the training part.
    """

    def __init__(self, train: Tensor, held_out: Tensor, *, rows: int = ROWS) -> None:
        self.count = len(held_out)
        self.warm_up = min(WARM_UP, len(train) - 1)
        self._sequence = torch.cat([train[len(train) - self.warm_up - 1 :], held_out])
        self.rows = max(1, min(rows, self.count // 64))
        self._part = -(-self.count // self.rows)

    def chunks(self, length: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Inputs, what follows each, and whether it is scored: (rows, at most `length`) each, one chunk after the other."""
        device = self._sequence.device
        first = torch.arange(self.rows, device=device)[:, None] * self._part
        for start in range(0, self.warm_up + self._part, length):
            step = torch.arange(start, min(start + length, self.warm_up + self._part), device=device)[None]
            place = first + step  # of the input; its target is number place - warm_up of the held-out part
            scored = (step >= self.warm_up) & (place - self.warm_up < self.count)
            place = place.clamp(max=len(self._sequence) - 2)
            yield self._sequence[place], self._sequence[place + 1], scored
