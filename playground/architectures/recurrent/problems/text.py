"""The next token of a text: in contiguous streams with the state carried on, or in windows (as the Keras tutorial's word model has it)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.recurrent.model import Clamp, Recurrent, Stateful
from dlplay.architectures.recurrent.panels import RecurrentPanels
from dlplay.architectures.recurrent.problems.problem import PROBED_STEPS, READ, Inputs, Problem
from dlplay.architectures.recurrent.settings import NextToken, Passage, PromptToken, RecurrentSettings
from dlplay.engine.dataset import Missing, present
from dlplay.engine.means import work
from dlplay.engine.panels import Bars, Tokens
from dlplay.engine.task import Probe, Share
from dlplay.parts import prompts
from dlplay.parts.language import StreamedText, TokenScores, held_out_metrics, ngram_baselines, open_streams, token_losses
from dlplay.parts.prompt_options import Neighbours, Prompt
from dlplay.parts.prompts import ReadPrompt
from dlplay.parts.sampling import candidates, distribution
from dlplay.parts.streams import HeldOutRows

if TYPE_CHECKING:
    from dlplay.architectures.recurrent.task import RecurrentTask

LOGITS = 1 << 21
"""Elements of the largest block of logits that an evaluation forms at once."""

WARM_UP = 256
"""Tokens that a row of the evaluation reads before those that are scored."""

ROWS = 32
"""Rows that an evaluation reads side by side, at most."""


class TextProblem(Problem):
    """Next-token prediction."""

    dataset: StreamedText | Missing

    def __init__(
        self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
    ) -> None:
        super().__init__(settings, device, generator)
        self.tokenizer, self.dataset = open_streams(settings, generator, device, assets, carries="state")
        self.vocabulary = self.outputs = len(self.tokenizer.vocabulary)
        self._offsets = torch.arange(settings.block_size + 1, device=device)

    @property
    def text(self) -> StreamedText:
        """Raises `DataError` when it is missing."""
        return present(self.dataset)

    # --- training and evaluation --------------------------------------------------------------------------------------------------

    def draw(self) -> tuple[Tensor, ...]:
        """Where the windows begin, (B, 1); streams go on where they are."""
        if self.settings.predict != "last":
            return ()
        last = len(self.text.train) - self.settings.block_size
        return (torch.randint(last, (self.settings.batch, 1), generator=self.generator),)

    def loss(self, model: Recurrent, drawn: tuple[Tensor, ...], share: Share) -> Tensor:
        """Mean nats of the tokens of a chunk of the streams, or of the token after each of a batch of windows."""
        text = self.text
        if self.settings.predict == "last":
            windows = text.train[share(drawn[0]) + self._offsets]  # (B, T + 1)
            hidden, _ = model(windows[:, :-1])
            return F.cross_entropy(model.read_out(hidden[:, -1]), windows[:, -1])
        inputs, targets = text.streams.next(share)
        hidden, state = model(inputs, text.streams.carried)  # (B, T, H)
        text.streams.carry(state)
        return F.cross_entropy(model.read_out(hidden).flatten(0, 1), targets.flatten())

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Every held-out token once: in rows with the state carried on, or each from the window before it."""
        scores = TokenScores(self.device, self.tokenizer.unknown)
        for logits, targets in self._windows(model) if self.settings.predict == "last" else self._rows(model):
            scores.add(logits, targets)
        metrics = held_out_metrics(scores, self.text.corpus)
        return metrics | ({"val_bits_per_character": scores.loss / math.log(2)} if self.tokenizer.kind == "char" else {})

    def probe(self, model: Recurrent) -> Probe:
        """The mean loss of each of the first windows of the held-out text, each read from a zero state; of the token that is learnt."""
        block, held_out = self.settings.block_size, self.text.held_out
        count = max(2, min(work(PROBED_STEPS) // block, (len(held_out) - 1) // block))
        windows = held_out.unfold(0, block + 1, block)[:count]  # (windows, T + 1)
        hidden, _ = model(windows[:, :-1])
        if self.settings.predict == "last":
            return Probe(F.cross_entropy(model.read_out(hidden[:, -1]), windows[:, -1], reduction="none"), "loss (nats per token)")
        losses = token_losses(model.read_out(hidden), windows[:, 1:])  # (windows, T)
        return Probe(losses.mean(dim=1), "loss (nats per token)")

    def _rows(self, model: Recurrent) -> Iterator[tuple[Tensor, Tensor]]:
        rows = HeldOutRows(self.text.train, self.text.held_out, warm_up=WARM_UP, rows=ROWS)
        state = None
        for inputs, targets, scored in rows.chunks(max(1, LOGITS // (rows.rows * self.vocabulary))):
            hidden, state = model(inputs, state)
            kept = scored.flatten()
            yield model.read_out(hidden.flatten(0, 1)[kept]), targets.flatten()[kept]

    def _windows(self, model: Recurrent) -> Iterator[tuple[Tensor, Tensor]]:
        block = self.settings.block_size
        sequence = torch.cat([self.text.train[-block:], self.text.held_out])
        at_once = max(1, LOGITS // max(self.vocabulary, block * model.width))
        for windows in torch.split(sequence.unfold(0, block + 1, 1), at_once):  # (windows, T + 1)
            hidden, _ = model(windows[:, :-1])
            yield model.read_out(hidden[:, -1]), windows[:, -1]

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams."""
        found = ngram_baselines(self.text.corpus)
        if self.tokenizer.kind == "char":
            found["val_bits_per_character"] = {name: math.log2(value) for name, value in found["val_perplexity"].items()}
        return found

    def extra_state(self) -> dict[str, Any]:
        return {"streams": self.text.streams.extra_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.text.streams.load_extra_state(extra["streams"])

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def names(self) -> dict[str, int]:
        return self.tokenizer.names()

    def panels(self, task: RecurrentTask) -> RecurrentPanels:
        return TextPanels(task, self)

    def example(self, number: int, length: int) -> Inputs:
        held_out = self.text.held_out
        start = number % max(1, (len(held_out) - 1) // length) * length
        ids = held_out[start : start + length]
        return Inputs(ids[None], [self.tokenizer.label(token) for token in ids.tolist()], [f"held-out token {start:,} on"])

    def parse(self, prompt: str) -> Inputs:
        read = prompts.read_prompt(self.tokenizer, Prompt(prompt=prompt), READ)
        return Inputs(torch.tensor([read.ids], device=self.device), [self.tokenizer.label(token) for token in read.ids], read.notes)

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight pieces of the held-out text, and the token after each."""
        held_out = self.text.held_out
        length = max(1, min(length, len(held_out) // 2 - 1))
        windows = held_out.unfold(0, length + 1, length)
        rows = (torch.arange(8, device=self.device) + 8 * number) % len(windows)
        return windows[rows, :-1], windows[rows, -1]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)


class TextPanels(RecurrentPanels):
    """The panels of a language model."""

    def __init__(self, task: RecurrentTask, problem: TextProblem) -> None:
        super().__init__(task)
        self.tokenizer = problem.tokenizer

    def next_token(self, options: NextToken) -> Bars:
        """The most likely next tokens; with a clamped unit also their probabilities without the clamp."""
        prompt = self._read(options)
        clamp = self._clamp(options)
        inputs = torch.tensor([prompt.ids], device=self.task.device)
        logits = Stateful(self.model, clamp).outputs(inputs)[0, -1]  # (V,)
        panel = prompts.next_token(logits, prompt, self.tokenizer, options)
        if clamp is None:
            return panel
        intact = distribution(Stateful(self.model).outputs(inputs)[0, -1], options.temperature)
        shown = candidates(distribution(logits, options.temperature), options.top_k or prompts.BARS, options.top_p)
        names = ["ablated" if options.intervention == "ablate" else "clamped", "intact"]
        return msgspec.structs.replace(panel, second=intact[shown].tolist(), names=names, caption=self._caption(options, panel.caption))

    def passage(self, options: Passage) -> Tokens:
        prompt = self._read(options)
        reader = Reader(self.model, prompt.all_ids, self._clamp(options))
        panel = prompts.passage(reader, prompt, self.tokenizer, options)
        return msgspec.structs.replace(panel, caption=self._caption(options, panel.caption))

    def prompt_tokens(self, options: PromptToken) -> Tokens:
        prompt = self._read(options)
        logits = Stateful(self.model, self._clamp(options)).outputs(torch.tensor([prompt.ids], device=self.task.device))[0]  # (T, V)
        panel = prompts.prompt_tokens(logits, prompt, self.tokenizer, options)
        return msgspec.structs.replace(panel, caption=self._caption(options, panel.caption))

    def neighbours(self, options: Neighbours) -> Bars:
        assert self.model.tokens is not None
        return prompts.neighbours(self.model.tokens.weight, self._read(options), self.tokenizer, options)

    def _read(self, options: Prompt) -> ReadPrompt:
        return prompts.read_prompt(self.tokenizer, options, READ)


class Reader:
    """Feeds a model token by token and keeps the logits after the last one; of a long text it reads the last `READ` tokens first."""

    def __init__(self, model: Recurrent, ids: list[int], clamp: Clamp | None) -> None:
        self.ids = list(ids)
        self._model = Stateful(model, clamp)
        self._device = model.output.weight.device
        self.logits = self._read(self.ids[-READ:])  # (V,)

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        self.ids.append(token)
        self.logits = self._read([token])
        return self.logits

    def _read(self, ids: list[int]) -> Tensor:
        return self._model.outputs(torch.tensor([ids], device=self._device))[0, -1]
