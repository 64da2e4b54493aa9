"""A source as the model reads it, and what the model says to it: what every question about a source begins with."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor

from dlplay.architectures.seq2seq.batches import source_ids
from dlplay.architectures.seq2seq.decoding import Speaker, sayable
from dlplay.architectures.seq2seq.model import BOS, EOS, PAD, SPECIALS, Attention, Maps, Seq2Seq
from dlplay.architectures.seq2seq.options import Silence, Source
from dlplay.architectures.seq2seq.problem import Problem
from dlplay.data.bounded import clean
from dlplay.parts.prompts import unknown_words

END = "<eos>"
"""How the end is written in an output."""

LABELS = {PAD: "<pad>", BOS: "<bos>", EOS: END}


@dataclasses.dataclass(frozen=True)
class Said:
    """A source and the output to it."""

    source: list[int]
    """Ids, EOS last."""
    source_labels: list[str]
    output: list[int]
    """Ids without BOS; EOS last where it ended."""
    log_probabilities: Tensor  # (T, V), before each output token, the last one's successor left out
    forced: int
    """How many of them were made to stand there."""
    ended: bool
    """Nothing follows: the end was said, or there is no room for more."""
    right: str | None
    """The right answer, where it is known."""
    notes: list[str]
    """What must be known of how it was read."""
    text: str
    """The output as running text."""
    source_text: str


def labels_of(problem: Problem, ids: list[int]) -> list[str]:
    """Each token as it is shown alone."""
    return [LABELS[token] if token < SPECIALS else problem.tokenizer.label(token - SPECIALS) for token in ids]


def text_of(problem: Problem, ids: list[int]) -> str:
    """Running text of output ids; the end is left out."""
    return problem.tokenizer.decode([token - SPECIALS for token in ids if token >= SPECIALS])


def attention_of(model: Seq2Seq, kind: str, layer: int) -> Attention:
    """The attention of a kind (encoder, decoder, cross) in a layer."""
    stack = model.encoder if kind == "encoder" else model.decoder
    found = stack[layer].cross if kind == "cross" else stack[layer].attention
    assert isinstance(found, Attention)
    return found


def without_head(model: Seq2Seq, kind: str, layer: int, head: int) -> Seq2Seq:
    """A copy of the model in which one head adds nothing: the part of the projection that reads it is zero."""
    changed = copy.deepcopy(model)
    attention = attention_of(changed, kind, layer)
    columns = attention.projection.in_features // attention.heads
    with torch.no_grad():
        attention.projection.weight[:, head * columns : (head + 1) * columns] = 0
    return changed


def as_asked(model: Seq2Seq, options: Silence) -> tuple[Seq2Seq, list[str]]:
    """The model with the head switched off that the options name, and that in words."""
    if options.silence == "none":
        return model, []
    layer, head = chosen(model, options.silence, options.layer, options.head)
    name = {"encoder": "encoder", "decoder": "decoder self-attention", "cross": "cross-attention"}[options.silence]
    return without_head(model, options.silence, layer, head), [f"{name} head {head} of layer {layer} is off"]


def chosen(model: Seq2Seq, kind: str, layer: int, head: int) -> tuple[int, int]:
    """Layer and head that are meant: beyond the last one the last."""
    layer = min(layer, len(model.encoder) - 1)
    return layer, min(head, attention_of(model, kind, layer).heads - 1)


def limit_of(model: Seq2Seq, problem: Problem) -> int:
    """Output tokens that are said at the most: twice what any target needs, so that one who does not end is seen to go on."""
    return min(model.longest, 2 * problem.target_length)


def say(model: Seq2Seq, problem: Problem, options: Source) -> Said:
    """Read the source and say an output to it, the likeliest token each time after those that it must begin with."""
    device = model.tokens.weight.device
    text, right, notes = _source(problem, options)
    source = source_ids(problem, text)
    if len(source) > model.longest:
        notes.append(f"only the first {model.longest - 1} of {len(source) - 1:,} {problem.tokenizer.noun} can be read")
        source = [*source[: model.longest - 1], EOS]
    elif len(source) > problem.source_length:
        notes.append(f"longer than any source it was trained on ({problem.source_length - 1} {problem.tokenizer.noun} at most)")
    limit = limit_of(model, problem)
    begin, unknown = _forced(problem, options.output)
    notes += [f"the output's beginning is read with <unk> for {unknown}"] if unknown else []
    begin = begin[:limit]
    speaker = Speaker(model, torch.tensor([source], device=device))
    output: list[int] = []
    steps = []
    while len(output) < min(limit, options.words) and output[-1:] != [EOS]:
        log_probability = speaker.log_probability[0]
        steps.append(log_probability)
        token = begin[len(output)] if len(output) < len(begin) else int(sayable(log_probability).argmax())
        output.append(token)
        if token != EOS and len(output) < min(limit, options.words):
            speaker.say(torch.tensor([token], device=device))
    return Said(
        source=source,
        source_labels=labels_of(problem, source),
        output=output,
        log_probabilities=torch.stack(steps).double().cpu(),
        forced=min(len(begin), len(output)),
        ended=output[-1] == EOS or len(output) == limit,
        right=right,
        notes=notes,
        text=text_of(problem, output),
        source_text=text,
    )


def maps_of(model: Seq2Seq, said: Said) -> Maps:
    """Every head's weights while the output was said, (1, H, T, S) for each kind and layer; row t is the look that led to token t."""
    device = model.tokens.weight.device
    maps: Maps = {"encoder": [], "decoder": [], "cross": []}
    model(torch.tensor([said.source], device=device), torch.tensor([[BOS, *said.output[:-1]]], device=device), maps)
    return maps


def place_of(said: Said, place: int) -> int:
    """The place in the output that an option means: -1 is the last, and so is what lies beyond it."""
    return len(said.output) - 1 if place < 0 else min(place, len(said.output) - 1)


def caption_of(said: Said, more: list[str]) -> str:
    """What was switched off, how the source was read, and the right answer where it is known."""
    answer = [f"right answer {clean(said.right, 60)}"] if said.right is not None else []
    return " · ".join([*more, *said.notes, *answer])


def is_right(problem: Problem, ids: list[int], right: str) -> bool:
    """Whether output `ids`, their end included, are the right answer."""
    return ids == [*(SPECIALS + token for token in problem.tokenizer.encode(right)), EOS]


def _source(problem: Problem, options: Source) -> tuple[str, str | None, list[str]]:
    """The source's text, its right answer and notes."""
    text = problem.tidy(options.source)
    if text:
        unknown = unknown_words(problem.tokenizer, *problem.tokenizer.read(text))
        return text, problem.answer(text), [f"not in the vocabulary, read as <unk>: {unknown}"] if unknown else []
    if not problem.held_out:
        return "", None, ["an empty source, since there are no held-out pairs to show"]
    place = min(options.example, len(problem.held_out) - 1)
    pair = problem.held_out[place]
    return pair.source, pair.target, [f"held-out pair {place}: {clean(pair.source, 60)}"]


def _forced(problem: Problem, text: str) -> tuple[list[int], str]:
    """Ids of what the output must begin with, and what in it is unknown."""
    ends = text.rstrip().endswith(END)
    text = text.rstrip().removesuffix(END) if ends else text  # blanks are tokens where characters are
    ids, words = problem.tokenizer.read(text)
    begin = [SPECIALS + token for token in ids]
    return [*begin, EOS] if ends else begin, unknown_words(problem.tokenizer, ids, words)
