"""What the model predicts at the words of a sentence, and how it fills all masks."""

from __future__ import annotations

import torch
from torch import Tensor

from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.sentences.sentence import ReadSentence

AT_ONCE = 64
"""Rows in one forward pass."""

MAX_PASSES = 8
"""Forward passes to fill all masks of a sentence: they are filled whenever a sentence is read."""


def logits_of(model: BERT, rows: list[list[int]]) -> Tensor:
    """Logits (B, T, V) in double precision of rows of the same length."""
    parts = torch.split(torch.tensor(rows, device=model.embeddings.tokens.weight.device), AT_ONCE)
    return torch.cat([model.logits(model(part)).cpu().double() for part in parts])


def logits_at(model: BERT, rows: list[list[int]], positions: list[int]) -> Tensor:
    """Logits (B, V) in double precision at one position of each row. All positions would take gigabytes with a large vocabulary."""
    device = model.embeddings.tokens.weight.device
    parts = zip(
        torch.split(torch.tensor(rows, device=device), AT_ONCE), torch.split(torch.tensor(positions, device=device), AT_ONCE), strict=True
    )
    return torch.cat([model.logits(model(part)[torch.arange(len(part), device=device), at]).cpu().double() for part, at in parts])


def suppress_special(scores: Tensor, words: int) -> Tensor:
    """Logits or probabilities (…, V) with -inf at <unk> and at the special tokens, which are no answers."""
    scores = scores.clone()
    scores[..., 0] = -torch.inf
    scores[..., words:] = -torch.inf
    return scores


def fill_masks(model: BERT, sentence: ReadSentence, probability: Tensor) -> dict[int, tuple[int, float]]:
    """The word for each mask, by position, and its probability when it was chosen.

    The most confident mask is filled first, and the later ones see its word; with more masks than `MAX_PASSES` several are filled at a
    time. `probability` (T, V) is the prediction while all of them are masked.
    """
    ids, left = list(sentence.ids), sentence.masks
    values: dict[int, float] = {}
    for passes in range(MAX_PASSES, 0, -1):
        best = suppress_special(probability, sentence.special.words).max(dim=-1)
        left.sort(key=lambda position: -float(best.values[position]))
        count = -(-len(left) // passes)
        for position in left[:count]:
            ids[position], values[position] = int(best.indices[position]), float(best.values[position])
        if not (left := sorted(left[count:])):
            break
        probability = logits_of(model, [sentence.row(ids=ids)])[0, 1:-1].softmax(dim=-1)
    return {position: (ids[position], values[position]) for position in sentence.masks}
