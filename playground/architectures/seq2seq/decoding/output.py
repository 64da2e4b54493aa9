"""The output to a typed source, decoded greedily: what the panels about a source start from. Heads can be ablated."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.decoding.search import IncrementalDecoder, suppress_special
from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS, Attention, Maps, Seq2Seq
from dlplay.architectures.seq2seq.problems.batches import source_ids
from dlplay.architectures.seq2seq.problems.problem import Problem
from dlplay.architectures.seq2seq.settings import HeadAblation, Source
from dlplay.data.bounded import clean
from dlplay.parts.prompts import unknown_words, what_is_lost

END = "<eos>"
"""How EOS is written in an output."""

LABELS = {PAD: "<pad>", BOS: "<bos>", EOS: END}


@dataclasses.dataclass(frozen=True)
class Output:
    """A source and the output to it."""

    source: list[int]
    """Ids, EOS last."""
    source_labels: list[str]
    ids: list[int]
    """Ids of the output without BOS; EOS last if it ended."""
    log_probs: Tensor
    """Log-probabilities (T, V) from which each output token was chosen, in double precision on the CPU."""
    forced: int
    """How many of the first tokens were given."""
    ended: bool
    """Nothing follows: the output came to its EOS, or there is no room for more."""
    target: str | None
    """The correct output, if it is known."""
    notes: list[str]
    """What the reader should know about how the source was read."""
    remark: str
    """Those of them that say what of it is not read as it was typed."""
    text: str
    """The output as running text."""
    source_text: str

    def position(self, place: int) -> int:
        """The position that the option `place` means: -1 is the last, and so is whatever lies beyond it."""
        return len(self.ids) - 1 if place < 0 else min(place, len(self.ids) - 1)

    def caption(self, *more: str) -> str:
        """`more`, how the source was read, and the target if it is known."""
        target = [f"target {clean(self.target, 60)}"] if self.target is not None else []
        return " · ".join([*more, *self.notes, *target])


def decode_source(model: Seq2Seq, problem: Problem, options: Source) -> Output:
    """The greedy output to the source of the options, after the tokens that it must start with."""
    device = model.tokens.weight.device
    text, target, notes, remark = _source(problem, options)
    source = source_ids(problem, text)
    if len(source) > model.longest:
        notes.append(f"only the first {model.longest - 1} of {len(source) - 1:,} {problem.tokenizer.noun} can be read")
        source = [*source[: model.longest - 1], EOS]
    elif len(source) > problem.source_length:
        notes.append(f"longer than any source it was trained on ({problem.source_length - 1} {problem.tokenizer.noun} at most)")
    limit = max_output(model, problem)
    prefix, unknown = _prefix(problem, options.output)
    notes += [f"the start of the output is read with <unk> for {unknown}"] if unknown else []
    prefix = prefix[:limit]
    decoder = IncrementalDecoder(model, torch.tensor([source], device=device))
    ids: list[int] = []
    steps = []
    while len(ids) < min(limit, options.words) and ids[-1:] != [EOS]:
        log_probs = decoder.log_probs[0]
        steps.append(log_probs)
        token = prefix[len(ids)] if len(ids) < len(prefix) else int(suppress_special(log_probs).argmax())
        ids.append(token)
        if token != EOS and len(ids) < min(limit, options.words):
            decoder.step(torch.tensor([token], device=device))
    return Output(
        source=source,
        source_labels=labels_of(problem, source),
        ids=ids,
        log_probs=torch.stack(steps).double().cpu(),
        forced=min(len(prefix), len(ids)),
        ended=ids[-1] == EOS or len(ids) == limit,
        target=target,
        notes=notes,
        remark=remark,
        text=text_of(problem, ids),
        source_text=text,
    )


def max_output(model: Seq2Seq, problem: Problem) -> int:
    """Output tokens at most: twice what any target needs, so that an output that does not end is seen to go on."""
    return min(model.longest, 2 * problem.target_length)


def labels_of(problem: Problem, ids: list[int]) -> list[str]:
    """The label of each token."""
    return [LABELS[token] if token < SPECIALS else problem.tokenizer.label(token - SPECIALS) for token in ids]


def text_of(problem: Problem, ids: list[int]) -> str:
    """Running text of output ids, without EOS."""
    return problem.tokenizer.decode([token - SPECIALS for token in ids if token >= SPECIALS])


def attention_maps(model: Seq2Seq, output: Output) -> Maps:
    """Every head's attention weights while the output was decoded, (1, H, T, S) for each kind and layer; row t led to output token t."""
    device = model.tokens.weight.device
    maps: Maps = {"encoder": [], "decoder": [], "cross": []}
    model(torch.tensor([output.source], device=device), torch.tensor([[BOS, *output.ids[:-1]]], device=device), maps)
    return maps


