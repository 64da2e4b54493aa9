"""Questions about a sequence-to-sequence Transformer, each a pure function of the model, its problem and the options."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from playground.architectures.seq2seq.batches import batch_of
from playground.architectures.seq2seq.decoding import beam_search, greedy
from playground.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS, UNK, Seq2Seq
from playground.architectures.seq2seq.options import Alignment, AttentionMap, Beam, HeadsOff, HeldOut, Source
from playground.architectures.seq2seq.problem import Problem
from playground.architectures.seq2seq.reading import (
    END,
    Said,
    as_asked,
    attention_of,
    chosen,
    labels_of,
    limit_of,
    maps_of,
    say,
    text_of,
    without_head,
)
from playground.data.bounded import clean
from playground.engine.panels import Array, Bars, HeatMap, Table, Tokens

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
    for number, (label, probability) in enumerate(zip(labels, given, strict=True)):
        best = labels_of(problem, [int(said.log_probabilities[number].argmax())])[0]
        forced = f"{label}: made to stand here; it had {100 * probability:.2f} %, likeliest was {best}"
        notes.append(forced if number < said.forced else f"{label}: {100 * probability:.2f} % when it was chosen")
    place = place_of(said, options.place)
    return Tokens(
        words=labels,
        values=[None if number < said.forced else probability for number, probability in enumerate(given)],
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


def beam_candidates(model: Seq2Seq, problem: Problem, options: Beam) -> Table:
    """The outputs that a beam search ends with."""
    model, off = as_asked(model, options)
    said = say(model, problem, options)
    source = torch.tensor([said.source], device=model.tokens.weight.device)
    limit = min(limit_of(model, problem), options.words)
    [found] = beam_search(model, source, options.beams, limit, options.alpha, tuple(said.output[: said.forced]))
    rows, shades = [], []
    for number, one in enumerate(found, 1):
        probability = math.exp(one.log_probability)
        right = said.right is not None and _is_right(problem, one.ids, said.right)
        remarks = [*(["greedy"] if one.ids == said.output else []), *(["right"] if right else [])]
        text = clean(text_of(problem, one.ids), 60)
        rows.append(
            [
                f"{number}",
                text,
                "ended" if one.ended else "cut off",
                f"{one.log_probability:.3f}",
                f"{one.score:.3f}",
                f"{100 * probability:.2f} %",
                ", ".join(remarks),
            ]
        )
        shades.append([0.0, probability, 0.0, 0.0, 0.0, probability, 0.0])
    total = sum(math.exp(one.log_probability) for one in found)
    return Table(
        columns=["", "output", "", "log-probability", "score", "probability", ""],
        rows=rows,
        right=[0, 3, 4, 5],
        shades=Array.of(torch.tensor(shades).numpy()),
        figure=f"{100 * total:.1f} % in {len(found)} outputs",
        caption=caption_of(said, off),
    )


def heads_off(model: Seq2Seq, problem: Problem, options: HeadsOff) -> HeatMap:
    """Exact match on a fixed sample of held-out pairs, with each head switched off in turn."""
    kinds = ("encoder", "decoder", "cross")
    rows = [f"{kind} {layer}" for kind in kinds for layer in range(len(model.encoder))]
    heads = attention_of(model, "encoder", 0).heads
    columns = [f"head {head}" for head in range(heads)]
    pairs = problem.held_out[: options.tested]
    if not pairs:
        return HeatMap(values=Array.of(torch.zeros(0, 0).numpy()), caption="there are no held-out pairs to try it on")
    intact = _exact(model, problem, len(pairs))
    values = [
        [_exact(without_head(model, kind, layer, head), problem, len(pairs)) for head in range(heads)]
        for kind in kinds
        for layer in range(len(model.encoder))
    ]
    worst = min((value, rows[row], column) for row, line in enumerate(values) for column, value in enumerate(line))
    return HeatMap(
        values=Array.of(torch.tensor(values).numpy()),
        rows=rows,
        columns=columns,
        row_title="where",
        column_title="switched off",
        low=0.0,
        high=1.0,
        counts=True,
        figure=f"{100 * intact:.0f} % with all",
        caption=f"exact match on {len(pairs)} held-out pairs · the most is lost without {worst[1]} {worst[2]}: {100 * worst[0]:.0f} %",
    )


def held_out(model: Seq2Seq, problem: Problem, options: HeldOut) -> Table:
    """Held-out pairs, those that went wrong first."""
    model, off = as_asked(model, options)
    pairs = problem.held_out[: options.pairs]
    columns = ["source", "said", "right answer", ""]
    if not pairs:
        return Table(columns=columns, rows=[], caption=problem.missing)
    batch = batch_of(problem, pairs, model.tokens.weight.device)
    said = greedy(model, batch.source, limit_of(model, problem)).tolist()
    rows = []
    for pair, ids, wanted in zip(pairs, said, batch.target.tolist(), strict=True):
        verdict = "right" if _bare(ids) == _bare(wanted) else "wrong"
        text = text_of(problem, ids) + ("" if EOS in ids else " …")
        rows.append([clean(pair.source), clean(text), clean(pair.target), verdict])
    rows.sort(key=lambda row: row[3] == "right")
    right = sum(row[3] == "right" for row in rows)
    shades = torch.tensor([[0.0, 0.0 if row[3] == "right" else 0.6, 0.0, 0.0] for row in rows])
    return Table(
        columns=columns,
        rows=rows,
        shades=Array.of(shades.numpy()),
        figure=f"{right:,} of {len(rows):,} right",
        caption=" · ".join(off),
    )


def norms(model: Seq2Seq) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a pair passes them."""
    groups: dict[str, list[Tensor]] = {}
    gradients: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        if parts[0] in ("encoder", "decoder"):
            label = f"{parts[0]} {parts[1]} {PARTS[parts[2]]}"
        else:
            label = {"tokens": "embedding and head"}.get(parts[0], parts[0].replace("_", " "))
        groups.setdefault(label, []).append(parameter)
        if parameter.grad is not None:
            gradients.setdefault(label, []).append(parameter.grad)
    labels = list(groups)
    stepped = bool(gradients)
    return Bars(
        labels=labels,
        values=_norms(gradients, labels) if stepped else _norms(groups, labels),
        second=_norms(groups, labels) if stepped else [],
        names=["gradient", "weights"] if stepped else ["weights"],
        log=True,
        caption="" if stepped else "weights alone: there is no gradient before the first step of this process",
    )


