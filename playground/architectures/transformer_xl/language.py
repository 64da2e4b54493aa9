"""The next token of a text that is read in contiguous streams, segment by segment."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.transformer_xl.model import TransformerXL
from dlplay.architectures.transformer_xl.options import ASKED, READ, Before
from dlplay.architectures.transformer_xl.problem import Measured, Problem
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings
from dlplay.architectures.transformer_xl.streams import HeldOut, Streams
from dlplay.data import ngrams
from dlplay.data.text import Corpus
from dlplay.engine.errors import DataError
from dlplay.parts.corpora import open_corpus

ORDER = {"char": 5, "word": 4}
"""The longest n-grams that are counted."""

PROMPT = 12
"""Tokens of the held-out text that stand in for a prompt."""

READ_BEFORE = 1000
"""And for what was read before it, at most: a line of the screen has room for so many."""


class Language(Problem):
    """Next-token prediction."""

    def __init__(
        self,
        settings: TransformerXLSettings,
        device: torch.device,
        generator: torch.Generator,
        assets: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(settings, device, generator)
        block, batch = settings.block_size, settings.batch
        self.tokenizer, self._corpus, self._no_corpus = open_corpus(
            settings.text,
            settings.tokens,
            vocab_size=settings.vocab_size,
            min_count=settings.min_count,
            minimum=10 * (block + 1),
            assets=assets,
        )
        if self._corpus is not None:
            self._train = torch.from_numpy(self._corpus.train).to(device)  # (N,)
            self._held_out = torch.from_numpy(self._corpus.held_out).to(device)  # (M,)
            try:
                self._streams = Streams(self._train, batch, block, generator)
            except DataError as error:
                if assets is None:
                    raise DataError(f"{self._corpus.name}: {error}") from None
                self._corpus, self._no_corpus = None, str(error)
        if self._corpus is None:
            self.data = f"no text, so that it can be asked and not trained: {self._no_corpus}"
            return
        self.data = f"{self._corpus.words}; {batch} x {block} = {batch * block:,} a step"

    @property
    def corpus(self) -> Corpus:
        """The text. Raises `DataError` when it could not be read and the vocabulary came from a checkpoint."""
        if self._corpus is None:
            raise DataError(self._no_corpus)
        return self._corpus

    def loss(self, model: TransformerXL) -> Tensor:
        """Mean nats of the tokens of the streams' next segment."""
        self.corpus  # noqa: B018  # says why there is none
        inputs, targets = self._streams.next()
        logits, self._streams.memory = model(inputs, self._streams.memory, self.settings.memory)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def measure(self, model: TransformerXL, memory: int, tokens: int | None = None) -> Measured:
        """Every held-out token once, or of the first `tokens`; the memory is full before the first that is scored."""
        self.corpus  # noqa: B018
        rows = HeldOut(self._train, self._held_out[:tokens], block=self.settings.block_size, memory=memory)
        nats = torch.zeros((), dtype=torch.float32 if self.device.type == "mps" else torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        carried = None
        for inputs, targets, scored in rows.segments():
            logits, carried = model(inputs, carried, memory)
            logits, targets = logits[scored], targets[scored]
            nats += F.cross_entropy(logits, targets, reduction="sum").to(nats.dtype)
            right += (logits.argmax(dim=-1) == targets).sum()
        return Measured(float(nats) / rows.count, int(right) / rows.count)

    def scores(self, with_memory: Measured, without: Measured) -> dict[str, float]:
        """Nats, perplexity and the share of tokens guessed right."""
        return {
            "val_loss": with_memory.loss,
            "val_perplexity": math.exp(min(with_memory.loss, 700.0)),
            "val_top1": with_memory.right,
            "val_loss_without_memory": without.loss,
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams: interpolated Witten-Bell, and for the top-1 accuracy the most frequent successor."""
        order = ORDER[self.tokenizer.kind]
        data = self.corpus.train, self.corpus.held_out, len(self.tokenizer.vocabulary)
        perplexity = ngrams.perplexities(*data, order)
        nats = {name: math.log(value) for name, value in perplexity.items()}
        return {
            "val_loss": nats,
            "val_loss_without_memory": nats,
            "val_perplexity": perplexity,
            "val_top1": ngrams.top1(*data, order),
        }

    def baselines_key(self) -> str:
        """The text, the split and the vocabulary."""
        return f"transformer-xl n-grams 1 {self.corpus.key}"

    def piece(self, tokens: int) -> Tensor:
        """The beginning of the held-out text."""
        self.corpus  # noqa: B018
        return self._held_out[None, :tokens]

    def meant(self, options: Before) -> tuple[Before, list[str]]:
        """What the options begin with is for recall: in place of each that nobody has set stands a piece of the held-out text."""
        before = min(max(2 * self.settings.block_size, self.settings.eval_memory), READ_BEFORE)
        ids = [] if self._corpus is None else self._corpus.held_out[: before + PROMPT].tolist()
        prompt, read_before, notes = options.prompt, options.read_before, []
        if read_before == READ:
            read_before, notes = self.tokenizer.decode(ids[:before]), ["held-out text was read before"]
        if prompt == ASKED:
            prompt, notes = self.tokenizer.decode(ids[before:]), ["the held-out text, until something is typed"]
        return dataclasses.replace(options, prompt=prompt, read_before=read_before), notes if ids else []

    def assets(self) -> dict[str, Any]:
        """The vocabulary."""
        return self.tokenizer.assets()

    def data_key(self) -> str:
        """The text's."""
        return self.corpus.key

    def extra_state(self) -> dict[str, Any]:
        """The place in the text, and the memory of what came before."""
        return {"streams": self._streams.extra_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self._streams.load_extra_state(extra["streams"])
