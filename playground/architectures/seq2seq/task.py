"""Training a sequence-to-sequence Transformer: teacher forcing in training, greedy decoding in evaluation."""

from __future__ import annotations

import functools
import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.seq2seq.decoding.output import LABELS
from dlplay.architectures.seq2seq.decoding.search import beam_search, greedy
from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS, Seq2Seq
from dlplay.architectures.seq2seq.panels import Seq2SeqPanels
from dlplay.architectures.seq2seq.problems import baselines
from dlplay.architectures.seq2seq.problems.batches import Batch, make_batch, next_batch, unpadded
from dlplay.architectures.seq2seq.problems.problem import Problem, open_problem
from dlplay.architectures.seq2seq.settings import Seq2SeqSettings
from dlplay.engine.dataset import present
from dlplay.engine.graph import Graph
from dlplay.engine.task import Probe, Task
from dlplay.engine.vocabulary import Vocabulary
from dlplay.parts.head_table import ablation_costs
from dlplay.parts.held_out import WINDOWS
from dlplay.parts.language import token_losses
from dlplay.parts.optimizers import adamw, set_one_cycle, set_rates, warmup_cosine

FLOOR = 0.05
"""Share of the learning rate at the last step of a cosine."""

BETAS, EPSILON = (0.9, 0.98), 1e-9
"""Adam's, as published."""

AT_ONCE, LOGITS = 256, 1 << 24
"""Held-out pairs in one batch of an evaluation, and elements of its logits, at most."""

MIN_POSITIONS = 256
"""Sinusoidal positions go at least this far, so that sources longer than any trained on can be tried."""


