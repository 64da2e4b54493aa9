"""Training a Transformer-XL on one of two problems."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import Segment, TransformerXL
from dlplay.architectures.transformer_xl.panels import Speeds, TransformerXLPanels
from dlplay.architectures.transformer_xl.problems.problem import Problem
from dlplay.architectures.transformer_xl.problems.recall import VOCABULARY, RecallProblem, WordsAndDots
from dlplay.architectures.transformer_xl.problems.text import TextProblem
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings
from dlplay.engine.dataset import Dataset
from dlplay.engine.graph import Graph
from dlplay.engine.task import Probe, Task
from dlplay.engine.vocabulary import Vocabulary
from dlplay.parts.held_out import probe_shape
from dlplay.parts.language import open_text
from dlplay.parts.optimizers import adamw, set_one_cycle, set_rates, warmup_cosine


class TransformerXLTask(Task[TransformerXLSettings]):
    """A Transformer-XL and its problem."""

    baselines_version = 2  # Kneser-Ney since

    thorough_at_end = True

    @classmethod
    def read_ahead(cls, settings: TransformerXLSettings) -> Dataset | None:
        if settings.task == "recall":
            WordsAndDots(VOCABULARY)  # compiles what a word is
            return None
        return open_text(settings)[1]

    def __init__(self, settings: TransformerXLSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        self.problem = make_problem(settings, device, self.generators["data"], assets)
        self.dataset = self.problem.dataset
        self.model = TransformerXL(
            len(self.problem.tokenizer.vocabulary),
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            dropout=settings.dropout,
        ).to(device)
        self.models["xl"] = self.model
        self.optimizers["xl"] = self.optimizer = adamw(self.model, lr=settings.lr, weight_decay=settings.weight_decay)
        self.speeds: dict[int, Speeds] = {}

    def panels(self) -> TransformerXLPanels:
        return TransformerXLPanels(self)

    def draw_batch(self) -> tuple[Tensor, ...]:
        return self.problem.draw()

    def update_rates(self) -> None:
        settings = self.settings
        if settings.schedule == "one-cycle":
            set_one_cycle(self.optimizer, self.step / settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            lr = settings.lr * warmup_cosine(self.step, settings.warmup, settings.steps)
            set_rates(self.optimizer, lr=lr, weight_decay=settings.weight_decay)

    def train_step(self) -> dict[str, Tensor]:
        """The next segment of every stream, or one batch of sequences, read segment by segment."""
        self.update_rates()
        drawn = self.drawn()
        with self.autocast():
            loss = self.problem.loss(self.model, drawn, self.share)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, self.settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """On all held-out data; at the end with several memory lengths."""
        return self.problem.evaluate(self.model, self.finishing or self.step >= self.settings.steps)

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.model.tokens, self.problem.tokenizer.names)

    def probe(self) -> Probe:
        """The mean loss of each of the first held-out sequences or windows, read with the memory of an evaluation."""
        return Probe(self.problem.probe(self.model, *probe_shape(self.parameters, self.settings.block_size)), "loss (nats per token)")

    def change(self, settings: TransformerXLSettings) -> None:
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        return self.problem.baselines()

    def extra_state(self) -> dict[str, Any]:
        return self.problem.extra_state()

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.problem.load_extra_state(extra)

    def graphs(self) -> dict[str, Graph]:
        """A segment and the memory before it to logits and the memory after it."""
        settings, length = self.settings, 6
        tokens = torch.zeros(2, length, dtype=torch.int64)
        memory = torch.zeros(settings.layers, 2, 2 * length, settings.width)
        free = {"tokens": {0: "batch", 1: "time"}, "memory": {1: "batch", 2: "remembered"}}
        return {"segment": Graph(Segment(self.model), {"tokens": tokens, "memory": memory}, ("logits", "next_memory"), free)}


def make_problem(
    settings: TransformerXLSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None
) -> Problem:
    """The problem that `task` names. Raises `DataError`."""
    if settings.task == "recall":
        return RecallProblem(settings, device, generator)
    return TextProblem(settings, device, generator, assets)
