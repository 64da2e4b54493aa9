"""Questions that are answered by decoding: what a beam finds, how held-out pairs come out, and what each head is worth."""

from __future__ import annotations

import math

import torch

from dlplay.architectures.seq2seq.batches import batch_of
from dlplay.architectures.seq2seq.decoding import beam_search, greedy
from dlplay.architectures.seq2seq.model import EOS, PAD, Seq2Seq
from dlplay.architectures.seq2seq.options import Beam, HeadsOff, HeldOut
from dlplay.architectures.seq2seq.problem import Problem
from dlplay.architectures.seq2seq.reading import as_asked, attention_of, caption_of, is_right, limit_of, say, text_of, without_head
from dlplay.data.bounded import clean
from dlplay.engine.panels import Array, HeatMap, Table


def beam_candidates(model: Seq2Seq, problem: Problem, options: Beam) -> Table:
    """The outputs that a beam search ends with."""
    model, off = as_asked(model, options)
    said = say(model, problem, options)
    source = torch.tensor([said.source], device=model.tokens.weight.device)
    limit = min(limit_of(model, problem), options.words)
    [found] = beam_search(model, source, options.beams, limit, options.alpha, tuple(said.output[: said.forced]))
    short = "so far" if limit < limit_of(model, problem) else "cut off"  # while the tokens come one by one, or for good
    rows, shades = [], []
    for one in found:
        probability = math.exp(one.log_probability)
        right = said.right is not None and is_right(problem, one.ids, said.right)
        known = {short: not one.ended, "greedy": one.ids == said.output, "right": right}
        remarks = [word for word, holds in known.items() if holds]
        text = clean(text_of(problem, one.ids), 60)
        rows.append(
            [
                text,
                f"{100 * probability:.2f} %",
                f"{one.score:.3f}",
                ", ".join(remarks),
            ]
        )
        shades.append([probability, probability, 0.0, 0.0])
    total = sum(math.exp(one.log_probability) for one in found)
    return Table(
        columns=["output", "p", "score", ""],
        rows=rows,
        right=[1, 2],
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
    intact = exact_match(model, problem, len(pairs))
    values = [
        [exact_match(without_head(model, kind, layer, head), problem, len(pairs)) for head in range(heads)]
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


def exact_match(model: Seq2Seq, problem: Problem, count: int) -> float:
    """On the first `count` held-out pairs."""
    batch = batch_of(problem, problem.held_out[:count], model.tokens.weight.device)
    said = greedy(model, batch.source, batch.target.shape[1] + 1).tolist()
    return sum(_bare(ids) == _bare(wanted) for ids, wanted in zip(said, batch.target.tolist(), strict=True)) / count


def _bare(ids: list[int]) -> list[int]:
    return [token for token in ids if token != PAD]