def attention_of(model: Seq2Seq, kind: str, layer: int) -> Attention:
    """The attention module of a kind (encoder, decoder, cross) in a layer."""
    stack = model.encoder if kind == "encoder" else model.decoder
    found = stack[layer].cross if kind == "cross" else stack[layer].attention
    assert isinstance(found, Attention)
    return found


def attention_address(kind: str, layer: int) -> str:
    """Where it is in the model, as interventions name its heads."""
    return {"encoder": f"encoder.{layer}", "decoder": f"decoder.{layer}.attention", "cross": f"decoder.{layer}.cross"}[kind]


def layer_and_head(model: Seq2Seq, kind: str, layer: int, head: int) -> tuple[int, int]:
    """Layer and head of the options: beyond the last one the last."""
    layer = min(layer, len(model.encoder) - 1)
    return layer, min(head, attention_of(model, kind, layer).heads - 1)


def ablate_head(model: Seq2Seq, kind: str, layer: int, head: int) -> Seq2Seq:
    """A copy of the model in which one head adds nothing: the columns of the output projection that read it are zero."""
    changed = copy.deepcopy(model)
    attention = attention_of(changed, kind, layer)
    columns = attention.projection.in_features // attention.heads
    with torch.no_grad():
        attention.projection.weight[:, head * columns : (head + 1) * columns] = 0
    return changed


def ablated(model: Seq2Seq, options: HeadAblation) -> tuple[Seq2Seq, list[str]]:
    """The model without the head that the options ablate, and that in words."""
    if options.ablate == "none":
        return model, []
    layer, head = layer_and_head(model, options.ablate, options.layer, options.head)
    name = {"encoder": "encoder", "decoder": "decoder self-attention", "cross": "cross-attention"}[options.ablate]
    return ablate_head(model, options.ablate, layer, head), [f"{name} head {head} of layer {layer} is ablated"]


def _source(problem: Problem, options: Source) -> tuple[str, str | None, list[str], str]:
    """The source's text, its target, notes, and what of it is not read as it was typed."""
    text = problem.tidy(options.source)
    if text:
        lost = what_is_lost(problem.tokenizer, text, *problem.tokenizer.read(text))
        return text, problem.target(text), lost, " · ".join(lost)
    if not problem.held_out:
        return "", None, ["an empty source, because there are no held-out pairs"], ""
    index = min(options.example, len(problem.held_out) - 1)
    pair = problem.held_out[index]
    return pair.source, pair.target, [f"held-out pair {index}: {clean(pair.source, 60)}"], ""


def _prefix(problem: Problem, text: str) -> tuple[list[int], str]:
    """Ids that the output must start with, and what in them is unknown."""
    ends = text.rstrip().endswith(END)
    text = text.rstrip().removesuffix(END) if ends else text  # with characters as tokens, spaces are tokens too
    ids, words = problem.tokenizer.read(text)
    prefix = [SPECIALS + token for token in ids]
    return [*prefix, EOS] if ends else prefix, unknown_words(problem.tokenizer, ids, words)
