"""Training a sequence-to-sequence Transformer: teacher forcing in training, free-running decoding in evaluation."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.seq2seq import baselines, panels, trials
from dlplay.architectures.seq2seq.batches import Batch, batch_of
from dlplay.architectures.seq2seq.decoding import beam_search, greedy
from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS, Seq2Seq
from dlplay.architectures.seq2seq.options import Alignment, AttentionMap, Beam, HeadsOff, HeldOut, Source
from dlplay.architectures.seq2seq.problem import HELD_OUT, Own, Problem, pose
from dlplay.architectures.seq2seq.settings import Seq2SeqSettings
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Bars, HeatMap, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.task import Task
from dlplay.parts.optimizers import decay_groups, set_rates, warmup_cosine

FLOOR = 0.05
"""Share of the step size at the last step of a cosine."""

AT_ONCE, LOGITS = 256, 1 << 24
"""Held-out pairs that are decoded side by side, and elements of the largest block of logits that they form, at the most."""

ROOM = 256
"""Places that sinusoidal positions go to at the least, so that longer sources than any trained on can be tried."""


class Seq2SeqTask(Task[Seq2SeqSettings]):
    """Pairs of a source and its target."""

    questions = {
        name: name
        for name in ("translation", "alignment", "attention", "beam_candidates", "heads_off", "held_out", "alternatives", "norms")
    }

    def __init__(self, settings: Seq2SeqSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.problem = pose(settings, assets)
        self.data = self.problem.data
        self.models["seq2seq"] = self.model = make_model(settings, self.problem).to(device)
        self.optimizers["seq2seq"] = self.optimizer = adamw(self.model, settings)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        pairs = self.problem.held_out
        at_once = max(1, min(AT_ONCE, LOGITS // (self.problem.target_length * self.model.tokens.num_embeddings)))
        self._held_out = [batch_of(self.problem, pairs[start : start + at_once], device) for start in range(0, len(pairs), at_once)]

    def train_step(self) -> dict[str, Tensor]:
        """One batch of pairs; every target token is predicted from the source and the target tokens before it."""
        settings = self.settings
        set_rates(self.optimizer, lr=learning_rate(settings, self.step), weight_decay=settings.weight_decay)
        batch = next_batch(self.problem, settings.batch, self.generators["data"], self.device)
        loss = smoothed_loss(self.model(batch.source, batch.output), batch.target, settings.label_smoothing)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizer, settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """Every held-out pair: the loss and the accuracy under teacher forcing (each token after the right ones), and what the model says
        when it runs freely on its own tokens. An answer with a token that the vocabulary lacks cannot be said, so it counts as wrong."""
        if not self._held_out:
            raise DataError(self.problem.missing)
        nats, taught, right, exact, beamed = (torch.zeros((), dtype=torch.float32, device=self.device) for _ in range(5))
        tokens = 0
        for batch in self._held_out:
            logits, real = self.model(batch.source, batch.output), batch.target != PAD
            nats += F.cross_entropy(logits.flatten(0, 1), batch.target.flatten(), ignore_index=PAD, reduction="sum")
            taught += ((logits.argmax(dim=-1) == batch.target) & real).sum()
            limit = batch.target.shape[1] + 1  # what has not ended by then is wrong whatever follows
            said = same_length(greedy(self.model, batch.source, limit), limit)
            wanted = same_length(batch.target, limit)
            right += ((said == wanted) & (wanted != PAD)).sum()
            exact += (said == wanted).all(dim=1).sum()
            tokens += int(real.sum())
            if self.settings.eval_beams > 1:
                beamed += self._beams_right(batch, limit)
        pairs = len(self.problem.held_out)
        found = {
            "exact_match": float(exact) / pairs,
            "token_accuracy": float(right) / tokens,
            "teacher_forced_accuracy": float(taught) / tokens,
            "val_loss": float(nats) / tokens,
        }
        return found | ({"beam_exact_match": float(beamed) / pairs} if self.settings.eval_beams > 1 else {})

    def _beams_right(self, batch: Batch, limit: int) -> int:
        ranked = beam_search(self.model, batch.source, self.settings.eval_beams, limit)
        wanted = [[token for token in row if token != PAD] for row in batch.target.tolist()]
        return sum(bool(found) and found[0].ids == ids for found, ids in zip(ranked, wanted, strict=True))

    def change(self, settings: Seq2SeqSettings) -> None:
        """Dropout is the one live setting that the model keeps for itself."""
        super().change(settings)
        self.model.set_dropout(settings.dropout)

    def baselines(self) -> dict[str, dict[str, float]]:
        """The best copier of fixed places, the commonest answer, and the commonest token at each place; all counted on training pairs."""
        pairs = self.problem.draw(baselines.COUNTED, random.Random(0))
        counted = batch_of(self.problem, pairs, torch.device("cpu"))
        return baselines.measure(counted, batch_of(self.problem, self.problem.held_out, torch.device("cpu")))

    def baselines_key(self) -> str:
        """The task or the file, and the split."""
        return f"seq2seq copiers 1 {self.problem.key} {HELD_OUT}"

    def assets(self) -> dict[str, Any]:
        """Of a user's own pairs the vocabulary and the lengths; made-up ones need nothing."""
        if not isinstance(self.problem, Own):
            return {}
        problem = self.problem
        return {
            "tokens": problem.tokenizer.kind,
            "vocabulary": problem.tokenizer.vocabulary,
            "source_length": problem.source_length,
            "target_length": problem.target_length,
        }

    def data_key(self) -> str:
        """The pairs'."""
        return self.problem.key

    def graphs(self) -> dict[str, Graph]:
        """A source and what was said of the output so far, to the logits after each token of it."""
        source = torch.tensor([[SPECIALS, EOS], [EOS, PAD]], device=self.device)  # learned positions may hold one token more, and no other
        output = torch.tensor([[BOS, SPECIALS], [BOS, SPECIALS + 1]], device=self.device)
        free = {"source": {0: "batch", 1: "source_length"}, "output": {0: "batch", 1: "output_length"}}
        return {"seq2seq": Graph(self.model, {"source": source, "output": output}, ("logits",), free)}

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def translation(self, options: Source) -> Tokens:
        """See `panels.translation`; so for the others."""
        return panels.translation(self.model, self.problem, options)

    def alternatives(self, options: Source) -> Bars:
        """What else might stand at one place."""
        return panels.alternatives(self.model, self.problem, options)

    def alignment(self, options: Alignment) -> HeatMap:
        """Output words against source words."""
        return panels.alignment(self.model, self.problem, options)

    def attention(self, options: AttentionMap) -> HeatMap:
        """One head's attention weights."""
        return panels.attention(self.model, self.problem, options)

    def beam_candidates(self, options: Beam) -> Table:
        """What a beam search finds."""
        return trials.beam_candidates(self.model, self.problem, options)

    def heads_off(self, options: HeadsOff) -> HeatMap:
        """What each head is worth."""
        return trials.heads_off(self.model, self.problem, options)

    def held_out(self, options: HeldOut) -> Table:
        """Held-out pairs."""
        return trials.held_out(self.model, self.problem, options)

    def norms(self, options: Options) -> Bars:
        """Gradient and weight norms."""
        return panels.norms(self.model)


