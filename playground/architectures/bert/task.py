"""Training a BERT: on the masked words of a text, or, from there, on texts with a class each."""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.bert import fill, panels
from dlplay.architectures.bert.classification import Classification
from dlplay.architectures.bert.masking import Specials
from dlplay.architectures.bert.model import BERT, Classes, MaskedWords
from dlplay.architectures.bert.options import AttentionHead, Contexts, Example, Fill, Sentence, WordNeighbours
from dlplay.architectures.bert.pretraining import Pretraining
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.bounded import clean
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Bars, HeatMap, Lines, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.task import Task
from dlplay.parts.corpora import open_corpus
from dlplay.parts.optimizers import decay_groups, set_rates

NEW = ("bert/classifier.", "bert/pooler.")
"""What fine-tuning may begin without."""


class BERTTask(Task[BERTSettings]):
    """Masked words, or classes."""

    questions = {
        "fill": "fill",
        "masked_words": "masked_words",
        "pseudo_likelihood": "pseudo_likelihood",
        "attention": "attention",
        "contexts": "contexts",
        "neighbours": "neighbours",
        "held_out": "held_out",
        "classes": "classes_of",
        "follows": "follows",
        "norms": "norms",
    }

    def __init__(self, settings: BERTSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.tokenizer, corpus, self._no_data = open_corpus(
            settings.text,
            settings.tokens,
            vocab_size=settings.vocab_size,
            min_count=settings.min_count,
            minimum=10 * settings.block_size,
            assets=assets,
        )
        specials = Specials(len(self.tokenizer.vocabulary))
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        self._lots = generator = self.generators["data"] if device.type == "cpu" else torch.Generator(device)
        """Draws batches and masks. One of another device begins anew at every step from the run's own, whose state fits every device."""
        self.classification: Classification | None = None
        self.classes: list[str] = []
        self._new_classes = False
        """The checkpoint that the weights are from knew other classes or none, so that the head on top begins anew."""
        if settings.data:
            self._open_classes(assets or {})
        self.model = BERT(
            specials.size,
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            block_size=settings.block_size,
            dropout=settings.dropout,
            next_sentence=settings.next_sentence,
            classes=len(self.classes),
        ).to(device)
        self.models["bert"] = self.model
        self.optimizers["bert"] = self.optimizer = adamw(self.model, settings)
        self.pretraining = Pretraining(settings, device, corpus, specials, generator) if corpus else None
        source = self.classification if settings.data else self.pretraining
        self.data = source.data if source else f"no data, so that it can be asked and not trained: {self._no_data}"

    def _open_classes(self, assets: dict[str, Any]) -> None:
        """The texts to tell apart; a checkpoint that knows their classes can be asked without them."""
        known = assets.get("classes")
        if known is not None and not (isinstance(known, list) and all(isinstance(name, str) for name in known)):
            raise DataError("the checkpoint's classes are damaged; use another checkpoint")
        known = known and [clean(name) for name in known]
        try:
            self.classification = Classification(self.settings, self.device, self.tokenizer, self._lots)
            self.classes = self.classification.texts.classes
        except DataError as error:
            if not known:
                raise
            self.classes, self._no_data = known, str(error)
        self._new_classes = known != self.classes

    def _pretraining(self) -> Pretraining:
        if self.pretraining is None:
            raise DataError(self._no_data)
        return self.pretraining

    def _classification(self) -> Classification:
        if self.classification is None:
            raise DataError(self._no_data)
        return self.classification

    # --- training -----------------------------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor]:
        """One batch of rows with fresh masks, or of texts with a class."""
        settings = self.settings
        set_rates(self.optimizer, lr=learning_rate(settings, self.step), weight_decay=settings.weight_decay)
        if self._lots is not self.generators["data"]:
            self._lots.manual_seed(int(torch.randint(2**62, (), generator=self.generators["data"])))
        parts: dict[str, Tensor] = {}
        if settings.data:
            loss = self._classification().loss(self.model)
        else:
            loss, parts = self._pretraining().loss(self.model)
        return {"train_loss": loss.detach(), **parts, **self.minimise(loss, self.optimizer, settings.clip)}

    def evaluate(self) -> dict[str, float]:
        """On all that is held out: every class of text, or the masked words under masks that never change."""
        return self._classification().evaluate(self.model) if self.settings.data else self._pretraining().evaluate(self.model)

    def change(self, settings: BERTSettings) -> None:
        """Dropout is kept by the model, and where the rows come from has its own settings."""
        super().change(settings)
        self.model.set_dropout(settings.dropout)
        for source in (self.pretraining, self.classification):
            if source is not None:
                source.settings = settings

    def baselines(self) -> dict[str, dict[str, float]]:
        """N-grams under the same masks, or classifiers that count words."""
        return self._classification().baselines() if self.settings.data else self._pretraining().baselines()

    def baselines_key(self) -> str:
        """The data, the split and the masks."""
        return self._classification().baselines_key() if self.settings.data else self._pretraining().baselines_key()

    # --- state --------------------------------------------------------------------------------------------------------------------

    def assets(self) -> dict[str, Any]:
        """The vocabulary, and the names of the classes."""
        return self.tokenizer.assets() | ({"classes": self.classes} if self.classes else {})

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """All of them; but a checkpoint of other classes, or of none, gives its encoder alone, and the head on top begins anew."""
        own = self.weights()
        if self._new_classes:
            has_pooler = "bert/next_sentence.weight" in weights  # one that pairs of text have trained is worth keeping
            fresh = [name for name in own if name.startswith(NEW[:1] if has_pooler else NEW)]
            weights = {name: value for name, value in weights.items() if name not in fresh and not name.startswith(NEW[0])}
            weights |= {name: own[name] for name in fresh}
        elif not self.settings.data:  # what a fine-tuned encoder had on top is of no use here
            weights = {name: value for name, value in weights.items() if name in own or not name.startswith(NEW)}
        super().load_weights(weights)

    def graphs(self) -> dict[str, Graph]:
        """Tokens, their segments and which of them are there, to the logits of the word at every place, or of the classes."""
        idx = torch.zeros(2, min(6, self.settings.block_size - 1), dtype=torch.int64)
        inputs = {"tokens": idx, "segments": torch.zeros_like(idx), "valid": torch.ones_like(idx, dtype=torch.bool)}
        free = {name: {0: "batch", 1: "time"} for name in inputs}
        encoder = {"encoder": Graph(MaskedWords(self.model), inputs, ("logits",), free)}
        if self.model.classifier is None:
            return encoder
        return {"classes": Graph(Classes(self.model), inputs, ("logits",), free)} | encoder

    def data_key(self) -> str:
        """The text's, or that of the texts to tell apart."""
        return self._classification().texts.key if self.settings.data else self._pretraining().corpus.key

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def fill(self, options: Fill) -> Tokens:
        """See `fill.fill`, so for the others; and the sentence's class, where it tells classes apart."""
        found = fill.fill(self.model, self.tokenizer, options)
        return msgspec.structs.replace(found, figure=f"class {self.classes_of(options).figure} · {found.figure}") if self.classes else found

    def masked_words(self, options: Fill) -> Table:
        """The likeliest words of every blank."""
        return fill.masked_words(self.model, self.tokenizer, options)

    def pseudo_likelihood(self, options: Sentence) -> Tokens:
        """The probability of each word, masked alone."""
        return fill.pseudo_likelihood(self.model, self.tokenizer, options)

    def attention(self, options: AttentionHead) -> HeatMap:
        """One head's attention weights."""
        return panels.attention(self.model, self.tokenizer, options)

    def contexts(self, options: Contexts) -> Lines:
        """A word in two contexts."""
        return panels.contexts(self.model, self.tokenizer, options)

    def neighbours(self, options: WordNeighbours) -> Bars:
        """Embedding neighbours."""
        return panels.neighbours(self.model, self.tokenizer, options)

    def held_out(self, options: Example) -> Table:
        """Blanks of the held-out text, with answers."""
        if self.pretraining is None:
            return Table(columns=["blank"], rows=[], caption=self._no_data)
        return panels.held_out(self.model, self.tokenizer, self.pretraining, options)

    def classes_of(self, options: Sentence) -> Bars:
        """The classes of the sentence."""
        return panels.classes(self.model, self.tokenizer, self.classes, options)

    def follows(self, options: Contexts) -> Bars:
        """Whether one sentence follows the other."""
        return panels.follows(self.model, self.tokenizer, options)

    def norms(self, options: Options) -> Bars:
        """Gradient and weight norms."""
        return panels.norms(self.model)


def learning_rate(settings: BERTSettings, step: int) -> float:
    """Of the step after `step` finished ones: a linear warm-up to `lr`, then a straight line down to nothing behind the last step."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    return settings.lr * max(0.0, (settings.steps - step) / max(1, settings.steps - settings.warmup))


def adamw(model: BERT, settings: BERTSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on the matrices alone: embeddings and linear maps. The second beta is RoBERTa's (Liu et al., 2019)."""
    return torch.optim.AdamW(decay_groups(model), lr=settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True)