def place_of(said: Said, place: int) -> int:
    """The place in the output that an option means: -1 is the last, and so is what lies beyond it."""
    return len(said.output) - 1 if place < 0 else min(place, len(said.output) - 1)


def caption_of(said: Said, more: list[str]) -> str:
    """What was switched off, how the source was read, and the right answer where it is known."""
    answer = [f"right answer {clean(said.right, 60)}"] if said.right is not None else []
    return " · ".join([*more, *said.notes, *answer])


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
        return "right" if _is_right(problem, said.output, said.right) else "wrong"
    return f"{100 * math.prod(given):.1f} % for all of it"


def _is_right(problem: Problem, ids: list[int], right: str) -> bool:
    return ids == [*(SPECIALS + token for token in problem.tokenizer.encode(right)), EOS]


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


def _exact(model: Seq2Seq, problem: Problem, count: int) -> float:
    batch = batch_of(problem, problem.held_out[:count], model.tokens.weight.device)
    said = greedy(model, batch.source, batch.target.shape[1] + 1).tolist()
    return sum(_bare(ids) == _bare(wanted) for ids, wanted in zip(said, batch.target.tolist(), strict=True)) / count


def _bare(ids: list[int]) -> list[int]:
    return [token for token in ids if token != PAD]


def _norms(groups: dict[str, list[Tensor]], labels: list[str]) -> list[float]:
    found: list[float] = torch.stack([torch.nn.utils.get_total_norm(groups[label]) for label in labels]).tolist()
    return found
