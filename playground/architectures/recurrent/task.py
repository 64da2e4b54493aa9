"""Training a recurrent net on one of four problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent, Stateless
from dlplay.architectures.recurrent.panels import RecurrentPanels
from dlplay.architectures.recurrent.problems.adding import AddingProblem
from dlplay.architectures.recurrent.problems.copying import CopyProblem
from dlplay.architectures.recurrent.problems.problem import Problem
from dlplay.architectures.recurrent.problems.series import SeriesProblem
from dlplay.architectures.recurrent.problems.text import TextProblem
from dlplay.architectures.recurrent.settings import GradientFlow, RecurrentSettings
from dlplay.engine.dataset import Dataset
from dlplay.engine.graph import Graph
from dlplay.engine.task import Probe, Task
from dlplay.engine.vocabulary import Vocabulary
from dlplay.parts.language import open_text
from dlplay.parts.optimizers import adamw, set_one_cycle, set_rates, warmup_cosine

BETAS = (0.9, 0.99)
FLOOR = 0.05
"""Share of the learning rate at the last step."""


class RecurrentTask(Task[RecurrentSettings]):
    """A recurrent net and its problem."""

    baselines_version = 2  # Kneser-Ney since

    @classmethod
    def read_ahead(cls, settings: RecurrentSettings) -> Dataset | None:
        return open_text(settings)[1] if settings.task == "text" else None

    def __init__(self, settings: RecurrentSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        self.problem = make_problem(settings, device, self.generators["data"], assets)
        self.dataset = self.problem.dataset
        self.models["net"] = self.model = make_model(settings, self.problem, settings.cell).to(device)
        self.optimizers["net"] = self.optimizer = adamw(self.model, lr=settings.lr, weight_decay=settings.weight_decay, betas=BETAS)
        self.untrained_gradients: dict[GradientFlow, dict[str, list[float]]] = {}
        self.layer_times: dict[int, dict[str, list[float]]] = {}

    def panels(self) -> RecurrentPanels:
        return self.problem.panels(self)

    def draw_batch(self) -> tuple[Tensor, ...]:
        return self.problem.draw()

    def update_rates(self) -> None:
        settings = self.settings
        if settings.schedule == "one-cycle":
            set_one_cycle(self.optimizer, self.step / settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            lr = settings.lr * warmup_cosine(self.step, settings.warmup, settings.steps, FLOOR)
            set_rates(self.optimizer, lr=lr, weight_decay=settings.weight_decay)

    def train_step(self) -> dict[str, Tensor]:
        """One chunk of every stream, or one batch of sequences."""
        self.update_rates()
        drawn = self.drawn()
        with self.autocast():
            loss = self.problem.loss(self.model, drawn, self.share)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, self.settings.clip)}

    def evaluate(self) -> dict[str, float]:
        return self.problem.evaluate(self.model)

    def vocabulary(self) -> Vocabulary | None:
        return None if self.model.tokens is None else Vocabulary(self.model.tokens, self.problem.names)

    def probe(self) -> Probe:
        return self.problem.probe(self.model)

    def probed(self, numbers: Sequence[int]) -> list[list[str]] | None:
        if self.settings.task == "series":
            return None
        return [self.problem.example(number, self.settings.block_size).labels for number in numbers]

    def change(self, settings: RecurrentSettings) -> None:
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        return self.problem.baselines()

    def baselines_depend_on(self) -> str:
        """The held-out sequences have the length that is set, and forecasts the horizon."""
        return f"{self.settings.length} {self.settings.horizon}"

    def extra_state(self) -> dict[str, Any]:
        return self.problem.extra_state()

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.problem.load_extra_state(extra)

    def graphs(self) -> dict[str, Graph]:
        """Sequences to the outputs after each step, for adding after the last one; from a zero state."""
        example = self.problem.example(0, 6).values
        name = "tokens" if self.problem.vocabulary else "numbers"
        free = {name: {0: "batch"}} if self.settings.bidirectional else {name: {0: "batch", 1: "time"}}
        model = Stateless(self.model, final=self.settings.task == "adding")
        return {"net": Graph(model, {name: torch.cat([example, example])}, ("outputs",), free)}

    def untrained(self, cell: str) -> Recurrent:
        """The model before training, with any cell; the run's own random numbers are left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.settings.seed)
            return make_model(self.settings, self.problem, cell).to(self.device)


def make_problem(
    settings: RecurrentSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
) -> Problem:
    """The problem that `task` names. Raises `DataError`."""
    if settings.task == "text":
        return TextProblem(settings, device, generator, assets)
    if settings.task == "series":
        return SeriesProblem(settings, device, generator, assets)
    return (AddingProblem if settings.task == "adding" else CopyProblem)(settings, device, generator)


def make_model(settings: RecurrentSettings, problem: Problem, cell: str) -> Recurrent:
    """A net with the problem's inputs and outputs."""
    return Recurrent(
        problem.outputs,
        cell=cell,
        vocabulary=problem.vocabulary,
        inputs=problem.inputs,
        embedding=settings.embedding,
        width=settings.width,
        layers=settings.layers,
        head=settings.head,
        dropout=settings.dropout,
        bidirectional=settings.bidirectional,
        forget_bias=settings.forget_bias,
    )
