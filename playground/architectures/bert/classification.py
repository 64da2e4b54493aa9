"""Fine-tuning: texts told apart by their class, from an encoder that has learnt masked words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from playground.architectures.bert.masking import Specials
from playground.architectures.bert.model import BERT
from playground.architectures.bert.settings import BERTSettings
from playground.data.labelled import Labelled, read_labelled
from playground.data.tokens import Tokenizer


class Classification:
    """Texts as rows `[CLS] words [SEP]`; of a longer one than a block the beginning counts."""

    def __init__(self, settings: BERTSettings, device: torch.device, tokenizer: Tokenizer, generator: torch.Generator) -> None:
        self.settings, self.device, self.generator = settings, device, generator
        self.specials = Specials(len(tokenizer.vocabulary))
        self.texts: Labelled = read_labelled(Path(settings.data))
        self._tokenizer = tokenizer
        self.train, self.train_labels = self._rows(self.texts.train)
        self.test, self.test_labels = self._rows(self.texts.held_out)

    @property
    def data(self) -> str:
        """The data in words."""
        longest = self.settings.block_size
        ids = self.test[self.test < self.specials.words]
        unknown = float((ids == 0).double().mean()) if len(ids) else 0.0
        return (
            f"{self.texts.words}; {100 * unknown:.1f} % of the held-out {self._tokenizer.noun} are <unk>; at most {longest} tokens of each"
        )

    def _rows(self, which: np.ndarray) -> tuple[Tensor, Tensor]:
        """Ids (N, T), filled up with [PAD] to the longest, and labels (N,)."""
        room, specials = self.settings.block_size - 2, self.specials
        found = [self._tokenizer.encode(self.texts.texts[number])[:room] for number in which.tolist()]
        longest = max(len(ids) for ids in found) + 2
        rows = torch.full((len(found), longest), specials.pad)
        for row, ids in zip(rows, found, strict=True):
            row[: len(ids) + 2] = torch.tensor([specials.cls, *ids, specials.sep])
        return rows.to(self.device), torch.from_numpy(self.texts.labels[which]).to(self.device)

    def answer(self, model: BERT, idx: Tensor) -> Tensor:
        """Logits (B, classes) of rows (B, T)."""
        assert model.classifier is not None
        pooled = model.pool(model(idx, None, idx != self.specials.pad))
        logits: Tensor = model.classifier(F.dropout(pooled, self.settings.dropout, model.training))
        return logits

    def loss(self, model: BERT) -> Tensor:
        """Of a batch of texts drawn with replacement."""
        which = torch.randint(len(self.train), (self.settings.batch,), device=self.device, generator=self.generator)
        return F.cross_entropy(self.answer(model, self.train[which]), self.train_labels[which])

    def evaluate(self, model: BERT) -> dict[str, float]:
        """Every held-out text."""
        logits = torch.cat([self.answer(model, part) for part in torch.split(self.test, 256)])
        right = (logits.argmax(dim=-1) == self.test_labels).sum()
        return {
            "test_accuracy": int(right) / len(self.test),
            "test_loss": float(F.cross_entropy(logits, self.test_labels)),
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """The most frequent class, and two methods that count words and know no order: naive Bayes and logistic regression."""
        from sklearn.dummy import DummyClassifier
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from sklearn.naive_bayes import MultinomialNB

        texts = self.texts
        vectorizer = CountVectorizer(analyzer=lambda text: list(self._tokenizer.split(text)))
        x = vectorizer.fit_transform([texts.texts[number] for number in texts.train])
        test = vectorizer.transform([texts.texts[number] for number in texts.held_out])
        y, wanted = texts.labels[texts.train], texts.labels[texts.held_out]
        methods = {
            "the most frequent class": DummyClassifier(strategy="prior"),
            "naive Bayes on words": MultinomialNB(),
            "logistic regression on words": LogisticRegression(max_iter=2000),
        }
        found: dict[str, dict[str, float]] = {"test_accuracy": {}, "test_loss": {}}
        for name, method in methods.items():
            method.fit(x, y)
            found["test_accuracy"][name] = float(method.score(test, wanted))
            found["test_loss"][name] = float(log_loss(wanted, method.predict_proba(test), labels=range(len(texts.classes))))
        return found

    def baselines_key(self) -> str:
        """The texts and the way they are split into words."""
        return f"bert classes 1 {self.texts.key} {self._tokenizer.kind}"
