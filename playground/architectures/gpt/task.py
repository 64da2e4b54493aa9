"""Training a GPT on a text: random windows of the training part, every held-out token predicted once an evaluation."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.gpt import AttentionHead, GPTSettings, panels
from dlplay.architectures.gpt.model import GPT
from dlplay.data import ngrams
from dlplay.data.text import Corpus
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Bars, HeatMap, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.task import Task
from dlplay.parts.corpora import open_corpus
from dlplay.parts.optimizers import decay_groups, set_rates, warmup_cosine
from dlplay.parts.prompt_options import Neighbours, NextWord, Passage, TokenOfPrompt

LOGITS = 1 << 22
"""Elements of the largest block of logits that an evaluation forms at once."""


class GPTTask(Task[GPTSettings]):
    """Next-token prediction."""

    questions = {name: name for name in ("next_word", "passage", "prompt_tokens", "attention", "layer_lens", "neighbours", "norms")}

    def __init__(self, settings: GPTSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.tokenizer, self._corpus, self._no_corpus = open_corpus(
            settings.text,
            settings.tokens,
            vocab_size=settings.vocab_size,
            min_count=settings.min_count,
            minimum=10 * (settings.block_size + 1),
            assets=assets,
        )
        self.model = GPT(
            len(self.tokenizer.vocabulary),
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            block_size=settings.block_size,
            dropout=settings.dropout,
        ).to(device)
        self.models["gpt"] = self.model
        self.optimizers["gpt"] = self.optimizer = adamw(self.model, settings)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        if self._corpus is None:
            self.data = f"no text, so that it can be asked and not trained: {self._no_corpus}"
            return
        self.train = torch.from_numpy(self._corpus.train).to(device)  # (N,)
        before = self._corpus.train[-1:]
        self.held_out = torch.cat([torch.from_numpy(before), torch.from_numpy(self._corpus.held_out)]).to(device)  # (1 + M,)
        self.data = f"{self._corpus.words}; {settings.batch} x {settings.block_size} = {settings.batch * settings.block_size:,} a step"
        self._offsets = torch.arange(settings.block_size + 1, device=device)

    @property
    def corpus(self) -> Corpus:
        """The text. Raises `DataError` when it could not be read and the vocabulary came from a checkpoint."""
        if self._corpus is None:
            raise DataError(self._no_corpus)
        return self._corpus

    def train_step(self) -> dict[str, Tensor]:
        """One batch of windows; every token of a window is predicted from those before it."""
        set_rates(self.optimizer, lr=learning_rate(self.settings, self.step), weight_decay=self.settings.weight_decay)
        starts = torch.randint(
            len(self.corpus.train) - self.settings.block_size, (self.settings.batch, 1), generator=self.generators["data"]
        )
        windows = self.train[starts.to(self.device, non_blocking=self.device.type == "cuda") + self._offsets]  # (B, T + 1)
        logits = self.model(windows[:, :-1])  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, self.settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """Every held-out token once, in windows of a block side by side: a token sees those before it in its window, half a block on the
        average, and the first one of a window the last of the window before."""
        block = self.settings.block_size
        tokens = len(self.corpus.held_out)
        whole = tokens // block * block
        windows = self.held_out[:whole].view(-1, block), self.held_out[1 : whole + 1].view(-1, block)
        rest = self.held_out[None, whole:-1], self.held_out[None, whole + 1 :]
        at_once = max(1, LOGITS // (block * len(self.tokenizer.vocabulary)))
        nats = torch.zeros((), dtype=torch.float32 if self.device.type == "mps" else torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        pairs = [*zip(*(torch.split(part, at_once) for part in windows), strict=True), *([rest] if whole < tokens else [])]
        for idx, targets in pairs:
            logits = self.model(idx).flatten(0, 1)  # (windows * T, V)
            nats += F.cross_entropy(logits, targets.flatten(), reduction="sum").to(nats.dtype)
            right += (logits.argmax(dim=-1) == targets.flatten()).sum()
        loss = float(nats) / tokens
        return {"val_loss": loss, "val_perplexity": math.exp(min(loss, 700.0)), "val_top1": int(right) / tokens}

    def change(self, settings: GPTSettings) -> None:
        """Dropout is the one live setting that the model keeps for itself."""
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams of order 1 to 4: interpolated Witten-Bell, and for the top-1 accuracy the most frequent successor."""
        data = self.corpus.train, self.corpus.held_out, len(self.tokenizer.vocabulary)
        perplexity = ngrams.perplexities(*data)
        return {
            "val_perplexity": perplexity,
            "val_loss": {name: math.log(value) for name, value in perplexity.items()},
            "val_top1": ngrams.top1(*data),
        }

    def baselines_key(self) -> str:
        """The text, the split and the vocabulary."""
        return f"gpt n-grams 1 {self.corpus.key}"

    def assets(self) -> dict[str, Any]:
        """The vocabulary."""
        return self.tokenizer.assets()

    def data_key(self) -> str:
        """The text's."""
        return self.corpus.key

    def graphs(self) -> dict[str, Graph]:
        """Tokens to logits."""
        tokens = torch.zeros(2, min(8, self.settings.block_size - 1), dtype=torch.int64)
        return {"decoder": Graph(self.model, {"tokens": tokens}, ("logits",), {"tokens": {0: "batch", 1: "time"}})}

    def next_word(self, options: NextWord) -> Bars:
        """See `panels.next_word`; so for the others."""
        return panels.next_word(self.model, self.tokenizer, options)

    def passage(self, options: Passage) -> Tokens:
        """A continuation of the prompt."""
        return panels.passage(self.model, self.tokenizer, options)

    def prompt_tokens(self, options: TokenOfPrompt) -> Tokens:
        """The prompt, word by word."""
        return panels.prompt_tokens(self.model, self.tokenizer, options)

    def attention(self, options: AttentionHead) -> HeatMap:
        """One head's attention weights."""
        return panels.attention(self.model, self.tokenizer, options)

    def layer_lens(self, options: TokenOfPrompt) -> Table:
        """What each layer would say."""
        return panels.layer_lens(self.model, self.tokenizer, options)

    def neighbours(self, options: Neighbours) -> Bars:
        """Embedding neighbours."""
        return panels.neighbours(self.model, self.tokenizer, options)

    def norms(self, options: Options) -> Bars:
        """Gradient and weight norms."""
        return panels.norms(self.model)


def learning_rate(settings: GPTSettings, step: int) -> float:
    """Of the step after `step` finished ones: a linear warm-up to `lr`, then half a cosine down to a tenth of it at the last step."""
    return settings.lr * warmup_cosine(step, settings.warmup, settings.steps)


def adamw(model: GPT, settings: GPTSettings) -> torch.optim.AdamW:
    """AdamW as GPT-3 had it (betas .9 and .95; Brown et al., 2020), with weight decay on the matrices alone: embeddings and linear maps."""
    return torch.optim.AdamW(decay_groups(model), lr=settings.lr, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True)
