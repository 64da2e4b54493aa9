"""A series of numbers: the next value, and on and on from the model's own predictions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent
from dlplay.architectures.recurrent.options import Continued, Forecast, NextToken, ReadTokens
from dlplay.architectures.recurrent.problem import READ, Problem, Reading, Walker, hold_of, hold_words
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.architectures.recurrent.streams import WARM_UP, HeldOut, Streams
from dlplay.data.series import Series, read_series
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Bars, Lines, Tokens

ORIGINS = 256
"""Places in the held-out series from which it is forecast, at most."""

ORDER = 32
"""Values that the linear autoregression sees."""


class Numeric(Problem):
    """Next-value prediction in units of the training part's standard deviation."""

    def __init__(
        self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
    ) -> None:
        super().__init__(settings, device, generator)
        self._series: Series | None = None
        self._no_series = ""
        try:
            series = read_series(settings.data, settings.column)
            self._check(series)
            self.mean, self.scale = float(series.train.mean()), float(series.train.std()) or 1.0
            if assets is not None:
                self.mean, self.scale = float(assets["mean"]), float(assets["scale"])
            self._train = self._scaled(series.train)
            self._streams = Streams(self._train, settings.batch, settings.block_size, generator)
        except DataError as error:
            if assets is None:
                raise
            self._no_series = str(error)
            self.data = f"no series, so that it can be asked and not trained: {error}"
            self.mean, self.scale = float(assets["mean"]), float(assets["scale"])
            return
        self._series = series
        self._held_out = self._scaled(series.held_out)
        self.data = (
            f"{series.name}: {len(series.train):,} values to train on, the last {len(series.held_out):,} held out, "
            f"mean {self.mean:.4g}, standard deviation {self.scale:.4g}"
        )

    def _check(self, series: Series) -> None:
        if len(series.held_out) < max(self.settings.horizon + 2, 20):
            raise DataError(
                f"the held-out tenth of {series.name} has {len(series.held_out):,} values, too few for a horizon of "
                f"{self.settings.horizon}; give a longer series or a smaller --horizon"
            )

    def _scaled(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(((values - self.mean) / self.scale).astype(np.float32)).to(self.device)

    @property
    def series(self) -> Series:
        """The series. Raises `DataError` when it could not be read and the weights came from a checkpoint."""
        if self._series is None:
            raise DataError(self._no_series)
        return self._series

    # --- training and evaluation --------------------------------------------------------------------------------------------------

    def loss(self, model: Recurrent) -> Tensor:
        """Mean squared error of the next values of a chunk of the streams."""
        self.series  # noqa: B018  # says why there is none
        inputs, targets = self._streams.next()
        hidden, state = model(inputs[..., None], self._streams.state)
        self._streams.carry(state)
        return F.mse_loss(model.read_out(hidden)[..., 0], targets)

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Squared error of the next value, and of `horizon` values forecast from many places, the model living on its own predictions."""
        self.series  # noqa: B018
        rows = HeldOut(self._train, self._held_out, rows=8)
        total = torch.zeros((), device=self.device)
        state = None
        for inputs, targets, scored in rows.chunks(512):
            hidden, state = model(inputs[..., None], state)
            total += ((model.read_out(hidden)[..., 0] - targets).square() * scored).sum()
        contexts, truth = self._forecasts()
        said = extend(model, contexts, truth.shape[1])
        return {"val_loss": total.item() / rows.count, "test_mse": F.mse_loss(said, truth).item()}

    def _forecasts(self) -> tuple[Tensor, Tensor]:
        """What is read before each place of the held-out part, (places, at most `WARM_UP`), and what comes after it, (places, horizon)."""
        horizon = self.settings.horizon
        context = min(WARM_UP, len(self._train))
        sequence = torch.cat([self._train[-context:], self._held_out])
        windows = sequence.unfold(0, context + horizon, 1)
        windows = windows[:: -(-len(windows) // ORIGINS)]
        return windows[:, :context], windows[:, context:]

    def baselines(self) -> dict[str, dict[str, float]]:
        """The mean, the last value, and a line fitted to the last `ORDER` values, for one step and for the horizon."""
        train = self._train.cpu().double().numpy()
        contexts, truth = (part.cpu().double().numpy() for part in self._forecasts())
        before = np.concatenate([train[-1:], self._held_out.cpu().double().numpy()])
        found: dict[str, dict[str, float]] = {
            "val_loss": {"constant": float((before[1:] ** 2).mean()), "persistence": float((np.diff(before) ** 2).mean())},
            "test_mse": {"constant": float((truth**2).mean()), "persistence": float(((truth - contexts[:, -1:]) ** 2).mean())},
        }
        order = min(ORDER, len(train) // 4, contexts.shape[1])
        weights = autoregression(train, order)
        seen = np.concatenate([train[-order:], before[1:]])
        windows = np.lib.stride_tricks.sliding_window_view(seen, order)[:-1]
        one = windows @ weights[:-1] + weights[-1]
        values = contexts
        for _ in range(truth.shape[1]):
            values = np.concatenate([values, values[:, -order:] @ weights[:-1, None] + weights[-1]], axis=1)
        said = values[:, contexts.shape[1] :]
        found["val_loss"]["linear autoregression"] = float(((one - before[1:]) ** 2).mean())
        found["test_mse"]["linear autoregression"] = float(np.clip((said - truth) ** 2, 0, 1e30).mean())
        return found

    def baselines_key(self) -> str:
        """The series and what is asked of it."""
        return f"series 1 {self.series.key} {self.settings.horizon}"

    def assets(self) -> dict[str, Any]:
        """What turns the model's units into the series' own."""
        return {"mean": self.mean, "scale": self.scale}

    def data_key(self) -> str:
        """The series'."""
        return self.series.key

    def extra_state(self) -> dict[str, Any]:
        """The place in the series, and what is carried on."""
        return {"streams": self._streams.extra_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self._streams.load_extra_state(extra["streams"])

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def _words(self, values: Tensor) -> list[str]:
        return [f"{value:.4g}" for value in (values.cpu().double() * self.scale + self.mean).tolist()]

    def piece(self, number: int, length: int) -> Reading:
        """Held-out values from a multiple of `length` on."""
        self.series  # noqa: B018
        pieces = max(1, len(self._held_out) // length)
        start = number % pieces * length
        values = self._held_out[start : start + length]
        return Reading(values[None, :, None], self._words(values), [f"held-out values from {start:,} on"])

    def typed(self, prompt: str) -> Reading | None:
        """Numbers in the series' own units."""
        found = [float(number) for number in re.findall(r"-?\d*\.?\d+(?:[eE][-+]?\d{1,2})?", prompt)[-READ:]]
        if not found:
            return None
        values = torch.tensor([(value - self.mean) / self.scale for value in found], device=self.device).clamp(-1e6, 1e6)
        return Reading(values[None, :, None], self._words(values), [])

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight pieces of the held-out part, and the value after each."""
        self.series  # noqa: B018
        windows = torch.cat([self._train[-length:], self._held_out]).unfold(0, length + 1, 1)
        rows = (torch.arange(8, device=self.device) * max(1, len(windows) // 8) + number) % len(windows)
        return windows[rows, :-1, None], windows[rows, -1:]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs, targets)

    def _before(self, prompt: str) -> Reading:
        return self.typed(prompt) or self.piece(0, WARM_UP)

    def next_token(self, model: Recurrent, options: NextToken) -> Bars:
        """The next value, beside the last one."""
        reading = self._before(options.prompt)
        hold = hold_of(model, options)
        said = Walker(model, hold).read(reading.inputs)[0, -1]
        labels, values = ["last value", "next value"], [reading.inputs[0, -1].item(), said.item()]
        if hold is not None:
            labels, values = [*labels, "with it free"], [*values, Walker(model, None).read(reading.inputs)[0, -1].item()]
        return Bars(
            labels=labels,
            values=[value * self.scale + self.mean for value in values],
            figure=self._words(said)[0],
            appends=["", " " + self._words(said)[0], *[""] * (len(labels) - 2)],
            caption=" · ".join([*hold_words(hold), *reading.notes, "type numbers to go on from them"]),
        )

    def passage(self, model: Recurrent, options: Continued) -> Tokens:
        """The forecast in numbers."""
        reading = self._before(options.prompt)
        said = self._words(extend(model, reading.inputs[..., 0], options.words, Walker(model, hold_of(model, options)))[0])
        caption = " · ".join([*hold_words(hold_of(model, options)), *reading.notes])
        return Tokens(words=said, values=[None] * len(said), text=" " + " ".join(said), caption=caption)

    def prompt_tokens(self, model: Recurrent, options: ReadTokens) -> Tokens:
        """The values that were read."""
        reading = self._before(options.prompt)
        return Tokens(words=reading.labels, values=[None] * len(reading.labels), caption=" · ".join(reading.notes))

    def forecast(self, model: Recurrent, options: Forecast) -> Lines:
        """What was read, what came, and what is forecast from a place in the held-out part."""
        self.series  # noqa: B018
        sequence = torch.cat([self._train[-WARM_UP:], self._held_out])
        before = len(sequence) - len(self._held_out)
        step = max(1, self.settings.horizon)
        start = before + options.example % max(1, (len(self._held_out) - 1) // step) * step
        hold = hold_of(model, options)
        said = extend(model, sequence[None, start - before : start], options.ahead, Walker(model, hold))[0]
        truth = sequence[start : start + options.ahead]
        shown = min(before, max(SHOWN_BEFORE, options.ahead))
        own = [float(word) for word in self._words(torch.cat([sequence[start - shown : start], truth]))]
        error = f"MSE {float((said[: len(truth)] - truth).square().mean()):.3g}" if len(truth) else ""
        return Lines(
            x=[float(number) for number in range(-shown + 1, options.ahead + 1)],
            series={
                "truth": [*own, *[None] * (options.ahead - len(truth))],
                "forecast": [*[None] * shown, *(float(word) for word in self._words(said))],
            },
            x_title="steps from where the forecast begins",
            figure=error,
            caption=" · ".join([*hold_words(hold), f"from held-out value {start - before:,} on"]),
        )


SHOWN_BEFORE = 50
"""Values before a forecast that are drawn."""


def extend(model: Recurrent, context: Tensor, steps: int, walker: Walker | None = None) -> Tensor:
    """`steps` values (B, steps) after those of `context` (B, T), each predicted from the ones before, predictions included."""
    walker = walker or Walker(model, None)
    value = walker.read(context[..., None])[:, -1:]  # (B, 1, 1)
    said = [value]
    for _ in range(steps - 1):
        value = walker.read(value)
        said.append(value)
    return torch.cat(said, dim=1)[..., 0]


def autoregression(values: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Least-squares weights of the `order` last values, oldest first, and a constant, (order + 1,), that predict the next one."""
    windows = np.lib.stride_tricks.sliding_window_view(values, order)[:-1]
    design = np.concatenate([windows, np.ones((len(windows), 1))], axis=1)
    weights: NDArray[np.float64] = np.linalg.lstsq(design, values[order:], rcond=None)[0]
    return weights
