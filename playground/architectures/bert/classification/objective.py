"""What a BERT is fine-tuned on: texts with a class each."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.bert.classification.baselines import classifiers
from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.labelled import Labelled
from dlplay.data.special_tokens import SpecialIds
from dlplay.data.tokens import Tokenizer
from dlplay.engine.task import Share

AT_ONCE = 256
"""Texts in one forward pass of an evaluation."""


class RaggedRows:
    """Rows of ids of different lengths, stored end to end."""

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

    def padded(self, which: Tensor, pad: int) -> Tensor:
        """The rows `which` (B,), padded to the longest of all: (B, T)."""
        position = torch.arange(self.longest, device=which.device)
        idx = self.flat[(self.starts[which, None] + position).clamp(max=len(self.flat) - 1)]
        return torch.where(position < self.lengths[which, None], idx, pad).long()


class Classification:
    """Texts as rows `[CLS] words [SEP]`, cut off after `block_size` tokens."""

    def __init__(
        self, settings: BERTSettings, device: torch.device, data: Labelled, tokenizer: Tokenizer, generator: torch.Generator
    ) -> None:
        self.settings, self.device, self.data, self.tokenizer, self.generator = settings, device, data, tokenizer, generator
        self.special = SpecialIds(len(tokenizer.vocabulary))
        self.train, self.test = self._rows(data.train), self._rows(data.held_out)
        labels = torch.from_numpy(data.labels).to(device)
        self.train_labels, self.test_labels = labels[torch.from_numpy(data.train)], labels[torch.from_numpy(data.held_out)]

    def _rows(self, which: np.ndarray) -> RaggedRows:
        room, special = self.settings.block_size - 2, self.special
        texts = (self.tokenizer.encode(self.data.texts[number])[:room] for number in which.tolist())
        return RaggedRows(([special.cls, *text, special.sep] for text in texts), self.device)

    @property
    def words(self) -> str:
        words = self.test.flat[self.test.flat < self.special.words]
        unknown = float((words == 0).double().mean()) if len(words) else 0.0
        return (
            f"{self.data.words}; {100 * unknown:.1f} % of the held-out {self.tokenizer.noun} are <unk>; "
            f"at most {self.settings.block_size} tokens of each"
        )

    @property
    def key(self) -> str:
        return self.data.key

    @property
    def assets(self) -> dict[str, Any]:
        return {**self.tokenizer.assets(), **self.data.assets}

    def logits(self, model: BERT, idx: Tensor) -> Tensor:
        """Logits (B, classes) of rows (B, T)."""
        assert model.classifier is not None
        pooled = model.pool(model(idx, None, idx != self.special.pad))
        logits: Tensor = model.classifier(F.dropout(pooled, self.settings.dropout, model.training))
        return logits

    def draw(self, share: Share) -> tuple[Tensor, ...]:
        """The share of this process of a batch of texts (B,), drawn with replacement."""
        return (share(torch.randint(len(self.train), (self.settings.batch,), generator=self.generator)),)

    def loss(self, model: BERT, drawn: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor], int]:
        """The loss on the batch that `draw` gave, on the device, which has no parts, and how many texts it is the mean of."""
        (which,) = drawn
        logits = self.logits(model, self.train.padded(which, self.special.pad))
        return F.cross_entropy(logits, self.train_labels[which]), {}, len(which)

    def evaluate(self, model: BERT) -> dict[str, float]:
        """Accuracy and loss on every held-out text."""
        parts = torch.split(torch.arange(len(self.test), device=self.device), AT_ONCE)
        logits = torch.cat([self.logits(model, self.test.padded(part, self.special.pad)) for part in parts])
        correct = (logits.argmax(dim=-1) == self.test_labels).sum()
        return {
            "test_accuracy": int(correct) / len(self.test),
            "test_loss": float(F.cross_entropy(logits, self.test_labels)),
        }

    def probe(self, model: BERT, texts: int, length: int) -> Tensor:
        """The loss of each of the first held-out texts, of their first `length` tokens."""
        which = torch.arange(min(texts, len(self.test)), device=self.device)
        logits = self.logits(model, self.test.padded(which, self.special.pad)[:, :length])
        return F.cross_entropy(logits, self.test_labels[which], reduction="none")

    def baselines(self) -> dict[str, dict[str, float]]:
        """Naive Bayes and logistic regression on word counts, and the most frequent class."""
        return classifiers(self.data, self.tokenizer)

    def baselines_key(self) -> str:
        """What the baselines depend on besides the texts: how the tokenizer splits them into words."""
        identity = "\0".join(self.tokenizer.identity).encode("utf-8", "surrogatepass")
        return f"classes {self.tokenizer.kind} {hashlib.sha256(identity).hexdigest()}"
