"""Fine-tuning: texts told apart by their class, from an encoder that has learnt masked words."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.bert.masking import Specials
from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.labelled import Labelled, read_labelled
from dlplay.data.tokens import Tokenizer

AT_ONCE = 256
"""Texts that an evaluation reads side by side."""


class Ids:
    """Ids of texts of different lengths, end to end."""

    def __init__(self, rows: Iterable[list[int]], device: torch.device) -> None:
        flat, ends = array("i"), [0]
        for row in rows:
            flat.extend(row)
            ends.append(len(flat))
        bounds = torch.tensor(ends)
        self.flat = torch.from_numpy(np.array(flat, dtype=np.int32)).to(device)  # (all,)
        self.starts, lengths = bounds[:-1].to(device), bounds.diff()  # (N,) each
        self.lengths, self.longest = lengths.to(device), int(lengths.max())

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, which: Tensor, pad: int) -> Tensor:
        """Those `which` (B,), filled up to the longest of all: (B, T)."""
        place = torch.arange(self.longest, device=which.device)
        found = self.flat[(self.starts[which, None] + place).clamp(max=len(self.flat) - 1)]
        return torch.where(place < self.lengths[which, None], found, pad).long()


class Classification:
    """Texts as rows `[CLS] words [SEP]`; of a longer one than a block the beginning counts."""

    def __init__(self, settings: BERTSettings, device: torch.device, tokenizer: Tokenizer, generator: torch.Generator) -> None:
        self.settings, self.device, self.generator = settings, device, generator
        self.specials = Specials(len(tokenizer.vocabulary))
        self.texts: Labelled = read_labelled(Path(settings.data))
        self._tokenizer = tokenizer
        self.train, self.test = self._read(self.texts.train), self._read(self.texts.held_out)
        labels = torch.from_numpy(self.texts.labels).to(device)
        self.train_labels, self.test_labels = labels[torch.from_numpy(self.texts.train)], labels[torch.from_numpy(self.texts.held_out)]

    @property
    def data(self) -> str:
        """The data in words."""
        longest = self.settings.block_size
        ids = self.test.flat[self.test.flat < self.specials.words]
        unknown = float((ids == 0).double().mean()) if len(ids) else 0.0
        return (
            f"{self.texts.words}; {100 * unknown:.1f} % of the held-out {self._tokenizer.noun} are <unk>; at most {longest} tokens of each"
        )

    def _read(self, which: np.ndarray) -> Ids:
        room, specials = self.settings.block_size - 2, self.specials
        texts = (self._tokenizer.encode(self.texts.texts[number])[:room] for number in which.tolist())
        return Ids(([specials.cls, *ids, specials.sep] for ids in texts), self.device)

    def answer(self, model: BERT, idx: Tensor) -> Tensor:
        """Logits (B, classes) of rows (B, T)."""
        assert model.classifier is not None
        pooled = model.pool(model(idx, None, idx != self.specials.pad))
        logits: Tensor = model.classifier(F.dropout(pooled, self.settings.dropout, model.training))
        return logits

    def loss(self, model: BERT) -> Tensor:
        """Of a batch of texts drawn with replacement."""
        which = torch.randint(len(self.train), (self.settings.batch,), device=self.device, generator=self.generator)
        return F.cross_entropy(self.answer(model, self.train.rows(which, self.specials.pad)), self.train_labels[which])

    def evaluate(self, model: BERT) -> dict[str, float]:
        """Every held-out text."""
        parts = torch.split(torch.arange(len(self.test), device=self.device), AT_ONCE)
        logits = torch.cat([self.answer(model, self.test.rows(part, self.specials.pad)) for part in parts])
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
        """The texts and the way they are split into words: pieces of words are those of one vocabulary."""
        words = "\0".join(self._tokenizer.identity).encode("utf-8", "surrogatepass")
        return f"bert classes 1 {self.texts.key} {self._tokenizer.kind} {hashlib.sha256(words).hexdigest()}"
