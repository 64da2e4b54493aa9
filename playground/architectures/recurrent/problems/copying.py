"""Copy memory (Hochreiter and Schmidhuber, 1997; as in Arjovsky et al., 2016): ten symbols to be repeated after a long gap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent, Stateful
from dlplay.architectures.recurrent.panels import RecurrentPanels
from dlplay.architectures.recurrent.problems.problem import PROBED_STEPS, Inputs, Problem
from dlplay.architectures.recurrent.settings import NextToken, Passage, PromptToken, RecurrentSettings
from dlplay.engine.dataset import Generated
from dlplay.engine.means import work
from dlplay.engine.panels import Bars, Tokens
from dlplay.engine.task import Probe, Share
from dlplay.parts.held_out import held_out_generator
from dlplay.parts.language import perplexity, token_losses
from dlplay.parts.sampling import distribution

if TYPE_CHECKING:
    from dlplay.architectures.recurrent.task import RecurrentTask

HELD_OUT = 1000
"""Held-out sequences."""

SYMBOLS = 8
"""Different symbols: tokens 1 to 8. Token 0 is the blank."""

RECALLED = 10
"""Symbols in a sequence."""

GO = SYMBOLS + 1
"""The token after which the symbols are to be recalled."""

LABELS = ["·", *"abcdefgh", ":"]


def copy_batch(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (count, length + 20) and the symbols to recall, (count, 10), which are the targets of the last ten steps.

    A sequence is ten symbols, blanks, `GO`, and ten more blanks, one for each symbol to recall: `length` steps lie between the last symbol
    that is read and the first that is recalled.
    """
    symbols = torch.randint(1, SYMBOLS + 1, (count, RECALLED), generator=generator)
    return with_gap(symbols, length), symbols


def with_gap(symbols: Tensor, length: int) -> Tensor:
    """The sequences (count, length + 20) of `symbols` (count, 10)."""
    tokens = torch.zeros(len(symbols), length + 2 * RECALLED, dtype=torch.int64)
    tokens[:, :RECALLED] = symbols
    tokens[:, RECALLED + length - 1] = GO
    return tokens


