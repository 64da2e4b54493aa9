"""Two tasks that nothing but a long memory solves: the adding problem and copy memory (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.recurrent.model import Hold, Recurrent
from dlplay.architectures.recurrent.options import Continued, Forecast, NextToken, ReadTokens
from dlplay.architectures.recurrent.problem import READ, Problem, Reading, Walker, hold_of, hold_words
from dlplay.engine.panels import Bars, Lines, Tokens
from dlplay.parts.held_out import held_out_generator
from dlplay.parts.sampling import distribution

HELD_OUT = 1000
"""Sequences that are tested on."""

SYMBOLS = 8
"""Different symbols to recall; 0 is the blank between them, the last token says that it is time."""

RECALLED = 10
"""Symbols in a sequence."""

GO = SYMBOLS + 1

LABELS = ["·", *"abcdefgh", ":"]


def adding_batch(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 1 beside marks, (count, length, 2), two of them marked, one in each half; and the marked ones' sum, (count, 1)."""
    numbers = torch.rand(count, length, generator=generator)
    first = torch.randint(length // 2, (count, 1), generator=generator)
    second = torch.randint(length // 2, length, (count, 1), generator=generator)
    marks = torch.zeros(count, length).scatter_(1, torch.cat([first, second], dim=1), 1.0)
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(dim=1, keepdim=True)


def copy_batch(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (count, length + 20) and the symbols to recall, (count, 10), which are answered at the last ten steps.

    Ten symbols, blanks, the sign to begin, and ten blanks in whose place the symbols are to be said: `length` steps lie between the last
    symbol read and the first one said.
    """
    symbols = torch.randint(1, SYMBOLS + 1, (count, RECALLED), generator=generator)
    return lay_out(symbols, length), symbols


def lay_out(symbols: Tensor, length: int) -> Tensor:
    """The sequence in which `symbols` (count, 10) are read and asked for."""
    tokens = torch.zeros(len(symbols), length + 2 * RECALLED, dtype=torch.int64)
    tokens[:, :RECALLED] = symbols
    tokens[:, RECALLED + length - 1] = GO
    return tokens


class Adding(Problem):
    """The sum of two marked numbers, said after the last."""

    inputs = 2

    def __init__(self, settings: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(settings, device, generator)
        held_out = adding_batch(HELD_OUT, settings.length, held_out_generator())
        self._held_out = tuple(part.to(device) for part in held_out)
        self.data = f"the adding problem: {settings.length} numbers, two of them marked; fresh ones at every step, {HELD_OUT:,} held out"

    def loss(self, model: Recurrent) -> Tensor:
        """Squared error of the sums of a fresh batch."""
        x, sums = (part.to(self.device) for part in adding_batch(self.settings.batch, self.settings.length, self.generator))
        hidden, _ = model(x)
        return self.criterion(self.answer(model, hidden), sums)

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Mean squared error."""
        x, sums = self._held_out
        error = self.criterion(self.answer(model, model(x)[0]), sums).item()
        return {"val_loss": error, "test_mse": error}

    def answer(self, model: Recurrent, hidden: Tensor) -> Tensor:
        """The sum is said by who has read all of it, from whichever end."""
        return model.read_out(model.concluded(hidden))

    def _said(self, model: Recurrent, hold: Hold | None, x: Tensor) -> Tensor:
        return self.answer(model, Walker(model, hold).hidden(x))  # (B, 1)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Always saying 1, the mean of all sums: 2/12 at the limit."""
        error = float((self._held_out[1] - 1).square().mean())
        return {name: {"constant": error} for name in ("val_loss", "test_mse")}

    def baselines_key(self) -> str:
        """The held-out sequences."""
        return f"adding 2 {self.settings.length}"

    def piece(self, number: int, length: int) -> Reading:
        """A held-out sequence."""
        x = self._held_out[0][number % HELD_OUT][None]
        return Reading(x, _marked(x), [f"held-out sequence {number % HELD_OUT}"])

    def typed(self, prompt: str) -> Reading | None:
        """Numbers with a star after the marked ones, such as 0.3 0.9* 0.5 0.4*."""
        found = re.findall(r"(\d*\.?\d+)(\*?)", prompt)[-READ:]
        if not found or not any(mark for _, mark in found):
            return None
        x = torch.tensor([[[min(float(number), 1.0), float(bool(mark))] for number, mark in found]], device=self.device)
        return Reading(x, _marked(x), ["numbers from 0 to 1, a star after the marked ones"])

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight held-out sequences, whole."""
        rows = (torch.arange(8, device=self.device) + 8 * number) % HELD_OUT
        return self._held_out[0][rows], self._held_out[1][rows]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs, targets)

    def next_token(self, model: Recurrent, options: NextToken) -> Bars:
        """The sum that is said, beside the true one."""
        reading = self.typed(options.prompt) or self.piece(0, 0)
        hold = hold_of(model, options)
        said = self._said(model, hold, reading.inputs).item()
        true = float((reading.inputs[..., 0] * reading.inputs[..., 1]).sum())
        labels, values = ["said", "true sum"], [said, true]
        if hold is not None:
            labels, values = [*labels, "said with it free"], [*values, self._said(model, None, reading.inputs).item()]
        caption = " · ".join([*hold_words(hold), *reading.notes, "type numbers with two stars, such as 0.3 0.9* 0.5 0.4*"])
        return Bars(labels=labels, values=[max(0.0, value) for value in values], high=2.0, figure=f"{said:.3f}", caption=caption)

    def passage(self, model: Recurrent, options: Continued) -> Tokens:
        """Nothing comes after a sum."""
        reading = self.typed(options.prompt) or self.piece(0, 0)
        said = self._said(model, hold_of(model, options), reading.inputs).item()
        return Tokens(words=[f"{said:.3f}"], values=[None], text="", ended=True, caption="the sum, after which nothing follows")

    def prompt_tokens(self, model: Recurrent, options: ReadTokens) -> Tokens:
        """The numbers; the marked ones stand out."""
        reading = self.typed(options.prompt) or self.piece(0, 0)
        return Tokens(words=reading.labels, values=reading.inputs[0, :, 1].tolist(), caption=" · ".join(reading.notes))

    def forecast(self, model: Recurrent, options: Forecast) -> Lines:
        """Sums said beside the true ones, for a hundred held-out sequences in the order of their true sums."""
        x, sums = (part[:100] for part in self._held_out)
        true, order = sums[:, 0].sort()
        said = self._said(model, hold_of(model, options), x)[order, 0]
        return Lines(
            x=[float(number) for number in range(len(true))],
            series={"true sum": true.tolist(), "said": said.tolist()},
            x_title="held-out sequences by their true sum",
            figure=f"MSE {float((said - true).square().mean()):.3g}",
            caption=" · ".join(hold_words(hold_of(model, options))),
        )


class Copy(Problem):
    """Ten symbols, said again after a long gap."""

    vocabulary = SYMBOLS + 2
    outputs = SYMBOLS

    def __init__(self, settings: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(settings, device, generator)
        held_out = copy_batch(HELD_OUT, settings.length, held_out_generator())
        self._held_out = tuple(part.to(device) for part in held_out)
        self.data = (
            f"copy memory: {RECALLED} symbols of {SYMBOLS} kinds, said again after {settings.length} steps; fresh ones at every step, "
            f"{HELD_OUT:,} sequences held out"
        )

    def loss(self, model: Recurrent) -> Tensor:
        """Mean nats of the symbols to recall."""
        x, symbols = (part.to(self.device) for part in copy_batch(self.settings.batch, self.settings.length, self.generator))
        hidden, _ = model(x)
        return self.criterion(model.read_out(hidden[:, -RECALLED:]).flatten(0, 1), symbols.flatten())

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Nats and share of symbols recalled."""
        x, symbols = self._held_out
        logits = model.read_out(model(x)[0][:, -RECALLED:])
        loss = self.criterion(logits.flatten(0, 1), symbols.flatten()).item()
        right = (logits.argmax(dim=-1) + 1 == symbols).float().mean().item()
        return {"val_loss": loss, "val_perplexity": math.exp(min(loss, 700.0)), "val_top1": right, "accuracy": right}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Without a memory every symbol is as likely."""
        chance = {"chance": 1 / SYMBOLS}
        return {
            "val_loss": {"chance": math.log(SYMBOLS)},
            "val_perplexity": {"chance": float(SYMBOLS)},
            "val_top1": chance,
            "accuracy": chance,
        }

    def baselines_key(self) -> str:
        """Nothing but the number of symbols."""
        return f"copy 1 {SYMBOLS}"

    def piece(self, number: int, length: int) -> Reading:
        """A held-out sequence."""
        x = self._held_out[0][number % HELD_OUT][None]
        return Reading(x, [LABELS[token] for token in x[0].tolist()], [f"held-out sequence {number % HELD_OUT}"])

    def typed(self, prompt: str) -> Reading | None:
        """Ten letters from a to h; fewer are said again and again until they are ten."""
        letters = [ord(char) - ord("a") + 1 for char in prompt.lower() if "a" <= char <= "h"][:RECALLED]
        if not letters or not set(prompt.lower()) <= set("abcdefgh ,.:·"):
            return None
        symbols = (letters * RECALLED)[:RECALLED]
        x = lay_out(torch.tensor([symbols]), self.settings.length).to(self.device)
        return Reading(x, [LABELS[token] for token in x[0].tolist()], [])

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight held-out sequences up to the first recalled symbol."""
        rows = (torch.arange(8, device=self.device) + 8 * number) % HELD_OUT
        return self._held_out[0][rows, : 1 - RECALLED], self._held_out[1][rows, 0]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Nats of symbols 1 to 8."""
        return F.cross_entropy(outputs, targets - 1)

    def _recall(self, model: Recurrent, options: NextToken | ReadTokens | Continued) -> tuple[Reading, Tensor]:
        reading = self.typed(options.prompt) or self.piece(0, 0)
        return reading, Walker(model, hold_of(model, options)).read(reading.inputs)[0, -RECALLED:]  # (10, 8)

    def next_token(self, model: Recurrent, options: NextToken) -> Bars:
        """The first symbol that is said."""
        reading, logits = self._recall(model, options)
        probability = distribution(logits[0], options.temperature)
        caption = " · ".join([*hold_words(hold_of(model, options)), *reading.notes, "type letters from a to h to have them recalled"])
        return Bars(
            labels=LABELS[1:-1],
            values=probability.tolist(),
            percent=True,
            high=1.0,
            chosen=int(reading.inputs[0, 0]) - 1,
            figure=f"{100 * float(probability.max()):.1f} %",
            caption=caption,
        )

    def passage(self, model: Recurrent, options: Continued) -> Tokens:
        """All ten that are said."""
        reading, logits = self._recall(model, options)
        probability = logits.softmax(dim=-1)
        said = probability.argmax(dim=-1).tolist()
        right = sum(symbol + 1 == true for symbol, true in zip(said, reading.inputs[0, :RECALLED].tolist(), strict=True))
        return Tokens(
            words=[LABELS[1 + symbol] for symbol in said],
            values=probability.amax(dim=-1).tolist(),
            text=" : " + "".join(LABELS[1 + symbol] for symbol in said),
            ended=True,
            figure=f"{right} of {RECALLED} right",
            caption=" · ".join([*hold_words(hold_of(model, options)), "read " + "".join(reading.labels[:RECALLED]), *reading.notes]),
        )

    def prompt_tokens(self, model: Recurrent, options: ReadTokens) -> Tokens:
        """The symbols, each with the probability of being recalled."""
        reading, logits = self._recall(model, options)
        symbols = reading.inputs[0, :RECALLED]
        probability = logits.softmax(dim=-1).gather(1, symbols[:, None] - 1)[:, 0]
        return Tokens(words=reading.labels[:RECALLED], values=probability.tolist(), caption=" · ".join(reading.notes))


def _marked(x: Tensor) -> list[str]:
    """Numbers, a star after the marked ones."""
    return [f"{number:.2f}" + ("*" if mark else "") for number, mark in x[0].tolist()]
