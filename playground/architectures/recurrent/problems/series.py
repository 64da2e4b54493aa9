"""A series of numbers: the next value, and a forecast that feeds on its own predictions."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent, Stateful
from dlplay.architectures.recurrent.panels import RecurrentPanels
from dlplay.architectures.recurrent.problems.problem import PROBED_STEPS, READ, Inputs, Problem
from dlplay.architectures.recurrent.settings import Forecast, NextToken, Passage, PromptToken, RecurrentSettings
from dlplay.data.series import Scale, Series, read_series
from dlplay.engine.dataset import Missing, present
from dlplay.engine.errors import DataError
from dlplay.engine.means import work
from dlplay.engine.panels import Bars, Lines, Tokens
from dlplay.engine.task import Probe, Share
from dlplay.parts.streams import HeldOutRows, Streams

if TYPE_CHECKING:
    from dlplay.architectures.recurrent.task import RecurrentTask

WARM_UP = 256
"""Values that are read before those that are scored, or before a forecast."""

ROWS = 8
"""Rows that an evaluation reads side by side, at most."""

ORIGINS = 256
"""Places in the held-out series from which it is forecast, at most."""

ORDER = 32
"""Values that the linear autoregression sees."""

SHOWN_BEFORE = 50
"""Values before a forecast that are drawn."""


class SeriesProblem(Problem):
    """Next-value prediction, standardised by the mean and standard deviation of the training part."""

    dataset: Series | Missing

    def __init__(
        self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
    ) -> None:
        super().__init__(settings, device, generator)
        try:
            series = read_series(settings.data, settings.column)
            self._check(series)
            if assets is not None:
                series = dataclasses.replace(series, scale=Scale.from_assets(assets))
            self.scale = series.scale
            self.train, self.held_out = self._standardised(series.train), self._standardised(series.held_out)
            self.streams = Streams(self.train, settings.batch, settings.block_size, generator, carries="state")
            self.dataset = series
        except DataError as error:
            if assets is None:
                raise
            self.scale = Scale.from_assets(assets)
            self.dataset = Missing("series", str(error), self.scale.assets)

    def _check(self, series: Series) -> None:
        if len(series.held_out) < max(self.settings.horizon + 2, 20):
            raise DataError(
                f"the held-out tenth of {series.name} has {len(series.held_out):,} values, too few for a horizon of "
                f"{self.settings.horizon}; use a longer series or a smaller --horizon"
            )

    def _standardised(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(((values - self.scale.mean) / self.scale.std).astype(np.float32)).to(self.device)

    # --- training and evaluation --------------------------------------------------------------------------------------------------

    def loss(self, model: Recurrent, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Squared error of the next values of a chunk of the streams."""
        present(self.dataset)
        inputs, targets = self.streams.next(share)
        hidden, state = model(inputs[..., None], self.streams.carried)
        self.streams.carry(state)
        return F.mse_loss(model.read_out(hidden)[..., 0], targets)

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Squared error of the next value (`val_loss`), and of forecasts of `horizon` values from many places (`test_mse`)."""
        present(self.dataset)
        rows = HeldOutRows(self.train, self.held_out, warm_up=WARM_UP, rows=ROWS)
        total = torch.zeros((), device=self.device)
        state = None
        for inputs, targets, scored in rows.chunks(512):
            hidden, state = model(inputs[..., None], state)
            total += ((model.read_out(hidden)[..., 0] - targets).square() * scored).sum()
        contexts, truth = self.forecasts()
        return {"val_loss": total.item() / rows.count, "test_mse": F.mse_loss(forecast(model, contexts, truth.shape[1]), truth).item()}

    def probe(self, model: Recurrent) -> Probe:
        """The squared error of the next value, mean over each of a few pieces of the held-out part, after those before it."""
        present(self.dataset)
        length = min(WARM_UP, len(self.train))
        sequence = torch.cat([self.train[-length:], self.held_out])
        windows = sequence.unfold(0, length + 1, 1)  # (places, T + 1)
        windows = windows[torch.linspace(0, len(windows) - 1, max(2, work(PROBED_STEPS) // length), device=self.device).long()]
        predicted = model.read_out(model(windows[:, :-1, None])[0])[..., 0]  # (B, T)
        scored = length // 2  # the first half is read to warm up
        return Probe((predicted - windows[:, 1:])[:, scored:].square().mean(dim=1), "squared error of the next value")

    def forecasts(self) -> tuple[Tensor, Tensor]:
        """What is read before each place of the held-out part, (places, at most `WARM_UP`), and what comes after it, (places, horizon)."""
        horizon = self.settings.horizon
        context = min(WARM_UP, len(self.train))
        sequence = torch.cat([self.train[-context:], self.held_out])
        windows = sequence.unfold(0, context + horizon, 1)
        windows = windows[:: -(-len(windows) // ORIGINS)]
        return windows[:, :context], windows[:, context:]

    def baselines(self) -> dict[str, dict[str, float]]:
        """The mean, persistence (the last value), and a linear autoregression, for one step and for the horizon."""
        train = self.train.cpu().double().numpy()
        contexts, truth = (part.cpu().double().numpy() for part in self.forecasts())
        before = np.concatenate([train[-1:], self.held_out.cpu().double().numpy()])
        found: dict[str, dict[str, float]] = {
            "val_loss": {"constant": float((before[1:] ** 2).mean()), "persistence": float((np.diff(before) ** 2).mean())},
            "test_mse": {"constant": float((truth**2).mean()), "persistence": float(((truth - contexts[:, -1:]) ** 2).mean())},
        }
        order = min(ORDER, len(train) // 4, contexts.shape[1])
        weights = autoregression(train, order)
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([train[-order:], before[1:]]), order)[:-1]
        next_values = windows @ weights[:-1] + weights[-1]
        values = contexts
        for _ in range(truth.shape[1]):
            values = np.concatenate([values, values[:, -order:] @ weights[:-1, None] + weights[-1]], axis=1)
        predicted = values[:, contexts.shape[1] :]
        found["val_loss"]["linear autoregression"] = float(((next_values - before[1:]) ** 2).mean())
        found["test_mse"]["linear autoregression"] = float(np.clip((predicted - truth) ** 2, 0, 1e30).mean())
        return found

    def extra_state(self) -> dict[str, Any]:
        return {"streams": self.streams.extra_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.streams.load_extra_state(extra["streams"])

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def panels(self, task: RecurrentTask) -> RecurrentPanels:
        return SeriesPanels(task, self)

    def labels(self, values: Tensor) -> list[str]:
        """Values in the series' own units."""
        return [f"{value:.4g}" for value in (values.cpu().double() * self.scale.std + self.scale.mean).tolist()]

    def example(self, number: int, length: int) -> Inputs:
        present(self.dataset)
        start = number % max(1, len(self.held_out) // length) * length
        values = self.held_out[start : start + length]
        return Inputs(values[None, :, None], self.labels(values), [f"held-out values from {start:,} on"])

    def parse(self, prompt: str) -> Inputs | None:
        """Numbers in the series' own units."""
        found = [float(number) for number in re.findall(r"-?\d*\.?\d+(?:[eE][-+]?\d{1,2})?", prompt)[-READ:]]
        if not found:
            return None
        values = torch.tensor([(value - self.scale.mean) / self.scale.std for value in found], device=self.device).clamp(-1e6, 1e6)
        return Inputs(values[None, :, None], self.labels(values), [])

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight pieces of the held-out part, and the value after each."""
        present(self.dataset)
        windows = torch.cat([self.train[-length:], self.held_out]).unfold(0, length + 1, 1)
        rows = (torch.arange(8, device=self.device) * max(1, len(windows) // 8) + number) % len(windows)
        return windows[rows, :-1, None], windows[rows, -1:]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs, targets)


class SeriesPanels(RecurrentPanels):
    """The panels of a model that forecasts."""

    def __init__(self, task: RecurrentTask, problem: SeriesProblem) -> None:
        super().__init__(task)
        self.series = problem

    def next_token(self, options: NextToken) -> Bars:
        """The predicted next value beside the last one."""
        inputs = self._inputs(options)
        clamp = self._clamp(options)
        predicted = Stateful(self.model, clamp).outputs(inputs.values)[0, -1]  # (1,)
        bars = {"last value": inputs.values[0, -1].item(), "predicted next value": predicted.item()}
        if clamp is not None:
            bars["predicted, unit intact"] = Stateful(self.model).outputs(inputs.values)[0, -1].item()
        [label] = self.series.labels(predicted)
        return Bars(
            labels=list(bars),
            values=[value * self.series.scale.std + self.series.scale.mean for value in bars.values()],
            figure=label,
            appends=["", f" {label}", *[""] * (len(bars) - 2)],
            caption=self._caption(options, *inputs.notes, "type numbers to continue them"),
        )

    def passage(self, options: Passage) -> Tokens:
        """The forecast in numbers."""
        inputs = self._inputs(options)
        values = self.series.labels(
            forecast(self.model, inputs.values[..., 0], options.words, Stateful(self.model, self._clamp(options)))[0]
        )
        return Tokens(words=values, values=[None] * len(values), text=" " + " ".join(values), caption=self._caption(options, *inputs.notes))

    def prompt_tokens(self, options: PromptToken) -> Tokens:
        """The values that were read."""
        inputs = self._inputs(options)
        return Tokens(words=inputs.labels, values=[None] * len(inputs.labels), caption=" · ".join(inputs.notes))

    def forecast(self, options: Forecast) -> Lines:
        """A forecast from a place in the held-out part, beside the values that came."""
        series = self.series
        present(series.dataset)
        sequence = torch.cat([series.train[-WARM_UP:], series.held_out])
        before = len(sequence) - len(series.held_out)
        step = max(1, series.settings.horizon)
        start = before + options.example % max(1, (len(series.held_out) - 1) // step) * step
        predicted = forecast(self.model, sequence[None, start - before : start], options.ahead, Stateful(self.model, self._clamp(options)))[
            0
        ]
        truth = sequence[start : start + options.ahead]
        shown = min(before, max(SHOWN_BEFORE, options.ahead))
        values = [float(label) for label in series.labels(torch.cat([sequence[start - shown : start], truth]))]
        return Lines(
            x=[float(number) for number in range(-shown + 1, options.ahead + 1)],
            series={
                "truth": [*values, *[None] * (options.ahead - len(truth))],
                "forecast": [*[None] * shown, *(float(label) for label in series.labels(predicted))],
            },
            x_title="steps from the start of the forecast",
            figure=f"MSE {float((predicted[: len(truth)] - truth).square().mean()):.3g}" if len(truth) else "",
            caption=self._caption(options, f"from held-out value {start - before:,} on"),
        )


def forecast(model: Recurrent, context: Tensor, steps: int, stateful: Stateful | None = None) -> Tensor:
    """`steps` values (B, steps) after those of `context` (B, T), each predicted from the ones before, predictions included."""
    stateful = stateful or Stateful(model)
    value = stateful.outputs(context[..., None])[:, -1:]  # (B, 1, 1)
    values = [value]
    for _ in range(steps - 1):
        value = stateful.outputs(value)
        values.append(value)
    return torch.cat(values, dim=1)[..., 0]


def autoregression(values: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Least-squares weights (order + 1,) that predict a value from the `order` ones before it, oldest first, and a constant."""
    windows = np.lib.stride_tricks.sliding_window_view(values, order)[:-1]
    design = np.concatenate([windows, np.ones((len(windows), 1))], axis=1)
    weights: NDArray[np.float64] = np.linalg.lstsq(design, values[order:], rcond=None)[0]
    return weights
