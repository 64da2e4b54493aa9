"""Training a BERT: on the masked words of a text or, from there, on texts with a class each."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlplay.architectures.bert.classification.objective import Classification
from dlplay.architectures.bert.model import BERT, EncoderWithClassifier, EncoderWithHead
from dlplay.architectures.bert.panels import BERTPanels
from dlplay.architectures.bert.pretraining.objective import Pretraining
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.bounded import clean
from dlplay.data.labelled import read_labelled
from dlplay.data.special_tokens import SPECIAL_TOKENS, SpecialIds
from dlplay.data.text import Corpus
from dlplay.data.tokens import Tokenizer
from dlplay.engine.dataset import Dataset, Missing
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.task import Probe, Task
from dlplay.engine.vocabulary import Vocabulary
from dlplay.parts.corpora import open_corpus
from dlplay.parts.head_table import ablation_costs
from dlplay.parts.held_out import probe_shape
from dlplay.parts.optimizers import adamw, set_one_cycle, set_rates

CLASSIFIER, POOLER = "bert/classifier.", "bert/pooler."
"""What fine-tuning may have to start without: a pretrained encoder has no classifier, and a pooler only if it learnt next sentences."""


HEADLESS = "this encoder has no masked-word head to train on a text; fine-tune it on texts with a class each: --data FILE.tsv"


class BERTTask(Task[BERTSettings]):
    """Masked language modelling, or classification."""

    @classmethod
    def read_ahead(cls, settings: BERTSettings) -> Dataset:
        return _corpus(settings, None)[1]

    def __init__(self, settings: BERTSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.tokenizer, text = _corpus(settings, assets)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        """Draws batches and masks, on the CPU: every device sees the same."""
        self.heads = _stored_heads(assets or {})
        if self.heads is not None:
            text = Missing("masked-word head", HEADLESS, {**self.tokenizer.assets(), "classes": _stored_classes(assets or {})})
        self.pretraining = text if isinstance(text, Missing) else Pretraining(settings, device, text, self.generators["data"])
        stored = _stored_classes(assets or {}) if settings.data or self.heads is not None else []
        self.classification = self._open_classes(stored) if settings.data else None
        self.source: Pretraining | Classification | Missing = self.classification or self.pretraining
        self.dataset = self.source
        self.classes: list[str] = list(self.source.assets["classes"]) if settings.data else stored
        self._fresh_classifier = self.classes != stored
        """The weights come from a checkpoint with other classes or none."""
        self._keep_pooler = bool(self.heads) and not stored
        """It came with an encoder that no classes have trained yet."""
        self.model = BERT(
            SpecialIds(len(self.tokenizer.vocabulary)).size,
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            block_size=settings.block_size,
            dropout=settings.dropout,
            masked_words=self.heads is None,
            next_sentence=settings.next_sentence,
            classes=len(self.classes),
            pooler=bool(self.heads),
        ).to(device)
        self.models["bert"] = self.model
        # the second beta is RoBERTa's (Liu et al., 2019)
        self.optimizer = adamw(self.model, lr=settings.lr, weight_decay=settings.weight_decay, betas=(0.9, 0.98))
        self.optimizers["bert"] = self.optimizer

    def _open_classes(self, stored: list[str]) -> Classification | Missing:
        """The texts to classify. When they are missing, a checkpoint with `stored` classes can still be asked."""
        try:
            data = read_labelled(Path(self.settings.data))
            return Classification(self.settings, self.device, data, self.tokenizer, self.generators["data"])
        except DataError as error:
            if not stored:
                raise
            return Missing("texts", str(error), {**self.tokenizer.assets(), "classes": stored})

    @property
    def objective(self) -> Pretraining | Classification:
        """What it is trained on. Raises `DataError` when the data are missing."""
        if isinstance(self.source, Missing):
            raise DataError(self.source.why)
        return self.source

    def panels(self) -> BERTPanels:
        costs = functools.partial(ablation_costs, self)
        return BERTPanels(self.model, self.tokenizer, self.pretraining, self.classes, self.optimizers["bert"], costs)

    def draw_batch(self) -> tuple[Tensor, ...]:
        return self.objective.draw(self.share)

    def update_rates(self) -> None:
        settings = self.settings
        if settings.schedule == "one-cycle":
            set_one_cycle(self.optimizer, self.step / settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            set_rates(self.optimizer, lr=learning_rate(settings, self.step), weight_decay=settings.weight_decay)

    def train_step(self) -> dict[str, Tensor]:
        """One batch of rows with fresh masks, or of texts with a class."""
        self.update_rates()
        drawn = self.drawn()
        with self.autocast():
            loss, parts, terms = self.objective.loss(self.model, drawn)
        return {"train_loss": loss.detach(), **parts, **self.minimise(loss, self.optimizer, self.settings.clip, terms)}

    def evaluate(self) -> dict[str, float]:
        return self.objective.evaluate(self.model)

    def vocabulary(self) -> Vocabulary:
        special = SpecialIds(len(self.tokenizer.vocabulary))

        def names() -> dict[str, int]:
            return self.tokenizer.names() | {word: special.words + number for number, word in enumerate(SPECIAL_TOKENS)}

        return Vocabulary(self.model.embeddings.tokens, names, padding=special.pad)

    def probe(self) -> Probe:
        """The mean loss of the masked words of each of the first held-out rows, or the loss of each of the first held-out texts."""
        objective = self.objective
        values = objective.probe(self.model, *probe_shape(self.parameters, self.settings.block_size))
        return Probe(values, "loss (nats per masked word)" if isinstance(objective, Pretraining) else "loss (nats)")

    def change(self, settings: BERTSettings) -> None:
        super().change(settings)
        self.model.set_dropout(settings.dropout)
        for source in (self.pretraining, self.classification):
            if isinstance(source, (Pretraining, Classification)):
                source.settings = settings

    def baselines(self) -> dict[str, dict[str, float]]:
        return self.objective.baselines()

    def baselines_depend_on(self) -> str:
        return self.objective.baselines_key()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """All of them; from a checkpoint with other classes, or none, only the encoder, and the classifier starts anew."""
        own = self.weights()
        if self._fresh_classifier:
            keep_pooler = self._keep_pooler or "bert/next_sentence.weight" in weights  # next-sentence prediction has trained it
            fresh = [name for name in own if name.startswith(CLASSIFIER if keep_pooler else (CLASSIFIER, POOLER))]
            weights = {name: value for name, value in weights.items() if name not in fresh and not name.startswith(CLASSIFIER)}
            weights |= {name: own[name] for name in fresh}
        elif not self.settings.data:  # back from fine-tuning: there is nothing to classify
            weights = {name: value for name, value in weights.items() if name in own or not name.startswith((CLASSIFIER, POOLER))}
        super().load_weights(weights)

    def assets(self) -> dict[str, Any]:
        """Besides the data's, the heads of an encoder that came without the masked-word head."""
        return super().assets() | ({} if self.heads is None else {"heads": self.heads})

    def graphs(self) -> dict[str, Graph]:
        """Tokens, their segments and which of them are valid, to the logits of the word at every position, or of the classes; without the
        masked-word head to the hidden states."""
        idx = torch.zeros(2, min(6, self.settings.block_size - 1), dtype=torch.int64)
        inputs = {"tokens": idx, "segments": torch.zeros_like(idx), "valid": torch.ones_like(idx, dtype=torch.bool)}
        free = {name: {0: "batch", 1: "time"} for name in inputs}
        if self.model.head is None:
            encoder = {"encoder": Graph(self.model, inputs, ("hidden",), free)}
        else:
            encoder = {"encoder": Graph(EncoderWithHead(self.model), inputs, ("logits",), free)}
        if self.model.classifier is None:
            return encoder
        return {"classes": Graph(EncoderWithClassifier(self.model), inputs, ("logits",), free)} | encoder


