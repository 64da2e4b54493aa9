"""The adding problem (Hochreiter and Schmidhuber, 1997): the sum of two marked numbers in a sequence of many."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.recurrent.model import Clamp, Recurrent, Stateful
from dlplay.architectures.recurrent.panels import RecurrentPanels
from dlplay.architectures.recurrent.problems.problem import PROBED_STEPS, READ, Inputs, Problem
from dlplay.architectures.recurrent.settings import Forecast, NextToken, Passage, PromptToken, RecurrentSettings
from dlplay.engine.dataset import Generated
from dlplay.engine.means import work
from dlplay.engine.panels import Bars, Lines, Tokens
from dlplay.engine.task import Probe, Share
from dlplay.parts.held_out import held_out_generator

if TYPE_CHECKING:
    from dlplay.architectures.recurrent.task import RecurrentTask

HELD_OUT = 1000
"""Held-out sequences."""


def adding_batch(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 1 and marks, (count, length, 2), with one number marked in each half; and the marked ones' sum, (count, 1)."""
    numbers = torch.rand(count, length, generator=generator)
    first = torch.randint(length // 2, (count, 1), generator=generator)
    second = torch.randint(length // 2, length, (count, 1), generator=generator)
    marks = torch.zeros(count, length).scatter_(1, torch.cat([first, second], dim=1), 1.0)
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(dim=1, keepdim=True)


class AddingProblem(Problem):
    """The sum is predicted after the last number."""

    inputs = 2

    def __init__(self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(settings, device, generator)
        x, sums = adding_batch(HELD_OUT, settings.length, held_out_generator())
        self.held_out = x.to(device), sums.to(device)
        self.dataset = Generated(
            f"the adding problem: {settings.length} numbers, two of them marked; fresh ones at every step, {HELD_OUT:,} held out",
            key="adding",
        )

    def draw(self) -> tuple[Tensor, ...]:
        return adding_batch(self.settings.batch, self.settings.length, self.generator)

    def loss(self, model: Recurrent, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Squared error of the sums of a fresh batch."""
        x, sums = map(share, drawn)
        return self.criterion(self.final_outputs(model, model(x)[0]), sums)

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        x, sums = self.held_out
        error = self.criterion(self.final_outputs(model, model(x)[0]), sums).item()
        return {"val_loss": error, "test_mse": error}

    def probe(self, model: Recurrent) -> Probe:
        count = max(2, work(PROBED_STEPS) // self.settings.length)
        x, sums = (part[:count] for part in self.held_out)
        return Probe((self.final_outputs(model, model(x)[0]) - sums).square()[:, 0], "squared error of the sum")

    def baselines(self) -> dict[str, dict[str, float]]:
        """Always 1, the mean of all sums: 1/6 in the limit."""
        error = float((self.held_out[1] - 1).square().mean())
        return {name: {"constant": error} for name in ("val_loss", "test_mse")}

    def final_outputs(self, model: Recurrent, hidden: Tensor) -> Tensor:
        """Each direction has read the whole sequence."""
        return model.read_out(model.final_hidden(hidden))

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def panels(self, task: RecurrentTask) -> RecurrentPanels:
        return AddingPanels(task, self)

    def example(self, number: int, length: int) -> Inputs:
        x = self.held_out[0][number % HELD_OUT][None]
        return Inputs(x, _labels(x), [f"held-out sequence {number % HELD_OUT}"])

    def parse(self, prompt: str) -> Inputs | None:
        """Numbers with a star after the marked ones, such as 0.3 0.9* 0.5 0.4*."""
        found = re.findall(r"(\d*\.?\d+)(\*?)", prompt)[-READ:]
        if not found or not any(mark for _, mark in found):
            return None
        x = torch.tensor([[[min(float(number), 1.0), float(bool(mark))] for number, mark in found]], device=self.device)
        return Inputs(x, _labels(x), ["numbers from 0 to 1, a star after the marked ones"])

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Whole sequences."""
        x, sums = self.held_out
        rows = (torch.arange(8, device=self.device) + 8 * number) % HELD_OUT
        return x[rows], sums[rows]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs, targets)


class AddingPanels(RecurrentPanels):
    """The panels of a model that adds."""

    def __init__(self, task: RecurrentTask, problem: AddingProblem) -> None:
        super().__init__(task)
        self.held_out = problem.held_out

    def next_token(self, options: NextToken) -> Bars:
        """The predicted sum beside the true one."""
        inputs = self._inputs(options)
        clamp = self._clamp(options)
        predicted = self._sum(inputs.values, clamp).item()
        true = float((inputs.values[..., 0] * inputs.values[..., 1]).sum())
        bars = {"predicted sum": predicted, "true sum": true}
        if clamp is not None:
            bars["predicted, unit intact"] = self._sum(inputs.values).item()
        return Bars(
            labels=list(bars),
            values=[max(0.0, value) for value in bars.values()],
            high=2.0,
            figure=f"{predicted:.3f}",
            caption=self._caption(options, *inputs.notes, "type numbers and mark two with a star, such as 0.3 0.9* 0.5 0.4*"),
        )

    def passage(self, options: Passage) -> Tokens:
        predicted = self._sum(self._inputs(options).values, self._clamp(options)).item()
        caption = self._caption(options, "the predicted sum; nothing follows it")
        return Tokens(words=[f"{predicted:.3f}"], values=[None], text="", ended=True, caption=caption)

    def prompt_tokens(self, options: PromptToken) -> Tokens:
        """The numbers; the marked ones stand out."""
        inputs = self._inputs(options)
        marked = inputs.values[0, :, 1].tolist()
        return Tokens(words=inputs.labels, values=marked, ends=("ignored", "added"), caption=" · ".join(inputs.notes))

    def forecast(self, options: Forecast) -> Lines:
        """Predicted and true sums of a hundred held-out sequences, ordered by the true sum."""
        x, sums = (part[:100] for part in self.held_out)
        true, order = sums[:, 0].sort()
        predicted = self._sum(x, self._clamp(options))[order, 0]
        return Lines(
            x=[float(number) for number in range(len(true))],
            series={"true sum": true.tolist(), "predicted sum": predicted.tolist()},
            x_title="held-out sequences, ordered by their true sum",
            figure=f"MSE {float((predicted - true).square().mean()):.3g}",
            caption=self._caption(options),
        )

    def _sum(self, x: Tensor, clamp: Clamp | None = None) -> Tensor:
        return self.problem.final_outputs(self.model, Stateful(self.model, clamp).hidden(x))  # (B, 1)


def _labels(x: Tensor) -> list[str]:
    """The numbers of a sequence (1, T, 2), a star after the marked ones."""
    return [f"{number:.2f}" + ("*" if mark else "") for number, mark in x[0].tolist()]