class CopyProblem(Problem):
    """Ten symbols, recalled after a gap."""

    vocabulary = SYMBOLS + 2
    outputs = SYMBOLS

    def __init__(self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(settings, device, generator)
        x, symbols = copy_batch(HELD_OUT, settings.length, held_out_generator())
        self.held_out = x.to(device), symbols.to(device)
        self.dataset = Generated(
            f"copy memory: {RECALLED} symbols of {SYMBOLS} kinds, recalled after {settings.length} steps; fresh ones at every step, "
            f"{HELD_OUT:,} sequences held out",
            key="copy",
        )

    def draw(self) -> tuple[Tensor, ...]:
        return copy_batch(self.settings.batch, self.settings.length, self.generator)

    def loss(self, model: Recurrent, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Mean nats of the symbols to recall, in a fresh batch."""
        x, symbols = map(share, drawn)
        hidden, _ = model(x)
        return self.criterion(model.read_out(hidden[:, -RECALLED:]).flatten(0, 1), symbols.flatten())

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        x, symbols = self.held_out
        logits = model.read_out(model(x)[0][:, -RECALLED:])
        loss = self.criterion(logits.flatten(0, 1), symbols.flatten()).item()
        accuracy = (logits.argmax(dim=-1) + 1 == symbols).float().mean().item()
        return {"val_loss": loss, "val_perplexity": perplexity(loss), "val_top1": accuracy, "accuracy": accuracy}

    def probe(self, model: Recurrent) -> Probe:
        count = max(2, work(PROBED_STEPS) // (self.settings.length + 2 * RECALLED))
        x, symbols = (part[:count] for part in self.held_out)
        logits = model.read_out(model(x)[0][:, -RECALLED:])  # (B, 10, V)
        losses = token_losses(logits, symbols - 1)
        return Probe(losses.mean(dim=1), "loss (nats per symbol)")

    def baselines(self) -> dict[str, dict[str, float]]:
        """All symbols equally likely."""
        chance = {"chance": 1 / SYMBOLS}
        return {
            "val_loss": {"chance": math.log(SYMBOLS)},
            "val_perplexity": {"chance": float(SYMBOLS)},
            "val_top1": chance,
            "accuracy": chance,
        }

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def names(self) -> dict[str, int]:
        return {label: token for token, label in enumerate(LABELS)}

    def panels(self, task: RecurrentTask) -> RecurrentPanels:
        return CopyPanels(task)

    def example(self, number: int, length: int) -> Inputs:
        x = self.held_out[0][number % HELD_OUT][None]
        return Inputs(x, [LABELS[token] for token in x[0].tolist()], [f"held-out sequence {number % HELD_OUT}"])

    def parse(self, prompt: str) -> Inputs | None:
        """Ten letters from a to h; fewer are repeated until they are ten."""
        letters = [ord(char) - ord("a") + 1 for char in prompt.lower() if "a" <= char <= "h"][:RECALLED]
        if not letters or not set(prompt.lower()) <= set("abcdefgh ,.:·"):
            return None
        symbols = (letters * RECALLED)[:RECALLED]
        x = with_gap(torch.tensor([symbols]), self.settings.length).to(self.device)
        return Inputs(x, [LABELS[token] for token in x[0].tolist()], [])

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Whole sequences, up to the first recalled symbol."""
        x, symbols = self.held_out
        rows = (torch.arange(8, device=self.device) + 8 * number) % HELD_OUT
        return x[rows, : 1 - RECALLED], symbols[rows, 0]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of symbols 1 to 8."""
        return F.cross_entropy(outputs, targets - 1)


class CopyPanels(RecurrentPanels):
    """The panels of a model that recalls symbols."""

    def next_token(self, options: NextToken) -> Bars:
        """The first symbol that is recalled; the right one is marked."""
        inputs, logits = self._recall(options)
        probability = distribution(logits[0], options.temperature)
        return Bars(
            labels=LABELS[1:-1],
            values=probability.tolist(),
            percent=True,
            high=1.0,
            chosen=int(inputs.values[0, 0]) - 1,
            figure=f"{100 * float(probability.max()):.1f} %",
            caption=self._caption(options, *inputs.notes, "type letters from a to h to have them recalled"),
        )

    def passage(self, options: Passage) -> Tokens:
        """All ten symbols that are recalled."""
        inputs, logits = self._recall(options)
        probability = logits.softmax(dim=-1)
        recalled = (probability.argmax(dim=-1) + 1).tolist()
        correct = sum(symbol == true for symbol, true in zip(recalled, inputs.values[0, :RECALLED].tolist(), strict=True))
        return Tokens(
            words=[LABELS[symbol] for symbol in recalled],
            values=probability.amax(dim=-1).tolist(),
            text=" : " + "".join(LABELS[symbol] for symbol in recalled),
            ended=True,
            figure=f"{correct} of {RECALLED} correct",
            caption=self._caption(options, "read " + "".join(inputs.labels[:RECALLED]), *inputs.notes),
        )

    def prompt_tokens(self, options: PromptToken) -> Tokens:
        """The symbols, each with the probability of being recalled."""
        inputs, logits = self._recall(options)
        symbols = inputs.values[0, :RECALLED]
        probability = logits.softmax(dim=-1).gather(1, symbols[:, None] - 1)[:, 0]
        return Tokens(words=inputs.labels[:RECALLED], values=probability.tolist(), caption=self._caption(options, *inputs.notes))

    def _recall(self, options: NextToken | Passage | PromptToken) -> tuple[Inputs, Tensor]:
        """The inputs, and logits (10, 8) of the symbols to recall."""
        inputs = self._inputs(options)
        return inputs, Stateful(self.model, self._clamp(options)).outputs(inputs.values)[0, -RECALLED:]