def make_model(settings: Seq2SeqSettings, problem: Problem) -> Seq2Seq:
    """A model for the problem; learned positions go as far as the pairs do."""
    needed = max(problem.source_length, problem.target_length + 1)
    return Seq2Seq(
        SPECIALS + len(problem.tokenizer.vocabulary),
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        longest=needed if settings.positions == "learned" else max(ROOM, 2 * needed),
        norm=settings.norm,
        positions=settings.positions,
        dropout=settings.dropout,
    )


def next_batch(problem: Problem, count: int, generator: torch.Generator, device: torch.device) -> Batch:
    """The pairs of the next step, all drawn from one number of `generator`."""
    rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
    return batch_of(problem, problem.draw(count, rng), device)


def smoothed_loss(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy of logits (B, T, V) over the real tokens of `target` (B, T), with label smoothing (Szegedy et al., 2016)."""
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing)


def same_length(ids: Tensor, length: int) -> Tensor:
    """`ids` (B, T) padded to `length`."""
    return F.pad(ids, (0, length - ids.shape[1]), value=PAD)


def learning_rate(settings: Seq2SeqSettings, step: int) -> float:
    """Of the step after `step` finished ones: the paper's width^-0.5 min(s^-0.5, s warmup^-1.5), or a warm-up and half a cosine."""
    if settings.schedule == "paper":
        return float(settings.width**-0.5 * min((step + 1) ** -0.5, (step + 1) * settings.warmup**-1.5))
    return settings.lr * warmup_cosine(step, settings.warmup, settings.steps, FLOOR)


def adamw(model: Seq2Seq, settings: Seq2SeqSettings) -> torch.optim.AdamW:
    """Adam with the paper's betas .9 and .98 and eps 1e-9; weight decay, if any, on the matrices alone."""
    return torch.optim.AdamW(
        decay_groups(model), lr=settings.lr, betas=(0.9, 0.98), eps=1e-9, weight_decay=settings.weight_decay, fused=True
    )
