"""What a recurrent net is set to: its data, its loss, what is measured on held-out data, and what may be asked of it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.recurrent.model import Hold, Parts, Recurrent, State
from dlplay.architectures.recurrent.options import Continued, Forecast, NextToken, Probe, ReadTokens, Unit
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.engine.panels import Bars, Lines, Tokens
from dlplay.parts.prompt_options import Neighbours

SHOWN = 96
"""Steps of a piece of held-out data that are looked at."""

READ = 1024
"""Steps of a prompt that are read, at most."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a model reads while somebody looks inside."""

    inputs: Tensor  # (1, T) or (1, T, C)
    labels: list[str]
    """One for each step."""
    notes: list[str]
    """What must be known of it."""


class Problem(ABC):
    """Base of the four tasks."""

    vocabulary = 0
    """Number of tokens; 0 where numbers are read."""
    inputs = 1
    """Numbers read at each step."""
    outputs = 1
    data = ""
    """The data in words, with sizes."""

    def __init__(self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator) -> None:
        self.settings, self.device, self.generator = settings, device, generator

    @abstractmethod
    def loss(self, model: Recurrent) -> Tensor:
        """Of the next batch."""

    @abstractmethod
    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """On all that is held out."""

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, float]]:
        """What simpler methods reach."""

    @abstractmethod
    def baselines_key(self) -> str:
        """Names all that they depend on."""

    def assets(self) -> dict[str, Any]:
        """What the weights are useless without."""
        return {}

    def data_key(self) -> str:
        """Names what the data hold; fresh sequences at every step have nothing but their kind."""
        return str(self.settings.task)

    def extra_state(self) -> dict[str, Any]:
        """The place in the data, and what is carried on."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:  # noqa: B027, nothing to load where nothing was saved
        """Inverse of `extra_state`."""

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def piece(self, number: int, length: int) -> Reading:
        """A piece of the held-out data, of at most `length` steps."""

    @abstractmethod
    def typed(self, prompt: str) -> Reading | None:
        """What was typed; None when it says nothing in this task's terms."""

    @abstractmethod
    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Held-out inputs (B, T) or (B, T, C) of at most `length` steps, and the targets of their last step, for `criterion`."""

    @abstractmethod
    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of outputs (B, V) against their targets."""

    def answer(self, model: Recurrent, hidden: Tensor) -> Tensor:
        """What the model says at the end, (B, V), from its last layer's hidden states (B, T, H D)."""
        return model.read_out(hidden[:, -1])

    @abstractmethod
    def next_token(self, model: Recurrent, options: NextToken) -> Bars:
        """What comes next."""

    @abstractmethod
    def passage(self, model: Recurrent, options: Continued) -> Tokens:
        """What comes after that."""

    @abstractmethod
    def prompt_tokens(self, model: Recurrent, options: ReadTokens) -> Tokens:
        """How the input was read."""

    def neighbours(self, model: Recurrent, options: Neighbours) -> Bars:
        """Embedding neighbours."""
        return Bars(
            labels=[], values=[], caption=f"--task {self.settings.task} has no words to compare; --task text shows their neighbours here"
        )

    def forecast(self, model: Recurrent, options: Forecast) -> Lines:
        """Forecast against truth."""
        return Lines(x=[], series={}, caption=f"--task {self.settings.task} predicts tokens; --task series or adding draws a forecast here")

    def reading(self, options: Probe) -> Reading:
        """The prompt, or a piece of the held-out data when that is wanted or the prompt says nothing."""
        found = self.typed(options.prompt) if options.read == "prompt" else None
        return found or self.piece(options.example, SHOWN)


def hold_of(model: Recurrent, options: Unit) -> Hold | None:
    """The unit that is held fast, if any."""
    if options.hold == "free":
        return None
    layer, unit = chosen(model, options)
    return Hold(layer, unit, options.hold_at if options.hold == "clamped" else 0.0)


def chosen(model: Recurrent, options: Unit) -> tuple[int, int]:
    """Layer and unit that the options mean."""
    return min(options.layer, model.layers - 1), min(options.unit, model.width - 1)


def hold_words(hold: Hold | None) -> list[str]:
    """What is held fast, in words."""
    return [] if hold is None else [f"unit {hold.unit} of layer {hold.layer} held at {hold.value:g}"]


class Walker:
    """A model in the middle of a sequence: through the fused kernel, or step by step when a unit is held fast."""

    def __init__(self, model: Recurrent, hold: Hold | None) -> None:
        self.model, self.hold = model, hold
        self._state: State | None = None
        self._before: list[Parts] | None = None

    def read(self, inputs: Tensor) -> Tensor:
        """Outputs (B, T, V) after each further step."""
        return self.model.read_out(self.hidden(inputs))

    def hidden(self, inputs: Tensor) -> Tensor:
        """Hidden states (B, T, H D) of the last layer after each further step."""
        if self.hold is None:
            hidden: Tensor
            hidden, self._state = self.model(inputs, self._state)
            return hidden
        trace = self.model.trace(inputs, self.hold, self._before)
        self._before = [steps[-1] for steps in trace.layers]
        return trace.hidden
