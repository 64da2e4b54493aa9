"""What can be seen of a sequence-to-sequence Transformer: each panel is a pure function of the model, its problem and the options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.seq2seq.decoding.output import (
    END,
    Output,
    ablate_head,
    ablated,
    attention_address,
    attention_maps,
    attention_of,
    decode_source,
    labels_of,
    layer_and_head,
    max_output,
    text_of,
)
from dlplay.architectures.seq2seq.decoding.pair import patched_pair
from dlplay.architectures.seq2seq.decoding.parts_of_logit import of_token, parts_of_logits
from dlplay.architectures.seq2seq.decoding.search import beam_search, greedy, suppress_special
from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS, UNK, Maps, Seq2Seq
from dlplay.architectures.seq2seq.problems.batches import make_batch, target_ids, unpadded
from dlplay.architectures.seq2seq.problems.problem import Problem
from dlplay.architectures.seq2seq.settings import Alignment, AllHeads, AttentionMap, AttributedToken, Beam, HeldOut, PatchedSource, Source
from dlplay.data.bounded import clean
from dlplay.engine.dataset import Missing
from dlplay.engine.panels import Array, Bars, HeatMap, Layer, Layers, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.units import numbered
from dlplay.parts import attribution, forward, head_table, norms, patching, prompts
from dlplay.parts.head_table import Costs
from dlplay.parts.heads import attention_map, which
from dlplay.parts.held_out import WINDOWS
from dlplay.parts.patching import Axis

CANDIDATES = 10
"""Candidates that are listed for a position."""

MAP = 128
"""Tokens on a side of an attention map, at most."""

PARTS = {
    "attention": "self-attention",
    "around_attention": "norms",
    "cross": "cross-attention",
    "around_cross": "norms",
    "feed_forward": "feed-forward",
    "around_feed_forward": "norms",
}
"""Parts of a layer by the name of their module."""


class Seq2SeqPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, model: Seq2Seq, problem: Problem, optimizer: torch.optim.Optimizer, ablation_costs: Callable[[], Costs]) -> None:
        self.model, self.problem, self.optimizer, self.ablation_costs = model, problem, optimizer, ablation_costs

    def translation(self, options: Source) -> Tokens:
        """The output token by token, each with its probability, and the candidates at one position."""
        _, output = self._decode(options)
        labels = labels_of(self.problem, output.ids)
        probs = output.log_probs.gather(1, torch.tensor(output.ids)[:, None])[:, 0].exp().tolist()
        # most forced tokens are those that the model would choose anyway: only the others were chosen by a person
        best = suppress_special(output.log_probs).argmax(dim=-1).tolist()
        by_hand = [index < output.forced and token != best[index] for index, token in enumerate(output.ids)]
        notes = []
        for label, p, chosen, other in zip(labels, probs, by_hand, labels_of(self.problem, best), strict=True):
            forced = f'forced; it had {100 * p:.2f} %, most likely was "{other}"'
            notes.append(f'"{label}": {forced if chosen else f"{100 * p:.2f} %"}')
        position = output.position(options.place)
        return Tokens(
            words=labels,
            values=[None if chosen else p for chosen, p in zip(by_hand, probs, strict=True)],
            notes=notes,
            text=output.text,
            ended=output.ended,
            place=position,
            alternatives=self._candidates(output, position),
            figure=self._verdict(output, math.prod(probs)),
            remark=output.remark,
            caption=" · ".join(filter(None, [self.problem.goal and f"task: {self.problem.goal}", output.caption()])),
        )

    def forward(self, options: Source) -> Layers:
        """The source, the encoder's last states, where the decoder looks for one output token, and the candidates for it."""
        model, output = self._decode(options)
        position = output.position(options.place)
        device = model.tokens.weight.device
        memory, _ = model.encode(torch.tensor([output.source], device=device))  # (1, S, C)
        cross = attention_maps(model, output)["cross"][-1][0, :, position].mean(0)  # (S,)
        candidates = self._candidates(output, position)
        return Layers(
            layers=[
                forward.words("source", output.source_labels),
                Layer(title="encoder", images=Array.of(memory.float().cpu()), signed=True),
                Layer(
                    title="cross-attention",
                    labels=output.source_labels,
                    values=cross.tolist(),
                    percent=True,
                    chosen=int(cross.argmax()),
                ),
                forward.words("output", labels_of(self.problem, output.ids[:position]) or ["(start)"]),
                Layer(
                    title="next token",
                    labels=candidates.labels,
                    values=candidates.values,
                    percent=True,
                    chosen=candidates.chosen,
                ),
            ],
            caption=output.caption(),
        )

    def alternatives(self, options: Source) -> Bars:
        """The most likely tokens at one position of the output, after the tokens before it."""
        _, output = self._decode(options)
        position = output.position(options.place)
        after = clean(text_of(self.problem, output.ids[:position]), 40) or "the start"
        candidates = self._candidates(output, position)
        return msgspec.structs.replace(candidates, figure=f"position {position}", caption=output.caption(f"after {after}"))

    def alignment(self, options: Alignment) -> HeatMap:
        """Cross-attention: a row for each output token, a column for each source token."""
        model, output = self._decode(options)
        last = len(model.decoder) - 1
        layer = last if options.aligned_layer < 0 else min(options.aligned_layer, last)
        heads = attention_maps(model, output)["cross"][layer][0]  # (H, T, S)
        head = None if options.aligned_head < 0 else min(options.aligned_head, len(heads) - 1)
        shown = f"mean of {len(heads)} heads" if head is None else numbered("head", head, len(heads))
        return _map(
            heads.mean(dim=0) if head is None else heads[head],
            rows=labels_of(self.problem, output.ids),
            columns=output.source_labels,
            titles=("output", "source"),
            figure=f"{numbered('layer', layer, last + 1)}, {shown}",
            part=f"decoder.{layer}.cross" if head is None else f"decoder.{layer}.cross.head.{head}",
            caption=output.caption(),
        )

    def attention(self, options: AttentionMap) -> HeatMap:
        """One head's attention weights: row t is the query at token t."""
        model, output = self._decode(options)
        layer, head = layer_and_head(model, options.attention, options.layer, options.head)
        read = labels_of(self.problem, [BOS, *output.ids[:-1]])
        rows, columns = {
            "encoder": (output.source_labels, output.source_labels),
            "decoder": (read, read),
            "cross": (labels_of(self.problem, output.ids), output.source_labels),
        }[options.attention]
        last, heads = len(model.encoder) - 1, attention_of(model, options.attention, layer).heads
        return _map(
            attention_maps(model, output)[options.attention][layer][0, head],  # (T, S)
            rows=rows,
            columns=columns,
            titles=("query", "key"),
            figure=f"{options.attention} {which(layer, last + 1, head, heads)}",
            part=f"{attention_address(options.attention, layer)}.head.{head}",
            caption=output.caption(),
        )

    def beam_candidates(self, options: Beam) -> Table:
        """The hypotheses of a beam search."""
        model, output = self._decode(options)
        source = torch.tensor([output.source], device=model.tokens.weight.device)
        most = max_output(model, self.problem)
        limit = min(most, options.words)
        [found] = beam_search(model, source, options.beams, limit, options.alpha, tuple(output.ids[: output.forced]))
        unfinished = "so far" if limit < most else "cut off"  # while the tokens come one by one, or for good
        rows, shades = [], []
        for one in found:
            probability = math.exp(one.log_prob)
            remarks = {unfinished: not one.ended, "greedy": one.ids == output.ids, "correct": self._is_correct(one.ids, output.target)}
            text = clean(text_of(self.problem, one.ids), 60)
            rows.append(
                [text, f"{100 * probability:.2f} %", f"{one.score:.3f}", ", ".join(word for word, holds in remarks.items() if holds)]
            )
            shades.append([probability, probability, 0.0, 0.0])
        total = sum(math.exp(one.log_prob) for one in found)
        return Table(
            columns=["output", "p", "score", ""],
            rows=rows,
            right=[1, 2],
            shades=Array.of(torch.tensor(shades).numpy()),
            figure=f"top {len(found)} cover {100 * total:.1f} %",
            caption=output.caption(),
        )

    def heads(self, options: Options) -> Table:
        """All heads, with what they attend to in held-out pairs while the target is written."""
        costs = self.ablation_costs()
        batch = make_batch(self.problem, self.problem.held_out[:WINDOWS], self.model.tokens.weight.device)
        maps: Maps = {"encoder": [], "decoder": [], "cross": []}
        self.model(batch.source, batch.output, maps)
        encoder = {f"encoder.{layer}": weights for layer, weights in enumerate(maps["encoder"])}
        decoder = {f"decoder.{layer}.attention": weights for layer, weights in enumerate(maps["decoder"])}
        cross = {f"decoder.{layer}.cross": weights for layer, weights in enumerate(maps["cross"])}
        readings = [
            head_table.of_encoder(encoder, batch.source, batch.source != PAD, "encoder"),
            head_table.of_decoder(decoder, batch.output, batch.target != PAD, "decoder"),
            head_table.of_cross(cross, batch.target, batch.source, batch.target != PAD, batch.source != PAD, "cross"),
        ]
        return head_table.table(costs, readings)

    def attribution(self, options: AttributedToken) -> Table:
        """What each part of the decoder adds to the logit of one output token."""
        model, output = self._decode(options)
        place, device = output.position(options.place), model.tokens.weight.device
        written = [BOS, *output.ids[:place]]
        parts, logits = parts_of_logits(model, torch.tensor([output.source], device=device), torch.tensor([written], device=device))
        token, unread = self._answer(suppress_special(logits), options.answer)
        return attribution.table(
            of_token(parts, logits, token),
            word=self._label(token),
            logits=logits,
            answer=token,
            caption=" · ".join(filter(None, [f"output token {place}", *output.notes])),
            remark=" · ".join(filter(None, [output.remark, unread])),
        )

    def _answer(self, logits: Tensor, text: str) -> tuple[int, str]:
        """The token that `text` names, of the `logits` (V,) or, without one, the most likely; and what of it is not read as typed."""
        if text.strip() == self._label(EOS):
            return EOS, ""
        found, unread = prompts.answer_token(logits[SPECIALS:], self.problem.tokenizer, text)
        return (SPECIALS + found if text.strip() else int(logits.argmax())), unread

    def patching(self, options: PatchedSource) -> HeatMap:
        """How much of one output token comes back when a corrupted source gets the clean one's activations, layer by position. The decoder
        reads the output to the clean source."""
        model, output = self._decode(options)
        pair = patched_pair(model, self.problem, output, options)
        device, place = model.tokens.weight.device, pair.place
        source, corrupt, written = (torch.tensor([ids], device=device) for ids in (output.source, pair.corrupt, pair.written))

        def read(rows: Tensor) -> Tensor:
            return suppress_special(model(rows, written.expand(len(rows), -1))[:, -1])  # (B, V)

        logits, layers = read(source)[0], range(len(model.encoder))
        answer, unread = self._answer(logits, options.answer)
        return patching.patch_map(
            {"seq2seq": model},
            [
                Axis(patching.differing(pair.corrupt, output.source, self._label), [f"encoder.{layer}" for layer in layers]),
                Axis([self._label(token) for token in pair.written], [f"decoder.{layer}" for layer in layers]),
            ],
            options.site,
            clean=lambda: read(source),
            corrupted=lambda rows: read(corrupt.expand(rows, -1)),
            answer=answer,
            label=self._label,
            notes=[f"output token {place}", *pair.notes, output.caption()],
            remark=" · ".join(filter(None, [output.remark, unread])),
        )

    def _label(self, token: int) -> str:
        return labels_of(self.problem, [token])[0]

    def heads_off(self, options: AllHeads) -> HeatMap:
        """Exact match on a fixed sample of held-out pairs, with each head ablated in turn."""
        kinds, layers = ("encoder", "decoder", "cross"), len(self.model.encoder)
        rows = [f"{kind} {layer}" for kind in kinds for layer in range(layers)]
        heads = attention_of(self.model, "encoder", 0).heads
        columns = [f"head {head}" for head in range(heads)]
        count = len(self.problem.held_out[: options.tested])
        if not count:
            return HeatMap(values=Array.of(torch.zeros(0, 0).numpy()), caption="there are no held-out pairs to decode")
        intact = exact_match(self.model, self.problem, count)
        values = [
            [exact_match(ablate_head(self.model, kind, layer, head), self.problem, count) for head in range(heads)]
            for kind in kinds
            for layer in range(layers)
        ]
        worst = min((value, rows[row], column) for row, line in enumerate(values) for column, value in enumerate(line))
        return HeatMap(
            values=Array.of(torch.tensor(values).numpy()),
            rows=rows,
            columns=columns,
            row_title="layer",
            column_title="ablated head",
            parts=[attention_address(kind, layer) for kind in kinds for layer in range(layers)],
            column_parts=[f".head.{head}" for head in range(heads)],
            low=0.0,
            high=1.0,
            counts=True,
            percent=True,
            figure=f"{100 * intact:.0f} % with all",
            caption=f"exact match on {count} held-out pairs · lowest without {worst[1]} head {worst[2]}: {100 * worst[0]:.0f} %",
        )

    def held_out(self, options: HeldOut) -> Table:
        """Held-out pairs with their outputs, the wrong ones first."""
        model, notes = ablated(self.model, options)
        columns = ["source", "output", "target", ""]
        if isinstance(self.problem.dataset, Missing):
            return Table(columns=columns, rows=[], caption=self.problem.dataset.why)
        pairs = self.problem.held_out[: options.pairs]
        batch = make_batch(self.problem, pairs, model.tokens.weight.device)
        outputs = greedy(model, batch.source, max_output(model, self.problem)).tolist()
        rows = []
        for pair, ids, target in zip(pairs, outputs, batch.target.tolist(), strict=True):
            text = text_of(self.problem, ids) + ("" if EOS in ids else " …")
            verdict = "correct" if unpadded(ids) == unpadded(target) else "wrong"
            rows.append([clean(pair.source), clean(text), clean(pair.target), verdict])
        rows.sort(key=lambda row: row[3] == "correct")
        correct = sum(row[3] == "correct" for row in rows)
        shades = torch.tensor([[0.0, 0.0 if row[3] == "correct" else 0.6, 0.0, 0.0] for row in rows])
        return Table(
            columns=columns,
            rows=rows,
            shades=Array.of(shades.numpy()),
            figure=f"{correct:,} of {len(rows):,} correct",
            caption=" · ".join(notes),
        )

    def norms(self, options: Options) -> Bars:
        return norms.norms(self.model, _part, self.optimizer)

    def _decode(self, options: Source) -> tuple[Seq2Seq, Output]:
        """The model, without the head that the options ablate, and its output to their source."""
        model, notes = ablated(self.model, options)
        output = decode_source(model, self.problem, options)
        return model, dataclasses.replace(output, notes=[*notes, *output.notes])

    def _candidates(self, output: Output, position: int) -> Bars:
        """The most likely tokens at `position`, each with the output that picking it starts."""
        probs = output.log_probs[position].exp()
        ids = [int(token) for token in probs.argsort(descending=True, stable=True) if token not in (PAD, BOS, UNK)][:CANDIDATES]
        before = output.ids[:position]
        return Bars(
            labels=labels_of(self.problem, ids),
            values=probs[ids].tolist(),
            high=1.0,
            percent=True,
            chosen=ids.index(output.ids[position]) if output.ids[position] in ids else None,
            sets=[text_of(self.problem, [*before, token]) + (END if token == EOS else "") for token in ids],
        )

    def _verdict(self, output: Output, probability: float) -> str:
        if output.target is not None and output.ids[-1] == EOS:
            return "correct" if self._is_correct(output.ids, output.target) else "wrong"
        return f"{100 * probability:.1f} % for the whole output"

    def _is_correct(self, ids: list[int], target: str | None) -> bool:
        return target is not None and ids == target_ids(self.problem, target)


def exact_match(model: Seq2Seq, problem: Problem, count: int) -> float:
    """Share of the first `count` held-out pairs whose greedy output is the target."""
    batch = make_batch(problem, problem.held_out[:count], model.tokens.weight.device)
    outputs = greedy(model, batch.source, batch.target.shape[1] + 1).tolist()
    return sum(unpadded(ids) == unpadded(target) for ids, target in zip(outputs, batch.target.tolist(), strict=True)) / count


def _map(weights: Tensor, *, rows: list[str], columns: list[str], titles: tuple[str, str], figure: str, caption: str, part: str) -> HeatMap:
    cut = [f"the first {MAP} tokens are shown"] if max(weights.shape) > MAP else []
    return attention_map(
        weights[:MAP, :MAP],
        rows[:MAP],
        columns[:MAP],
        figure=figure,
        caption=" · ".join([*cut, *([caption] if caption else [])]),
        titles=titles,
        part=part,
    )


def _part(name: str) -> str:
    parts = name.split(".")
    if parts[0] in ("encoder", "decoder"):
        return f"{parts[0]} {parts[1]} {PARTS[parts[2]]}"
    return {"tokens": "embedding and head"}.get(parts[0], parts[0].replace("_", " "))
