"""Training a recurrent net on one of its four tasks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.recurrent import cost as costs
from dlplay.architectures.recurrent import panels
from dlplay.architectures.recurrent.gradient_flow import curves, flow
from dlplay.architectures.recurrent.language import Language
from dlplay.architectures.recurrent.model import CELLS, Reading, Recurrent
from dlplay.architectures.recurrent.numeric import Numeric
from dlplay.architectures.recurrent.options import (
    Activations,
    Continued,
    Cost,
    Forecast,
    GradientFlow,
    NextToken,
    ReadTokens,
)
from dlplay.architectures.recurrent.problem import Problem
from dlplay.architectures.recurrent.sequences import Adding, Copy
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.engine.device import describe
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Bars, HeatMap, Lines, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.task import Task
from dlplay.parts.optimizers import decay_groups, set_rates, warmup_cosine
from dlplay.parts.prompt_options import Neighbours

FLOOR = 0.05
"""Share of the learning rate at the last step."""

REMEMBERED = 64
"""Measurements and fresh curves that are kept, at most."""


class RecurrentTask(Task[RecurrentSettings]):
    """A recurrent net and its problem."""

    questions = {
        name: name
        for name in (
            "next_token",
            "passage",
            "prompt_tokens",
            "activations",
            "unit",
            "gradient_flow",
            "cost_against_length",
            "forecast",
            "neighbours",
            "norms",
        )
    }

    def __init__(self, settings: RecurrentSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        self.problem = pose(settings, device, self.generators["data"], assets)
        self.data = self.problem.data
        self.models["net"] = self.model = make_model(settings, self.problem).to(device)
        self.optimizers["net"] = self.optimizer = adamw(self.model, settings)
        self._fresh: dict[GradientFlow, dict[str, list[float]]] = {}
        self._costs: dict[int, dict[str, list[float]]] = {}

    def train_step(self) -> dict[str, Tensor]:
        """One chunk of every stream, or one batch of sequences."""
        settings = self.settings
        rate = settings.lr * warmup_cosine(self.step, settings.warmup, settings.steps, FLOOR)
        set_rates(self.optimizer, lr=rate, weight_decay=settings.weight_decay)
        loss = self.problem.loss(self.model)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """On all that is held out."""
        return self.problem.evaluate(self.model)

    def change(self, settings: RecurrentSettings) -> None:
        """Dropout is the one live setting that the model keeps for itself."""
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams, constants and persistence, as the problem has them."""
        return self.problem.baselines()

    def baselines_key(self) -> str:
        """The problem's."""
        return self.problem.baselines_key()

    def assets(self) -> dict[str, Any]:
        """A vocabulary, or a series' units."""
        return self.problem.assets()

    def data_key(self) -> str:
        """The problem's."""
        return self.problem.data_key()

    def extra_state(self) -> dict[str, Any]:
        """The place in the data and what is carried on."""
        return self.problem.extra_state()

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self.problem.load_extra_state(extra)

    def graphs(self) -> dict[str, Graph]:
        """A sequence, read from nothing, to what is said after each step; for adding to the one sum."""
        read = self.problem.piece(0, 6).inputs
        inputs = torch.cat([read, read])
        name = "tokens" if self.problem.vocabulary else "numbers"
        free = {name: {0: "batch"}} if self.settings.bidirectional else {name: {0: "batch", 1: "time"}}
        return {"net": Graph(Reading(self.model, self.settings.task == "adding"), {name: inputs}, ("outputs",), free)}

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def next_token(self, options: NextToken) -> Bars:
        """What comes after the prompt."""
        return self.problem.next_token(self.model, options)

    def passage(self, options: Continued) -> Tokens:
        """A continuation of the prompt."""
        return self.problem.passage(self.model, options)

    def prompt_tokens(self, options: ReadTokens) -> Tokens:
        """The prompt, step by step."""
        return self.problem.prompt_tokens(self.model, options)

    def activations(self, options: Activations) -> HeatMap:
        """See `panels.activations`; so for the others."""
        return panels.activations(self.model, self.problem, options)

    def unit(self, options: Activations) -> Tokens:
        """One unit through what is read."""
        return panels.unit(self.model, self.problem, options)

    def gradient_flow(self, options: GradientFlow) -> Lines:
        """The gradient through time; what fresh cells do is worked out once for each choice of options."""
        inputs, targets = self.problem.last_step(options.example, options.back)
        if options not in self._fresh:
            _make_room(self._fresh)
            fresh = {f"fresh {cell}": fresh_model(self.settings, self.problem, cell).to(self.device).eval() for cell in CELLS}
            self._fresh[options] = curves(fresh, self.problem, inputs, targets)
        return flow(self.model, self.problem, inputs, targets, self._fresh[options])

    def cost_against_length(self, options: Cost) -> Lines:
        """Time per step of three kinds of layer; measured once for each number but 0, so that what is only watched costs nothing."""
        if options.measurement == 0:
            return costs.NOT_MEASURED
        if options.measurement not in self._costs:
            _make_room(self._costs)
            self._costs[options.measurement] = costs.measure(self.settings.cell, self.settings.width, self.device)
        where = f"{describe(self.device)}, {torch.get_num_threads()} threads" if self.device.type == "cpu" else describe(self.device)
        return costs.lines(self._costs[options.measurement], self.settings.cell, self.settings.width, where)

    def forecast(self, options: Forecast) -> Lines:
        """Forecast against truth."""
        return self.problem.forecast(self.model, options)

    def neighbours(self, options: Neighbours) -> Bars:
        """Embedding neighbours."""
        return self.problem.neighbours(self.model, options)

    def norms(self, options: Options) -> Bars:
        """Gradient and weight norms."""
        return panels.norms(self.model)


def pose(settings: RecurrentSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None) -> Problem:
    """The problem that the settings name. Raises `DataError`."""
    if settings.task == "text":
        return Language(settings, device, generator, assets)
    if settings.task == "series":
        return Numeric(settings, device, generator, assets)
    return (Adding if settings.task == "adding" else Copy)(settings, device, generator)


def make_model(settings: RecurrentSettings, problem: Problem, cell: str = "") -> Recurrent:
    """A net for the problem, of the settings' cell or another one."""
    return Recurrent(
        problem.outputs,
        cell=cell or settings.cell,
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


def fresh_model(settings: RecurrentSettings, problem: Problem, cell: str) -> Recurrent:
    """The same net as it begins, with any cell; the run's own random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        return make_model(settings, problem, cell)


def adamw(model: Recurrent, settings: RecurrentSettings) -> torch.optim.AdamW:
    """AdamW, with weight decay on the matrices alone."""
    return torch.optim.AdamW(decay_groups(model), lr=settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=True)


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= REMEMBERED:
        kept.pop(next(iter(kept)))