def learning_rate(settings: BERTSettings, step: int) -> float:
    """For the step after `step` finished ones: a linear warm-up to `lr`, then a linear decay to zero after the last step."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    return settings.lr * max(0.0, (settings.steps - step) / max(1, settings.steps - settings.warmup))


def _stored_heads(assets: dict[str, Any]) -> list[str] | None:
    """What a checkpoint without the masked-word head has instead: a pooler or nothing. None: it has that head. Raises `DataError`."""
    if (heads := assets.get("heads")) not in (None, [], ["pooler"]):
        raise DataError("the checkpoint's heads are damaged; use another checkpoint")
    return heads


def _stored_classes(assets: dict[str, Any]) -> list[str]:
    """The classes of a checkpoint; none if it was never fine-tuned. Raises `DataError` when they are damaged."""
    stored = assets.get("classes")
    if stored is None:
        return []
    if not (isinstance(stored, list) and all(isinstance(name, str) for name in stored)):
        raise DataError("the checkpoint's classes are damaged; use another checkpoint")
    return [clean(name) for name in stored]


def _corpus(settings: BERTSettings, assets: dict[str, Any] | None) -> tuple[Tokenizer, Corpus | Missing]:
    return open_corpus(settings, settings.tokens, minimum=10 * settings.block_size, assets=assets)
