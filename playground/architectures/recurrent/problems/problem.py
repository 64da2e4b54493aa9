"""What a problem is: a dataset, a loss, held-out metrics and baselines, and inputs to look at."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.engine.dataset import Dataset
from dlplay.engine.task import Probe, Share

if TYPE_CHECKING:
    from dlplay.architectures.recurrent.panels import RecurrentPanels
    from dlplay.architectures.recurrent.task import RecurrentTask

PROBED_STEPS = 4096
"""Steps of held-out sequences that `probe` reads, all together."""

READ = 1024
"""Steps of a prompt that are read, at most: its last ones."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """One sequence that a panel shows the model."""

    values: Tensor  # (1, T) or (1, T, C)
    labels: list[str]
    """One for each step."""
    notes: list[str]
    """For the caption."""


class Problem(ABC):
    """Base of the four problems."""

    dataset: Dataset
    vocabulary = 0
    """Number of tokens; 0 where the inputs are numbers."""
    inputs = 1
    """Numbers in each input, where they are no tokens."""
    outputs = 1

    def __init__(self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator) -> None:
        self.settings, self.device, self.generator = settings, device, generator

    # --- training and evaluation --------------------------------------------------------------------------------------------------

    def draw(self) -> tuple[Tensor, ...]:
        """What the next batch takes from the generator, on the CPU: for a `loss`."""
        return ()

    @abstractmethod
    def loss(self, model: Recurrent, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Mean loss of the next batch, of the share of this process. `drawn` is what `draw` gave, on the device."""

    @abstractmethod
    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Metrics on all held-out data."""

    @abstractmethod
    def probe(self, model: Recurrent) -> Probe:
        """A measure of each of a few held-out sequences (see `Task.probe`)."""

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, float]]:
        """What methods without a neural net reach on the held-out data: `{metric: {method: value}}`."""

    def extra_state(self) -> dict[str, Any]:
        """The position in the data and the carried state, where there are any."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:  # noqa: B027, most have nothing to load
        """Take up what `extra_state` returned."""

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def names(self) -> dict[str, int]:
        """The id of each token by its names."""
        return {}

    @abstractmethod
    def panels(self, task: RecurrentTask) -> RecurrentPanels:
        """The panels of a model that is trained on this problem."""

    @abstractmethod
    def example(self, number: int, length: int) -> Inputs:
        """Held-out inputs number `number`, counted round and round; of at most `length` steps where the problem sets no length."""

    @abstractmethod
    def parse(self, prompt: str) -> Inputs | None:
        """A prompt as inputs; None if it holds none for this problem."""

    @abstractmethod
    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight held-out inputs (B, T) or (B, T, C) of at most `length` steps, and the targets (B, …) of their last step."""

    @abstractmethod
    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of outputs (B, V) and their targets."""

    def final_outputs(self, model: Recurrent, hidden: Tensor) -> Tensor:
        """Outputs (B, V) after the last step, from the last layer's hidden states (B, T, H D)."""
        return model.read_out(hidden[:, -1])
