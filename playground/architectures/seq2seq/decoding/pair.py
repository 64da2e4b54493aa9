"""A source and a corrupted one, and the output token whose logits they are compared by."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.decoding.output import Output
from dlplay.architectures.seq2seq.decoding.search import suppress_special
from dlplay.architectures.seq2seq.model import BOS, SPECIALS, Seq2Seq
from dlplay.architectures.seq2seq.problems.batches import source_ids
from dlplay.architectures.seq2seq.problems.problem import Problem
from dlplay.architectures.seq2seq.settings import PatchedSource
from dlplay.data.bounded import clean as printable
from dlplay.parts.patching import check_lengths, replace_one

PLACES = 16
"""Output tokens among which one is chosen, at most."""


class Pair(NamedTuple):
    """What is compared."""

    corrupt: list[int]
    """Ids of the corrupted source, EOS last."""
    place: int
    """The position of the output token."""
    written: list[int]
    """Ids that the decoder reads up to there, BOS first."""
    notes: list[str]


def patched_pair(model: Seq2Seq, problem: Problem, output: Output, options: PatchedSource) -> Pair:
    """The corrupted source that was typed, or the source with the token replaced that changes the output most; and the chosen output token
    or, for the last, the one that changes most. Raises `SettingsError`."""
    device = model.tokens.weight.device
    written = torch.tensor([[BOS, *output.ids[:-1]]], device=device)
    places = [output.position(options.place)] if options.place >= 0 else list(range(min(PLACES, len(output.ids))))

    def read(place: int, sources: Tensor) -> Tensor:
        return suppress_special(model(sources, written[:, : place + 1].expand(len(sources), -1))[:, -1])  # (B, V)

    if options.corrupt.strip():
        text = problem.tidy(options.corrupt)
        corrupt, notes = source_ids(problem, text), [f"corrupted: {printable(text, 60)}"]
        check_lengths(corrupt, output.source, problem.tokenizer.noun)
        source, other = (torch.tensor([ids], device=device) for ids in (output.source, corrupt))
        margins = []
        for place in places:
            before, after = read(place, source)[0], read(place, other)[0]
            margins.append(float(after.max() - after[before.argmax()]))
        best = max(range(len(places)), key=margins.__getitem__)
        return Pair(corrupt, places[best], written[0, : places[best] + 1].tolist(), notes)
    embedding, ids = model.tokens.weight[SPECIALS + 1 :], torch.tensor(output.source, device=device)
    parameters = sum(p.numel() for p in model.parameters())
    tried = []
    for place in places:
        corrupt, margin = replace_one(ids, functools.partial(read, place), embedding, range(len(ids) - 1), parameters, first=SPECIALS + 1)
        tried.append((margin, place, corrupt))
    _, place, corrupt = max(tried, key=lambda each: each[0])
    return Pair(corrupt, place, written[0, : place + 1].tolist(), ["one token of the source replaced"])
