"""What a person typed, as the model reads it: segments into the memory, then the prompt; and reading on token by token."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import Memory, TransformerXL, remember
from dlplay.architectures.transformer_xl.options import Before
from dlplay.architectures.transformer_xl.problem import Problem, read_segments
from dlplay.parts.prompts import ReadPrompt, read_prompt


@dataclasses.dataclass(frozen=True)
class Reading:
    """A prompt, and the memory of what was read before it."""

    prompt: ReadPrompt
    options: Before
    """The question in the task's own terms."""
    idx: Tensor  # (1, T)
    memory: Memory
    remembered: list[int]
    """The tokens whose layer inputs the memory holds."""
    keep: int
    """Tokens that the memory may hold."""
    block: int


def read(model: TransformerXL, problem: Problem, options: Before) -> Reading:
    """What was read before in segments of a block, the last a whole one, and of the prompt as much as fits in a block; what comes first
    in a longer one goes to the memory. Raises `SettingsError`."""
    options, notes = problem.meant(options)
    settings, tokenizer = problem.settings, problem.tokenizer
    keep = settings.eval_memory if options.memory_length < 0 else options.memory_length
    prompt = read_prompt(tokenizer, options)
    ids, block = prompt.all_ids, settings.block_size
    cut = max(0, len(ids) - block)
    before = tokenizer.encode(options.read_before) + ids[:cut]
    before = before[-len(model.blocks) * (keep + block) - block :]  # nothing that lies further back reaches the prompt
    if cut:
        notes = [*notes, f"the first {cut:,} of {len(ids):,} {tokenizer.noun} went into the memory"]
    _, memory = read_segments(model, torch.tensor([before], dtype=torch.int64, device=model.tokens.weight.device), block, keep)
    held = memory[0].shape[1]
    notes = [*notes, f"memory of {held:,} {tokenizer.noun}" if held else "the memory is empty"]
    prompt = dataclasses.replace(prompt, ids=ids[cut:], words=prompt.words[cut:], notes=[*notes, *prompt.notes])
    idx = torch.tensor([prompt.ids], device=model.tokens.weight.device)
    return Reading(prompt, options, idx, memory, before[len(before) - held :], keep, block)


class Reader:
    """Reads on token by token, and gives the logits after the last.

    What went into each layer is kept for the tokens of the segment that is being read, as a key-value cache would be, so that nothing is
    computed twice; when the segment is full it becomes memory, which is then cut to its length.
    """

    def __init__(self, model: TransformerXL, reading: Reading) -> None:
        self.model = model
        self.ids = list(reading.prompt.all_ids)
        self._keep, self._block, self._inside = reading.keep, reading.block, 0
        self._memory = reading.memory
        self.logits = self._read(reading.idx)  # (V,)

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        self.ids.append(token)
        self.logits = self._read(torch.tensor([[token]], device=self.model.tokens.weight.device))
        return self.logits

    def _read(self, idx: Tensor) -> Tensor:
        if self._inside + idx.shape[1] > self._block:
            self._memory, self._inside = remember(self._memory, [x[:, :0] for x in self._memory], self._keep), 0
        logits, self._memory = self.model(idx, self._memory, self._memory[0].shape[1] + idx.shape[1])
        self._inside += idx.shape[1]
        out: Tensor = logits[0, -1]
        return out
