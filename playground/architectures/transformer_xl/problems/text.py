"""The next token of a text that is read in contiguous streams, segment by segment."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.transformer_xl.model import TransformerXL, memory_after
from dlplay.architectures.transformer_xl.problems.problem import Problem
from dlplay.architectures.transformer_xl.settings import QUESTION, READ, PromptWithMemory, TransformerXLSettings
from dlplay.engine.dataset import Missing, present
from dlplay.engine.means import beforehand, work
from dlplay.engine.task import Share
from dlplay.parts.held_out import WINDOWS
from dlplay.parts.language import StreamedText, TokenScores, held_out_metrics, ngram_baselines, open_streams, token_losses
from dlplay.parts.streams import HeldOutRows

ROWS = 16
"""Rows that an evaluation reads side by side, at most."""

PROMPT = 12
"""Tokens of the held-out text that replace the default prompt."""

READ_BEFORE = 1000
"""Tokens of it that replace the default text before the prompt, at most: as many fit in a line of the screen."""


class TextProblem(Problem):
    """Next-token prediction."""

    dataset: StreamedText | Missing

    def __init__(
        self, settings: TransformerXLSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
    ) -> None:
        super().__init__(settings, device, generator)
        self.tokenizer, self.dataset = open_streams(settings, generator, device, assets, carries="memory")

    @property
    def text(self) -> StreamedText:
        """Raises `DataError` when it is missing."""
        return present(self.dataset)

    def loss(self, model: TransformerXL, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Mean nats of the tokens of the streams' next segment."""
        streams = self.text.streams
        inputs, targets = streams.next(share)
        logits, memory = model(inputs, streams.carried, self.settings.memory)  # (B, T, V)
        streams.carry(memory)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def score(self, model: TransformerXL, memory: int, tokens: int | None = None) -> TokenScores:
        """Every held-out token once; the memory is full before the first one that is scored."""
        block, text = self.settings.block_size, self.text
        warm_up = min(-(-2 * memory // block), (len(text.train) - 1) // block) * block  # the segments are the same for every memory
        rows = HeldOutRows(text.train, text.held_out[:tokens], warm_up=warm_up, rows=ROWS)
        scores = TokenScores(self.device, self.tokenizer.unknown)
        carried = None
        for inputs, targets, scored in rows.chunks(block):
            logits, carried = model(inputs, carried, memory)
            scores.add(logits[scored], targets[scored])
        return scores

    def probe(self, model: TransformerXL, count: int, length: int) -> Tensor:
        text, keep = self.text, self.settings.eval_memory
        length = min(length, len(text.held_out) // 2)
        before = min(keep, len(text.train) - 1)
        sequence = torch.cat([text.train[len(text.train) - before - 1 :], text.held_out])
        count = min(count, work(WINDOWS))  # of what is read beforehand `probe_shape` knows nothing
        windows = sequence.unfold(0, before + length + 1, length)[:count]  # (windows, before + length + 1)
        with beforehand():
            memory = memory_after(model, windows[:, :before], self.settings.block_size, keep)
        logits, _ = model(windows[:, before:-1], memory)  # (windows, length, V)
        return token_losses(logits, windows[:, before + 1 :]).mean(dim=1)

    def metrics(self, with_memory: TokenScores, without: TokenScores) -> dict[str, float]:
        return {**held_out_metrics(with_memory, self.text.corpus), "val_loss_without_memory": without.loss}

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams."""
        found = ngram_baselines(self.text.corpus)
        return {**found, "val_loss_without_memory": found["val_loss"]}

    def extra_state(self) -> dict[str, Any]:
        return {"streams": self.text.streams.extra_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.text.streams.load_extra_state(extra["streams"])

    def examples(self, tokens: int) -> Tensor:
        """The beginning of the held-out text."""
        return self.text.held_out[None, :tokens]

    def resolve(self, options: PromptWithMemory) -> tuple[PromptWithMemory, list[str]]:
        """The defaults are for recall; each is replaced by a piece of the held-out text."""
        before = min(max(2 * self.settings.block_size, self.settings.eval_memory), READ_BEFORE)
        ids = [] if isinstance(self.dataset, Missing) else self.dataset.corpus.held_out[: before + PROMPT].tolist()
        prompt, read_before, notes = options.prompt, options.read_before, []
        if read_before == READ:
            read_before, notes = self.tokenizer.decode(ids[:before]), ["held-out text was read before"]
        if prompt == QUESTION:
            prompt, notes = self.tokenizer.decode(ids[before:]), ["held-out text, until you type a prompt"]
        return dataclasses.replace(options, prompt=prompt, read_before=read_before), notes if ids else []
