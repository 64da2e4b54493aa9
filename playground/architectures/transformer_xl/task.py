"""Training a Transformer-XL on one of its two tasks."""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.transformer_xl import panels, speed
from dlplay.architectures.transformer_xl.language import Language
from dlplay.architectures.transformer_xl.model import Segment, TransformerXL
from dlplay.architectures.transformer_xl.options import Attention, Continued, Head, MemoryUsed, NextToken, Similar, Speed, TokenRead
from dlplay.architectures.transformer_xl.problem import Problem
from dlplay.architectures.transformer_xl.recall import Recall
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings
from dlplay.engine.device import describe
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Bars, HeatMap, Lines, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.task import Task
from dlplay.parts.optimizers import decay_groups, set_rates, warmup_cosine

REMEMBERED = 64
"""Measurements of speed that are kept, at most."""


class TransformerXLTask(Task[TransformerXLSettings]):
    """A Transformer-XL and its problem."""

    thorough_at_end = True
    questions = {
        name: name
        for name in (
            "next_token",
            "passage",
            "prompt_tokens",
            "memory_used",
            "attention",
            "memory_curve",
            "effective_context",
            "evaluation_speed",
            "neighbours",
            "norms",
        )
    }

    def __init__(self, settings: TransformerXLSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        self.problem = pose(settings, device, self.generators["data"], assets)
        self.data = self.problem.data
        self.models["xl"] = self.model = make_model(settings, self.problem).to(device)
        self.optimizers["xl"] = self.optimizer = adamw(self.model, settings)
        self._speeds: dict[int, speed.Speeds] = {}

    def train_step(self) -> dict[str, Tensor]:
        """The next segment of every stream, or one batch of sequences, read segment by segment."""
        settings = self.settings
        set_rates(self.optimizer, lr=learning_rate(settings, self.step), weight_decay=settings.weight_decay)
        loss = self.problem.loss(self.model)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """On all that is held out; at the end with several lengths of memory."""
        return self.problem.evaluate(self.model, self.finishing or self.step >= self.settings.steps)

    def change(self, settings: TransformerXLSettings) -> None:
        """Dropout is the one live setting that the model keeps for itself."""
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Chance, or n-grams."""
        return self.problem.baselines()

    def baselines_key(self) -> str:
        """The problem's."""
        return self.problem.baselines_key()

    def assets(self) -> dict[str, Any]:
        """A vocabulary."""
        return self.problem.assets()

    def data_key(self) -> str:
        """The problem's."""
        return self.problem.data_key()

    def extra_state(self) -> dict[str, Any]:
        """The place in the data, and the memory."""
        return self.problem.extra_state()

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self.problem.load_extra_state(extra)

    def graphs(self) -> dict[str, Graph]:
        """A segment and the memory before it to logits and the memory after it."""
        settings, length = self.settings, 6
        tokens = torch.zeros(2, length, dtype=torch.int64)
        memory = torch.zeros(settings.layers, 2, 2 * length, settings.width)
        free = {"tokens": {0: "batch", 1: "time"}, "memory": {1: "batch", 2: "remembered"}}
        return {"segment": Graph(Segment(self.model), {"tokens": tokens, "memory": memory}, ("logits", "next_memory"), free)}

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def next_token(self, options: NextToken) -> Bars:
        """See `panels.next_token`; so for the others."""
        return panels.next_token(self.model, self.problem, options)

    def passage(self, options: Continued) -> Tokens:
        """A continuation of the prompt."""
        return panels.passage(self.model, self.problem, options)

    def prompt_tokens(self, options: TokenRead) -> Tokens:
        """The prompt, token by token."""
        return panels.prompt_tokens(self.model, self.problem, options)

    def memory_used(self, options: MemoryUsed) -> Tokens:
        """The memory, token by token."""
        return panels.memory_used(self.model, self.problem, options)

    def attention(self, options: Attention) -> HeatMap:
        """One head's attention weights."""
        return panels.attention(self.model, self.problem, options)

    def memory_curve(self, options: Options) -> Lines:
        """Held-out loss or recall against the length of the memory."""
        found = panels.memory_curve(self.model, self.problem)  # it takes long enough to fall behind the charts
        return msgspec.structs.replace(found, caption=f"as of step {self.step:,} · {found.caption}")

    def effective_context(self, options: Head) -> Lines:
        """How far back a head looks."""
        return panels.effective_context(self.model, self.problem, options)

    def evaluation_speed(self, options: Speed) -> Lines:
        """Tokens a second with a memory and without; measured once for each number but 0, so that what is only watched costs nothing."""
        if options.measurement == 0:
            return speed.NOT_MEASURED
        if options.measurement not in self._speeds:
            if len(self._speeds) >= REMEMBERED:
                self._speeds.pop(next(iter(self._speeds)))
            self._speeds[options.measurement] = speed.measure(self.model, self.settings.block_size)
        where = f"{describe(self.device)}, {torch.get_num_threads()} threads" if self.device.type == "cpu" else describe(self.device)
        return speed.lines(self._speeds[options.measurement], self.settings.block_size, where)

    def neighbours(self, options: Similar) -> Bars:
        """Embedding neighbours."""
        return panels.neighbours(self.model, self.problem, options)

    def norms(self, options: Options) -> Bars:
        """Gradient and weight norms."""
        return panels.norms(self.model)


def pose(
    settings: TransformerXLSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
) -> Problem:
    """The problem that the settings name. Raises `DataError`."""
    return Recall(settings, device, generator) if settings.task == "recall" else Language(settings, device, generator, assets)


def make_model(settings: TransformerXLSettings, problem: Problem) -> TransformerXL:
    """A model for the problem."""
    return TransformerXL(
        len(problem.tokenizer.vocabulary), layers=settings.layers, heads=settings.heads, width=settings.width, dropout=settings.dropout
    )


def learning_rate(settings: TransformerXLSettings, step: int) -> float:
    """Of the step after `step` finished ones: a linear warm-up to `lr`, then half a cosine down to a tenth of it at the last step."""
    return settings.lr * warmup_cosine(step, settings.warmup, settings.steps)


def adamw(model: TransformerXL, settings: TransformerXLSettings) -> torch.optim.AdamW:
    """AdamW, with weight decay on the matrices alone."""
    return torch.optim.AdamW(decay_groups(model), lr=settings.lr, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True)
