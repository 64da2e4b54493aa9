"""Training a GPT on a text: random windows of the training part, every held-out token predicted once an evaluation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.gpt.model import GPT
from dlplay.architectures.gpt.panels import GPTPanels
from dlplay.architectures.gpt.settings import GPTSettings
from dlplay.data.text import REPEATS, Corpus
from dlplay.data.tokens import Tokenizer
from dlplay.engine.dataset import Dataset, Missing, present
from dlplay.engine.graph import Graph
from dlplay.engine.settings import SettingsError
from dlplay.engine.task import Probe, Task
from dlplay.engine.vocabulary import Vocabulary
from dlplay.parts import head_table, heads, low_rank
from dlplay.parts.corpora import open_corpus
from dlplay.parts.head_table import ablation_costs
from dlplay.parts.held_out import probe_shape
from dlplay.parts.language import TokenScores, held_out_metrics, ngram_baselines, token_losses
from dlplay.parts.optimizers import adamw, set_one_cycle, set_rates, warmup_cosine
from dlplay.parts.transformer_settings import tokens_a_step

EARLY, LATE = 5, 50
"""Places of the tokens whose losses are compared, in rows of `PERIOD` random tokens that are read again (Olsson et al., In-context Learning
and Induction Heads, 2022, compare the 50th with the 500th)."""
PERIOD, ROWS = 32, 64

LOGITS = 1 << 22
"""Elements of the largest block of logits that an evaluation forms at once."""


class GPTTask(Task[GPTSettings]):
    """Next-token prediction."""

    baselines_version = 2  # Kneser-Ney since

    @classmethod
    def read_ahead(cls, settings: GPTSettings) -> Dataset:
        return _corpus(settings, None)[1]

    def __init__(self, settings: GPTSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        if settings.lora and assets is None:
            raise SettingsError(f"--lora {settings.lora} trains beside a pretrained model; name one with --from, or use --lora 0", "lora")
        self.tokenizer, self.text = _corpus(settings, assets)
        self.dataset = self.text
        self.model = GPT(
            len(self.tokenizer.vocabulary),
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            block_size=settings.block_size,
            dropout=settings.dropout,
            feed_forward=settings.feed_forward,
            init_std=settings.init_std,
        )
        if settings.lora:
            low_rank.adapt(self.model, settings.lora)
        self.model.to(device)
        self.models["gpt"] = self.model
        self.optimizers["gpt"] = self.optimizer = adamw(self.model, lr=settings.lr, weight_decay=settings.weight_decay)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        if isinstance(self.text, Missing):
            return
        self.train = torch.from_numpy(self.text.train).to(device)  # (N,)
        self.held_out = torch.from_numpy(self.text.held_out).to(device)  # (M,)
        self._offsets = torch.arange(settings.block_size + 1, device=device)

    @property
    def data(self) -> str:
        if isinstance(self.text, Missing):
            return self.text.words
        return f"{self.text.words}; {tokens_a_step(self.settings.accumulate, self.settings.batch, self.settings.block_size)}"

    @property
    def corpus(self) -> Corpus:
        """The text. Raises `DataError` when it is missing."""
        return present(self.text)

    def panels(self) -> GPTPanels:
        return GPTPanels(
            self.model, self.tokenizer, self.optimizer, self.text, functools.partial(ablation_costs, self), self._repeated_tokens
        )

    def draw_batch(self) -> tuple[Tensor, ...]:
        """Where the windows begin, (B, 1)."""
        last = len(self.corpus.train) - self.settings.block_size
        return (torch.randint(last, (self.settings.batch, 1), generator=self.generators["data"]),)

    def update_rates(self) -> None:
        settings = self.settings
        if settings.schedule == "one-cycle":
            set_one_cycle(self.optimizer, self.step / settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            lr = settings.lr * warmup_cosine(self.step, settings.warmup, settings.steps)
            set_rates(self.optimizer, lr=lr, weight_decay=settings.weight_decay)

    def train_step(self) -> dict[str, Tensor]:
        """One batch of windows; every token of a window is predicted from those before it."""
        self.update_rates()
        (starts,) = self.drawn()
        windows = self.train[self.share(starts) + self._offsets]  # (B, T + 1)
        with self.autocast():
            logits = self.model(windows[:, :-1])  # (B, T, V)
            loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, self.settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """Every held-out token once, in windows of a block that overlap by half: half a block or more comes before each."""
        block = self.settings.block_size
        scored = -(-block // 2)
        before = block + 1 - scored  # tokens of a window that are read alone
        rest = len(self.held_out) % scored
        text = torch.cat([self.train[-before:], self.held_out])
        windows = text.unfold(0, block + 1, scored)  # (windows, T + 1)
        at_once = max(1, LOGITS // (block * len(self.tokenizer.vocabulary)))
        parts = [(part, scored) for part in torch.split(windows, at_once)] + ([(text[None, -block - 1 :], rest)] if rest else [])
        scores = TokenScores(self.device, self.tokenizer.unknown)
        for part, last in parts:
            logits = self.model.head(self.model.residuals(part[:, :-1])[-1][:, -last:])  # (windows, last, V)
            scores.add(logits.flatten(0, 1), part[:, -last:].flatten())
        return held_out_metrics(scores, self.corpus) | self._head_scores() | self._in_context()

    def _head_scores(self) -> dict[str, float]:
        """For a text of repeated sentences: how far the best head does what induction takes, on random tokens."""
        if self.settings.text != REPEATS:
            return {}
        idx = self._repeated_tokens()
        weights = self.model.weights(idx)
        scores = {
            "induction_score": [heads.score(each, heads.after_a_copy(idx)) for each in weights],
            "previous_token_score": [heads.score(each, heads.from_the_third(heads.neighbour(idx, 1))) for each in weights],
        }
        return {name: float(torch.cat(found).max()) for name, found in scores.items()}

    def _in_context(self) -> dict[str, float]:
        """For a text of repeated sentences: the loss of a token that was read before, minus that of one that was not."""
        if self.settings.text != REPEATS or self.settings.block_size < LATE - 1:
            return {}
        ends = {self.tokenizer.id("."), self.tokenizer.id("\n")}
        tokens = [token for token in range(1, len(self.tokenizer.vocabulary)) if token not in ends]
        idx = heads.read_again(ROWS, LATE, PERIOD, torch.tensor(tokens)).to(self.device)
        losses = token_losses(self.model(idx[:, :-1]), idx[:, 1:]).mean(dim=0)  # of the 2nd token, the 3rd, …
        return {"in_context_score": float(losses[LATE - 2] - losses[EARLY - 2])}

    def _repeated_tokens(self) -> Tensor:
        """Random tokens that are read twice, (rows, T)."""
        count, _ = probe_shape(self.parameters, self.settings.block_size)
        rows, longest = min(head_table.REPEATED_ROWS, count), min(head_table.LONGEST_REPEATED, self.settings.block_size)
        return heads.repeated_tokens(rows, longest, len(self.tokenizer.vocabulary)).to(self.device)

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.model.tokens, self.tokenizer.names)

    def probe(self) -> Probe:
        """The mean loss of each of the first windows of the held-out text."""
        present(self.text)
        count, length = self._probe_shape()
        windows = self.held_out.unfold(0, length + 1, length)[:count]  # (windows, T + 1)
        logits = self.model(windows[:, :-1])  # (windows, T, V)
        losses = token_losses(logits, windows[:, 1:])  # (windows, T)
        return Probe(losses.mean(dim=1), "loss (nats per token)")

    def probed(self, numbers: Sequence[int]) -> list[list[str]]:
        _, length = self._probe_shape()
        starts = [number * length for number in numbers]
        return [[self.tokenizer.label(token) for token in self.held_out[start : start + length].tolist()] for start in starts]

    def _probe_shape(self) -> tuple[int, int]:
        """Windows that `probe` reads, and their tokens."""
        count, length = probe_shape(self.parameters, self.settings.block_size)
        return count, min(length, (len(self.held_out) - 1) // 2)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """With `--lora` from a model without it, or the other way round."""
        super().load_weights(low_rank.fitted(self.weights(), weights))

    def change(self, settings: GPTSettings) -> None:
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams, and where heads are scored what even attention scores."""
        found = ngram_baselines(self.corpus)
        if self.settings.text == REPEATS:
            idx = self._repeated_tokens()
            chance = head_table.of_repeats({}, idx).chance() | head_table.of_decoder({}, idx).chance()
            found["induction_score"] = {"even attention": chance["induction"]}
            found["previous_token_score"] = {"even attention": chance["previous"]}
            if self.settings.block_size >= LATE - 1:
                found["in_context_score"] = {"without context": 0.0}  # both tokens are as hard to guess
        return found

    def baselines_depend_on(self) -> str:
        return f"rows of {self.settings.block_size}, in context" if self.settings.text == REPEATS else ""

    def graphs(self) -> dict[str, Graph]:
        """Tokens to logits."""
        tokens = torch.zeros(2, min(8, self.settings.block_size - 1), dtype=torch.int64)
        return {"decoder": Graph(self.model, {"tokens": tokens}, ("logits",), {"tokens": {0: "batch", 1: "time"}})}


def _corpus(settings: GPTSettings, assets: dict[str, Any] | None) -> tuple[Tokenizer, Corpus | Missing]:
    return open_corpus(settings, settings.tokens, minimum=10 * (settings.block_size + 1), assets=assets)
