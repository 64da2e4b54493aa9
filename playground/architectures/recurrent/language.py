"""The next token of a text: contiguous streams read on and on, or windows read from nothing (as in the Keras tutorial's word model)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.recurrent.model import Recurrent
from dlplay.architectures.recurrent.options import Continued, NextToken, ReadTokens
from dlplay.architectures.recurrent.problem import READ, Problem, Reading, Walker, hold_of, hold_words
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.architectures.recurrent.streams import HeldOut, Streams
from dlplay.data import ngrams
from dlplay.data.text import Corpus
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Bars, Tokens
from dlplay.parts import prompts
from dlplay.parts.corpora import open_corpus
from dlplay.parts.prompt_options import Neighbours
from dlplay.parts.sampling import candidates, distribution

LOGITS = 1 << 21
"""Elements of the largest block of logits that an evaluation forms at once."""

ORDER = {"char": 5, "word": 4}
"""The longest n-grams that are counted."""


class Language(Problem):
    """Next-token prediction."""

    def __init__(
        self, settings: RecurrentSettings, device: torch.device, generator: torch.Generator, assets: dict[str, Any] | None = None
    ) -> None:
        super().__init__(settings, device, generator)
        block, batch = settings.block_size, settings.batch
        self.tokenizer, self._corpus, self._no_corpus = open_corpus(
            settings.text,
            settings.tokens,
            vocab_size=settings.vocab_size,
            min_count=settings.min_count,
            minimum=10 * (block + 1),
            assets=assets,
        )
        self.vocabulary = self.outputs = len(self.tokenizer.vocabulary)
        if self._corpus is not None:
            self._train = torch.from_numpy(self._corpus.train).to(device)  # (N,)
            self._held_out = torch.from_numpy(self._corpus.held_out).to(device)  # (M,)
            try:
                self._streams = Streams(self._train, batch, block, generator)
            except DataError as error:
                if assets is None:
                    raise DataError(f"{self._corpus.name}: {error}") from None
                self._corpus, self._no_corpus = None, str(error)
        if self._corpus is None:
            self.data = f"no text, so that it can be asked and not trained: {self._no_corpus}"
            return
        self._offsets = torch.arange(block + 1, device=device)
        self.data = f"{self._corpus.words}; {batch} x {block} = {batch * block:,} a step"

    @property
    def corpus(self) -> Corpus:
        """The text. Raises `DataError` when it could not be read and the vocabulary came from a checkpoint."""
        if self._corpus is None:
            raise DataError(self._no_corpus)
        return self._corpus

    # --- training and evaluation --------------------------------------------------------------------------------------------------

    def loss(self, model: Recurrent) -> Tensor:
        """Mean nats of the tokens of a chunk of the streams, or of the tokens after a batch of windows."""
        if self.settings.predict == "last":
            last = len(self.corpus.train) - self.settings.block_size
            starts = torch.randint(last, (self.settings.batch, 1), generator=self.generator)
            windows = self._train[starts.to(self.device, non_blocking=self.device.type == "cuda") + self._offsets]  # (B, T + 1)
            hidden, _ = model(windows[:, :-1])
            return F.cross_entropy(model.read_out(hidden[:, -1]), windows[:, -1])
        self.corpus  # noqa: B018  # says why there is none
        inputs, targets = self._streams.next()
        hidden, state = model(inputs, self._streams.state)  # (B, T, H)
        self._streams.carry(state)
        return F.cross_entropy(model.read_out(hidden).flatten(0, 1), targets.flatten())

    def evaluate(self, model: Recurrent) -> dict[str, float]:
        """Every held-out token once: in streams whose state is carried, or each from the window before it."""
        nats = torch.zeros((), dtype=torch.float32 if self.device.type == "mps" else torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        for logits, targets in self._windows(model) if self.settings.predict == "last" else self._rows(model):
            nats += F.cross_entropy(logits, targets, reduction="sum").to(nats.dtype)
            right += (logits.argmax(dim=-1) == targets).sum()
        tokens = len(self.corpus.held_out)
        loss = float(nats) / tokens
        metrics = {"val_loss": loss, "val_perplexity": math.exp(min(loss, 700.0)), "val_top1": int(right) / tokens}
        return metrics | ({"val_bits_per_character": loss / math.log(2)} if self.tokenizer.kind == "char" else {})

    def _rows(self, model: Recurrent) -> Iterator[tuple[Tensor, Tensor]]:
        rows = HeldOut(self._train, self._held_out)
        state = None
        for inputs, targets, scored in rows.chunks(max(1, LOGITS // (rows.rows * self.vocabulary))):
            hidden, state = model(inputs, state)
            kept = scored.flatten()
            yield model.read_out(hidden.flatten(0, 1)[kept]), targets.flatten()[kept]

    def _windows(self, model: Recurrent) -> Iterator[tuple[Tensor, Tensor]]:
        block = self.settings.block_size
        sequence = torch.cat([self._train[-block:], self._held_out])
        at_once = max(1, LOGITS // max(self.vocabulary, block * model.width))
        for windows in torch.split(sequence.unfold(0, block + 1, 1), at_once):  # (windows, T + 1)
            hidden, _ = model(windows[:, :-1])
            yield model.read_out(hidden[:, -1]), windows[:, -1]

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams: interpolated Witten-Bell, and for the top-1 accuracy the most frequent successor."""
        order = ORDER[self.tokenizer.kind]
        data = self.corpus.train, self.corpus.held_out, self.vocabulary
        perplexity = ngrams.perplexities(*data, order)
        found = {
            "val_loss": {name: math.log(value) for name, value in perplexity.items()},
            "val_perplexity": perplexity,
            "val_top1": ngrams.top1(*data, order),
        }
        if self.tokenizer.kind == "char":
            found["val_bits_per_character"] = {name: math.log2(value) for name, value in perplexity.items()}
        return found

    def baselines_key(self) -> str:
        """The text, the split and the vocabulary."""
        return f"recurrent n-grams 1 {self.corpus.key}"

    def assets(self) -> dict[str, Any]:
        """The vocabulary."""
        return self.tokenizer.assets()

    def data_key(self) -> str:
        """The text's."""
        return self.corpus.key

    def extra_state(self) -> dict[str, Any]:
        """The place in the text, and what is carried on."""
        return {"streams": self._streams.extra_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self._streams.load_extra_state(extra["streams"])

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def piece(self, number: int, length: int) -> Reading:
        """The held-out text from a multiple of `length` on."""
        pieces = max(1, (len(self.corpus.held_out) - 1) // length)
        start = number % pieces * length
        ids = self._held_out[start : start + length]
        return Reading(ids[None], [self.tokenizer.label(token) for token in ids.tolist()], [f"held-out text from {start:,} on"])

    def typed(self, prompt: str) -> Reading | None:
        """The prompt's last tokens."""
        read = prompts.read_prompt(self.tokenizer, NextToken(prompt=prompt), READ)
        return Reading(torch.tensor([read.ids], device=self.device), [self.tokenizer.label(token) for token in read.ids], read.notes)

    def last_step(self, number: int, length: int) -> tuple[Tensor, Tensor]:
        """Eight pieces of the held-out text, and the token after each."""
        length = max(1, min(length, len(self.corpus.held_out) // 2 - 1))
        windows = self._held_out.unfold(0, length + 1, length)
        rows = (torch.arange(8, device=self.device) + 8 * number) % len(windows)
        return windows[rows, :-1], windows[rows, -1]

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Nats."""
        return F.cross_entropy(outputs, targets)

    def next_token(self, model: Recurrent, options: NextToken) -> Bars:
        """The likeliest next tokens; beside them, when a unit is held fast, what they would be with it free."""
        prompt = prompts.read_prompt(self.tokenizer, options, READ)
        hold = hold_of(model, options)
        inputs = torch.tensor([prompt.ids], device=self.device)
        logits = Walker(model, hold).read(inputs)[0, -1]
        panel = prompts.next_token(logits, prompt, self.tokenizer, options)
        if hold is None:
            return panel
        free = distribution(Walker(model, None).read(inputs)[0, -1], options.temperature)
        shown = candidates(distribution(logits, options.temperature), options.top_k or prompts.BARS, options.top_p)
        return msgspec.structs.replace(
            panel,
            second=free[shown].tolist(),
            names=["held", "free"],
            caption=" · ".join(filter(None, [*hold_words(hold), panel.caption])),
        )

    def passage(self, model: Recurrent, options: Continued) -> Tokens:
        """The prompt continued."""
        prompt = prompts.read_prompt(self.tokenizer, options, READ)
        panel = prompts.passage(Reader(model, prompt.all_ids, options), prompt, self.tokenizer, options)
        return msgspec.structs.replace(panel, caption=" · ".join(filter(None, [*hold_words(hold_of(model, options)), panel.caption])))

    def prompt_tokens(self, model: Recurrent, options: ReadTokens) -> Tokens:
        """The probability of each token of the prompt, given those before it."""
        prompt = prompts.read_prompt(self.tokenizer, options, READ)
        outputs = Walker(model, hold_of(model, options)).read(torch.tensor([prompt.ids], device=self.device))
        return prompts.prompt_tokens(outputs[0], prompt, self.tokenizer, options)

    def neighbours(self, model: Recurrent, options: Neighbours) -> Bars:
        """The tokens whose embeddings point most nearly the same way."""
        assert model.tokens is not None
        return prompts.neighbours(model.tokens.weight, prompts.read_prompt(self.tokenizer, options, READ), self.tokenizer, options)


class Reader:
    """Feeds a model token by token and gives the logits after the last; of a long text it reads the last `READ` tokens to begin with."""

    def __init__(self, model: Recurrent, ids: list[int], options: Continued) -> None:
        self.ids = list(ids)
        self._walker = Walker(model, hold_of(model, options))
        self._device = model.output.weight.device
        self.logits = self._read(self.ids[-READ:])  # (V,)

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        self.ids.append(token)
        self.logits = self._read([token])
        return self.logits

    def _read(self, ids: list[int]) -> Tensor:
        return self._walker.read(torch.tensor([ids], device=self._device))[0, -1]