class Seq2SeqTask(Task[Seq2SeqSettings]):
    """Pairs of a source and its target."""

    def __init__(self, settings: Seq2SeqSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.problem = open_problem(settings, assets)
        self.dataset = self.problem.dataset
        self.model = make_model(settings, self.problem).to(device)
        self.models["seq2seq"] = self.model
        self.optimizer = adamw(self.model, lr=settings.lr, weight_decay=settings.weight_decay, betas=BETAS, eps=EPSILON)
        self.optimizers["seq2seq"] = self.optimizer
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        pairs = sorted(self.problem.held_out, key=lambda pair: len(pair.target))  # decoding goes on for the longest of a batch
        at_once = max(1, min(AT_ONCE, LOGITS // (self.problem.target_length * self.model.tokens.num_embeddings)))
        self._held_out = [make_batch(self.problem, pairs[start : start + at_once], device) for start in range(0, len(pairs), at_once)]

    def panels(self) -> Seq2SeqPanels:
        return Seq2SeqPanels(self.model, self.problem, self.optimizer, functools.partial(ablation_costs, self))

    def draw_batch(self) -> tuple[Tensor, ...]:
        return next_batch(self.problem, self.settings.batch, self.generators["data"], torch.device("cpu"))

    def update_rates(self) -> None:
        settings = self.settings
        if settings.schedule == "one-cycle":
            set_one_cycle(self.optimizer, self.step / settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            set_rates(self.optimizer, lr=learning_rate(settings, self.step), weight_decay=settings.weight_decay)

    def train_step(self) -> dict[str, Tensor]:
        """One batch of pairs; every target token is predicted from the source and the target tokens before it."""
        self.update_rates()
        batch = Batch(*map(self.share, self.drawn()))
        with self.autocast():
            loss = smoothed_loss(self.model(batch.source, batch.output), batch.target, self.settings.label_smoothing)
        tokens = (batch.target != PAD).sum()  # that the loss is the mean of
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, self.settings.clip, tokens)}

    def evaluate(self) -> dict[str, float]:
        """Every held-out pair: the loss and the accuracy under teacher forcing, and the accuracies of greedy outputs. A target with a token
        that is not in the vocabulary cannot be generated, so it counts as wrong."""
        present(self.problem.dataset)
        nats, forced, correct, exact, by_beams = (torch.zeros((), dtype=torch.float32, device=self.device) for _ in range(5))
        tokens = 0
        for batch in self._held_out:
            read = self.model.read(batch.source)
            logits, real = self.model.decode(batch.output, *read), batch.target != PAD
            nats += F.cross_entropy(logits.flatten(0, 1), batch.target.flatten(), ignore_index=PAD, reduction="sum")
            forced += ((logits.argmax(dim=-1) == batch.target) & real).sum()
            limit = batch.target.shape[1] + 1  # an output that has not ended by then is wrong, however it goes on
            output = padded_to(greedy(self.model, batch.source, limit, read), limit)
            target = padded_to(batch.target, limit)
            correct += ((output == target) & (target != PAD)).sum()
            exact += (output == target).all(dim=1).sum()
            tokens += int(real.sum())
            if self.settings.eval_beams > 1:
                by_beams += self._beam_matches(batch, limit)
        pairs = len(self.problem.held_out)
        metrics = {
            "exact_match": float(exact) / pairs,
            "token_accuracy": float(correct) / tokens,
            "teacher_forced_accuracy": float(forced) / tokens,
            "val_loss": float(nats) / tokens,
        }
        return metrics | ({"beam_exact_match": float(by_beams) / pairs} if self.settings.eval_beams > 1 else {})

    def vocabulary(self) -> Vocabulary:
        def names() -> dict[str, int]:
            of_words = {word: SPECIALS + token for word, token in self.problem.tokenizer.names().items()}
            return of_words | {label: token for token, label in LABELS.items()}

        return Vocabulary(self.model.tokens, names, padding=PAD)

    def probe(self) -> Probe:
        """The mean loss of the target's tokens under teacher forcing, of each of the first held-out pairs."""
        present(self.problem.dataset)
        batch = make_batch(self.problem, self.problem.held_out[:WINDOWS], self.device)
        logits = self.model(batch.source, batch.output)  # (B, T, V)
        nats = token_losses(logits, batch.target, ignore=PAD)  # (B, T)
        return Probe(nats.sum(dim=1) / (batch.target != PAD).sum(dim=1), "loss (nats per token)")

    def _beam_matches(self, batch: Batch, limit: int) -> int:
        ranked = beam_search(self.model, batch.source, self.settings.eval_beams, limit)
        targets = map(unpadded, batch.target.tolist())
        return sum(bool(found) and found[0].ids == target for found, target in zip(ranked, targets, strict=True))

    def change(self, settings: Seq2SeqSettings) -> None:
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Copying from fixed positions, the most frequent output, and the most frequent token at each position."""
        cpu = torch.device("cpu")
        counted = make_batch(self.problem, self.problem.draw(baselines.COUNTED, random.Random(0)), cpu)
        return baselines.measure(counted, make_batch(self.problem, self.problem.held_out, cpu))

    def graphs(self) -> dict[str, Graph]:
        """A source and the output so far, to the logits after each token of the output."""
        source = torch.tensor([[SPECIALS, EOS], [EOS, PAD]], device=self.device)  # learned positions may have room for two tokens alone
        output = torch.tensor([[BOS, SPECIALS], [BOS, SPECIALS + 1]], device=self.device)
        free = {"source": {0: "batch", 1: "source_length"}, "output": {0: "batch", 1: "output_length"}}
        return {"seq2seq": Graph(self.model, {"source": source, "output": output}, ("logits",), free)}


def make_model(settings: Seq2SeqSettings, problem: Problem) -> Seq2Seq:
    """A model for the problem; learned positions go as far as its pairs."""
    needed = max(problem.source_length, problem.target_length + 1)
    return Seq2Seq(
        SPECIALS + len(problem.tokenizer.vocabulary),
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        longest=needed if settings.positions == "learned" else max(MIN_POSITIONS, 2 * needed),
        norm=settings.norm,
        positions=settings.positions,
        dropout=settings.dropout,
    )


def smoothed_loss(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy of logits (B, T, V) over the real tokens of `target` (B, T), with label smoothing (Szegedy et al., 2016)."""
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing)


def padded_to(ids: Tensor, length: int) -> Tensor:
    """`ids` (B, T), padded to (B, length)."""
    return F.pad(ids, (0, length - ids.shape[1]), value=PAD)


def learning_rate(settings: Seq2SeqSettings, step: int) -> float:
    """For the step after `step` finished ones: the paper's width^-0.5 min(s^-0.5, s warmup^-1.5), or a warm-up and half a cosine."""
    if settings.schedule == "paper":
        return float(settings.width**-0.5 * min((step + 1) ** -0.5, (step + 1) * max(1, settings.warmup) ** -1.5))
    return settings.lr * warmup_cosine(step, settings.warmup, settings.steps, FLOOR)
