"""Questions about a sequence-to-sequence Transformer, each a pure function of the model, its problem and the options."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.decoding import sayable
from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, UNK, Seq2Seq
from dlplay.architectures.seq2seq.options import Alignment, AttentionMap, Source
from dlplay.architectures.seq2seq.problem import Problem
from dlplay.architectures.seq2seq.reading import (
    END,
    Said,
    as_asked,
    attention_of,
    caption_of,
    chosen,
    is_right,
    labels_of,
    maps_of,
    place_of,
    say,
    text_of,
)
from dlplay.data.bounded import clean
from dlplay.engine.panels import Array, Bars, HeatMap, Tokens
from dlplay.parts.norms import norms as norms_of

ALTERNATIVES = 10
"""Candidates that are listed for a place."""

MAP = 128
"""Tokens on a side of an attention map."""

PARTS = {
    "attention": "self-attention",
    "around_attention": "norms",
    "cross": "cross-attention",
    "around_cross": "norms",
    "feed_forward": "feed-forward",
    "around_feed_forward": "norms",
}
"""What the parts of a layer are called."""


def translation(model: Seq2Seq, problem: Problem, options: Source) -> Tokens:
    """The output token by token, each with the probability the model gave it."""
    model, off = as_asked(model, options)
    said = say(model, problem, options)
    labels = labels_of(problem, said.output)
    given = said.log_probabilities.gather(1, torch.tensor(said.output)[:, None])[:, 0].exp().tolist()
    notes = []
    # what the output must begin with is mostly what the model says anyway, up to a token that was put in another's place
    likeliest = sayable(said.log_probabilities).argmax(dim=-1).tolist()
    chosen_by_hand = [number < said.forced and token != likeliest[number] for number, token in enumerate(said.output)]
    for label, probability, by_hand, best in zip(labels, given, chosen_by_hand, labels_of(problem, likeliest), strict=True):
        forced = f'"{label}": made to stand here; it had {100 * probability:.2f} %, the likeliest was "{best}"'
        notes.append(forced if by_hand else f'"{label}": {100 * probability:.2f} % when it was chosen')
    place = place_of(said, options.place)
    return Tokens(
        words=labels,
        values=[None if by_hand else probability for by_hand, probability in zip(chosen_by_hand, given, strict=True)],
        notes=notes,
        text=said.text,
        ended=said.ended,
        place=place,
        alternatives=_alternatives(problem, said, place),
        figure=_figure(problem, said, given),
        caption=caption_of(said, off),
    )


def alternatives(model: Seq2Seq, problem: Problem, options: Source) -> Bars:
    """What else might stand at one place of the output, after the tokens before it."""
    model, off = as_asked(model, options)
    said = say(model, problem, options)
    place = place_of(said, options.place)
    found = _alternatives(problem, said, place)
    after = clean(text_of(problem, said.output[:place]), 40) or "the beginning"
    return Bars(
        labels=found.labels,
        values=found.values,
        high=1.0,
        percent=True,
        chosen=found.chosen,
        sets=found.sets,
        figure=f"place {place}",
        caption=caption_of(said, [f"after {after}", *off]),
    )


def alignment(model: Seq2Seq, problem: Problem, options: Alignment) -> HeatMap:
    """Cross attention: a row for each output token said so far, a column for each of the source."""
    model, off = as_asked(model, options)
    said = say(model, problem, options)
    last = len(model.decoder) - 1
    layer = last if options.aligned_layer < 0 else min(options.aligned_layer, last)
    heads = maps_of(model, said)["cross"][layer][0]  # (H, T, S)
    head = None if options.aligned_head < 0 else min(options.aligned_head, len(heads) - 1)
    weights = heads.mean(dim=0) if head is None else heads[head]
    return _map(
        weights,
        rows=labels_of(problem, said.output),
        columns=said.source_labels,
        titles=("says", "looks at"),
        figure=f"layer {layer} of 0–{last}, " + (f"mean of {len(heads)} heads" if head is None else f"head {head} of 0–{len(heads) - 1}"),
        caption=caption_of(said, off),
    )


def attention(model: Seq2Seq, problem: Problem, options: AttentionMap) -> HeatMap:
    """One head's attention weights."""
    model, off = as_asked(model, options)
    said = say(model, problem, options)
    layer, head = chosen(model, options.attention, options.layer, options.head)
    weights = maps_of(model, said)[options.attention][layer][0, head]  # (T, S)
    read = labels_of(problem, [BOS, *said.output[:-1]])
    rows, columns = {
        "encoder": (said.source_labels, said.source_labels),
        "decoder": (read, read),
        "cross": (labels_of(problem, said.output), said.source_labels),
    }[options.attention]
    last, heads = len(model.encoder) - 1, attention_of(model, options.attention, layer).heads
    return _map(
        weights,
        rows=rows,
        columns=columns,
        titles=("says" if options.attention == "cross" else "looks from", "looks at"),
        figure=f"{options.attention} layer {layer} of 0–{last}, head {head} of 0–{heads - 1}",
        caption=caption_of(said, off),
    )


def norms(model: Seq2Seq) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a pair passes them."""
    return norms_of(model, _part)


def _part(name: str) -> str:
    parts = name.split(".")
    if parts[0] in ("encoder", "decoder"):
        return f"{parts[0]} {parts[1]} {PARTS[parts[2]]}"
    return {"tokens": "embedding and head"}.get(parts[0], parts[0].replace("_", " "))


def _alternatives(problem: Problem, said: Said, place: int) -> Bars:
    probability = said.log_probabilities[place].exp()
    ids = [int(token) for token in probability.argsort(descending=True, stable=True) if token not in (PAD, BOS, UNK)][:ALTERNATIVES]
    before = said.output[:place]
    return Bars(
        labels=labels_of(problem, ids),
        values=probability[ids].tolist(),
        high=1.0,
        percent=True,
        chosen=ids.index(said.output[place]) if said.output[place] in ids else None,
        sets=[text_of(problem, [*before, token]) + (END if token == EOS else "") for token in ids],
    )


def _figure(problem: Problem, said: Said, given: list[float]) -> str:
    if said.right is not None and said.output[-1] == EOS:
        return "right" if is_right(problem, said.output, said.right) else "wrong"
    return f"{100 * math.prod(given):.1f} % for all of it"


def _map(weights: Tensor, *, rows: list[str], columns: list[str], titles: tuple[str, str], figure: str, caption: str) -> HeatMap:
    cut = [f"the first {MAP} tokens are shown"] if max(weights.shape) > MAP else []
    return HeatMap(
        values=Array.of(weights[:MAP, :MAP].float().cpu().numpy()),
        rows=rows[:MAP],
        columns=columns[:MAP],
        row_title=titles[0],
        column_title=titles[1],
        low=0.0,
        high=1.0,
        figure=figure,
        caption=" · ".join([*cut, *([caption] if caption else [])]),
    )
