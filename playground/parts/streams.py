"""One long sequence read in contiguous streams: in training with a carried state, in evaluation with every step predicted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from dlplay.engine.errors import DataError


class Streams:
    """Chunks of `batch` contiguous streams: row b of a chunk continues row b of the chunk before, and so does the carried state.

    A recurrent net carries its hidden state, a Transformer-XL its memory; no gradient flows into either (truncated backpropagation through
    time). At the end of the sequence the streams start again, shifted by less than a chunk at random, with nothing carried.
    """

    def __init__(
        self, sequence: Tensor, batch: int, block: int, generator: torch.Generator, *, carries: Literal["state", "memory"]
    ) -> None:
        """Of `sequence` (N,), in chunks of (batch, block). `carries` is what checkpoints call the carried tensors: a state has its rows in
        the second dimension, a memory in the first.

        Raises `DataError` when the sequence is too short for one chunk at every shift.
        """
        self.sequence, self.batch, self.block = sequence, batch, block
        self._generator, self._carries = generator, carries
        self.carried: tuple[Tensor, ...] | None = None
        """The state before the chunk that `next` returned; None at the start of the streams."""
        self.shift, self.position = 0, 0
        if len(sequence) < batch * block + block + 1:
            raise DataError(
                f"a training sequence of length {len(sequence):,} does not fill {batch} streams of {block} steps; it needs at least "
                f"{batch * block + block + 1:,}: use more data, or a smaller --batch or --block-size"
            )
        self._cut()

    def _cut(self) -> None:
        length = (len(self.sequence) - 1 - self.shift) // self.batch
        end = self.shift + self.batch * length
        self._inputs = self.sequence[self.shift : end].view(self.batch, length)
        self._targets = self.sequence[self.shift + 1 : end + 1].view(self.batch, length)

    def next(self, share: Callable[[Tensor], Tensor] = lambda whole: whole) -> tuple[Tensor, Tensor]:
        """The next chunk: inputs and the step after each of them, (batch, block) both; or the share of it that this process reads."""
        if self.position + self.block > self._inputs.shape[1]:
            self.shift = int(torch.randint(self.block, (), generator=self._generator))
            self.position, self.carried = 0, None
            self._cut()
        here = slice(self.position, self.position + self.block)
        self.position += self.block
        inputs = share(self._inputs[:, here])
        if self.carried is not None and self.carried[0].shape[1 if self._carries == "state" else 0] != len(inputs):
            self.carried = None  # the rows were divided otherwise before the run was resumed
        return inputs, share(self._targets[:, here])

    def carry(self, state: Iterable[Tensor]) -> None:
        """Hand the state after a chunk to the next one, without its gradient and at least in float32."""
        self.carried = tuple(part.detach().to(torch.promote_types(part.dtype, torch.float32)) for part in state)

    def extra_state(self) -> dict[str, Any]:
        """The position in the sequence, and what is carried."""
        carried = {str(number): part for number, part in enumerate(self.carried or ())}
        return {"shift": self.shift, "position": self.position, self._carries: carried}

    def load_extra_state(self, saved: dict[str, Any]) -> None:
        """Take up what `extra_state` returned."""
        self.shift, self.position = int(saved["shift"]), int(saved["position"])
        carried = saved.get(self._carries) or {}
        device = self.sequence.device
        self.carried = tuple(carried[str(number)].to(device).clone() for number in range(len(carried))) or None
        self._cut()


class HeldOutRows:
    """The held-out end of a sequence in rows side by side: each step is predicted once, from all that its row has read before it.

    Row r starts `warm_up` steps before its part and is not scored there, so that the carried state is that of a reader in mid-text; the
    first row warms up on the end of the training part.
    """

    def __init__(self, train: Tensor, held_out: Tensor, *, warm_up: int, rows: int) -> None:
        """Of the training part (N,) and the held-out part (M,); at most `rows` rows, of 64 scored steps or more each."""
        self.count = len(held_out)
        self.warm_up = min(warm_up, len(train) - 1)
        self._sequence = torch.cat([train[len(train) - self.warm_up - 1 :], held_out])
        self.rows = max(1, min(rows, self.count // 64))
        self._part = -(-self.count // self.rows)

    def chunks(self, length: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Inputs, the step after each, and whether that is scored: (rows, at most `length`) each, one chunk after the other."""
        device = self._sequence.device
        first = torch.arange(self.rows, device=device)[:, None] * self._part
        for start in range(0, self.warm_up + self._part, length):
            step = torch.arange(start, min(start + length, self.warm_up + self._part), device=device)[None]
            place = first + step  # of the input; its target is step `place - warm_up` of the held-out part
            scored = (step >= self.warm_up) & (place - self.warm_up < self.count)
            place = place.clamp(max=len(self._sequence) - 2)
            yield self._sequence[place], self._sequence[place + 1], scored
