"""Questions about a Transformer-XL, each a pure function of the model, its problem and the options."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import Block, Memory, TransformerXL
from dlplay.architectures.transformer_xl.options import Attention, Before, Continued, Head, MemoryUsed, NextToken, Similar, TokenRead
from dlplay.architectures.transformer_xl.problem import Problem, memory_lengths, segments
from dlplay.architectures.transformer_xl.reading import Reader, Reading, read
from dlplay.engine.panels import Array, Bars, HeatMap, Lines, Tokens
from dlplay.parts import prompts
from dlplay.parts.norms import norms as norms_of
from dlplay.parts.sampling import candidates, distribution

Asked = TypeVar("Asked", bound=Before)

PARTS = {
    "tokens": "token embedding",
    "norm": "final norm",
    "norm_1": "norms",
    "norm_2": "norms",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
"""What the parts of the model are called."""

MAP = 96
"""Tokens of the memory that an attention map shows, at most, and tokens of the segment."""

BORDER = "│"
"""Stands over the empty column between memory and segment."""

CURVE = 2048
"""Held-out tokens that a curve over memory lengths reads."""

PIECE = 1024
"""Held-out tokens that a head's reach is measured on."""


def next_token(model: TransformerXL, problem: Problem, options: NextToken) -> Bars:
    """The likeliest next tokens, and beside them what they would be with nothing read before the prompt's own segment."""
    reading = read(model, problem, options)
    logits = model(reading.idx, reading.memory)[0][0, -1]
    panel = prompts.next_token(logits, reading.prompt, problem.tokenizer, asked(reading, options))
    without = distribution(model(reading.idx)[0][0, -1], options.temperature)
    shown = candidates(distribution(logits, options.temperature), options.top_k or prompts.BARS, options.top_p)
    texts = {name: (getattr(options, name), getattr(reading.options, name)) for name in ("prompt", "read_before")}
    instead = {name: meant for name, (given, meant) in texts.items() if meant != given}
    return msgspec.structs.replace(panel, second=without[shown].tolist(), names=["with memory", "without"], read=instead)


def passage(model: TransformerXL, problem: Problem, options: Continued) -> Tokens:
    """The prompt continued; for recall by the one word that is asked for."""
    reading = read(model, problem, options)
    options = dataclasses.replace(options, words=min(options.words, problem.said or options.words))
    panel = prompts.passage(Reader(model, reading), reading.prompt, problem.tokenizer, asked(reading, options))
    return msgspec.structs.replace(panel, ended=bool(problem.said))


def prompt_tokens(model: TransformerXL, problem: Problem, options: TokenRead) -> Tokens:
    """The probability of each token of the prompt, given the memory and those before it."""
    reading = read(model, problem, options)
    panel = prompts.prompt_tokens(model(reading.idx, reading.memory)[0][0], reading.prompt, problem.tokenizer, asked(reading, options))
    if reading.remembered:
        first = f"{panel.words[0]}: told by the memory's last word, which is not read again"
        panel = msgspec.structs.replace(panel, notes=[first, *panel.notes[1:]])
    scored = problem.scored(reading.prompt.ids)
    if all(scored):
        return panel
    values = [value if counts else None for value, counts in zip(panel.values, scored, strict=True)]
    notes = [note if counts else f"{word}: not asked for" for word, note, counts in zip(panel.words, panel.notes, scored, strict=True)]
    known = [value for value in values if value is not None]
    figure = f"recalled with {100 * min(known):.0f} %" if known else ""
    return msgspec.structs.replace(panel, values=values, notes=notes, figure=figure)


def asked(reading: Reading, options: Asked) -> Asked:
    """The options with the prompt that was really read."""
    return dataclasses.replace(options, prompt=reading.options.prompt)


def memory_used(model: TransformerXL, problem: Problem, options: MemoryUsed) -> Tokens:
    """How strongly one token of the prompt looks at each token of the memory."""
    reading = read(model, problem, options)
    tokenizer, prompt = problem.tokenizer, reading.prompt
    label = tokenizer.label(prompt.ids[prompt.place(options.token)])
    if not reading.remembered:
        return Tokens(words=[], values=[], caption=prompt.caption("nothing was read before: read something into the memory"))
    weights = attention_weights(model, reading.idx, reading.memory)  # L of (1, H, T, S)
    layer, head = chosen(model, options.layer, options.head)
    kept = torch.cat([w[0] for w in weights]) if options.of == "all heads" else weights[layer][0, head][None]  # (heads, T, S)
    share = kept[:, prompt.place(options.token), : len(reading.remembered)]  # (heads, M)
    strongest = share.amax(dim=0).tolist()
    notes = []
    for place, token in enumerate(reading.remembered):
        at = int(share[:, place].argmax())
        where = divmod(at, len(weights[0][0])) if options.of == "all heads" else (layer, head)
        notes.append(f"{tokenizer.label(token)}: {100 * strongest[place]:.1f} % of layer {where[0]}, head {where[1]}")
    best = max(range(len(strongest)), key=strongest.__getitem__)
    whose = "the strongest that any head pays" if options.of == "all heads" else f"layer {layer}, head {head}"
    return Tokens(
        words=[tokenizer.label(token) for token in reading.remembered],
        values=strongest,
        notes=notes,
        text=tokenizer.decode(reading.remembered),
        place=best,
        figure=f"{tokenizer.label(reading.remembered[best])} {100 * strongest[best]:.0f} %",
        caption=prompt.caption(f"attention from {label}, {whose}"),
    )


def attention(model: TransformerXL, problem: Problem, options: Attention) -> HeatMap:
    """The attention weights of one head over the memory and the prompt, with an empty column between them where both are there."""
    reading = read(model, problem, options)
    layer, head = chosen(model, options.layer, options.head)
    weights = attention_weights(model, reading.idx, reading.memory)[layer][0, head].float().cpu()  # (T, S)
    held, tokenizer = len(reading.remembered), problem.tokenizer
    memory, segment = weights[-MAP:, max(0, held - MAP) : held], weights[-MAP:, held:][:, -MAP:]
    between = memory.new_full((len(memory), int(held > 0)), math.nan)
    labels = [tokenizer.label(token) for token in reading.prompt.ids[-MAP:]]
    cut = [f"of the memory's {held} {tokenizer.noun} the last {MAP}"] if held > MAP else []
    cut += [f"of the prompt the last {MAP}"] if len(reading.prompt.ids) > MAP else []
    in_memory = f"{100 * float(weights[-1, :held].sum()):.0f} % of the last row in memory"
    return HeatMap(
        values=Array.of(torch.cat([memory, between, segment], dim=1).numpy()),
        rows=labels,
        columns=[*(tokenizer.label(token) for token in reading.remembered[-MAP:]), *([BORDER] if held else []), *labels],
        row_title="looks from",
        column_title=f"looks at: memory {BORDER} segment",
        low=0.0,
        high=1.0,
        figure=f"layer {layer} of 0–{len(model.blocks) - 1}, head {head} of 0–{heads_of(model) - 1}",
        caption=reading.prompt.caption(in_memory, *cut),
    )


def memory_curve(model: TransformerXL, problem: Problem) -> Lines:
    """Held-out loss, or share of words recalled, against the length of the memory, beyond what the settings use."""
    settings = problem.settings
    lengths = memory_lengths(settings, 2 * max(settings.eval_memory, settings.block_size))
    found = [problem.measure(model, length, CURVE) for length in lengths]
    here = found[lengths.index(settings.eval_memory)]
    recall = settings.task == "recall"
    name, values = ("recalled", [m.right for m in found]) if recall else ("held-out loss", [m.loss for m in found])
    chance = {"chance": [problem.baselines()["recall_accuracy"]["chance"]] * len(lengths)} if recall else {}
    gain = f"{100 * here.right:.1f} %" if recall else f"{here.loss - found[0].loss:+.3f} nats"
    return Lines(
        x=[float(length) for length in lengths],
        series={name: list(values), **{key: list(value) for key, value in chance.items()}},
        x_title="tokens in the memory",
        percent=recall,
        figure=f"{gain} at {settings.eval_memory}",
        caption=f"about {CURVE:,} held-out tokens in segments of {settings.block_size}; trained with a memory of {settings.memory}",
    )


def effective_context(model: TransformerXL, problem: Problem, options: Head) -> Lines:
    """Share of a head's attention that reaches at least so far back, over a held-out piece; and of all heads together."""
    layer, head = chosen(model, options.layer, options.head)
    block, wanted, idx = problem.settings.block_size, problem.settings.eval_memory, problem.piece(PIECE)
    keep = min(wanted, max(0, idx.shape[1] - block))  # no memory before the last segment is longer
    mass = torch.zeros(len(model.blocks), heads_of(model), keep + block, dtype=torch.float64)  # by distance
    memory, queries = None, 0
    for segment in segments(idx, block):
        before = model.empty(len(segment)) if memory is None else memory
        if before[0].shape[1] == keep:  # whoever has no full memory yet could not look so far
            queries += segment.numel()
            for number, weights in enumerate(attention_weights(model, segment, before)):
                found = by_distance(weights.cpu().double().sum(dim=0))  # the last segment may be shorter than a block
                mass[number, :, : found.shape[1]] += found
        _, memory = model(segment, before, keep)
    mass /= max(1, queries)
    reach = mass.flip(-1).cumsum(-1).flip(-1)  # share at that distance or farther
    distance = torch.arange(mass.shape[-1], dtype=torch.float64)
    mean = float((mass[layer, head] * distance).sum())
    cut = (
        f", since what is read here ends before it fills the {problem.settings.eval_memory}" if keep < problem.settings.eval_memory else ""
    )
    return Lines(
        x=distance.tolist(),
        series={f"layer {layer}, head {head}": reach[layer, head].tolist(), "all heads": reach.mean(dim=(0, 1)).tolist()},
        x_title="tokens back",
        percent=True,
        figure=f"mean distance {mean:.1f}",
        caption=f"share of attention that goes at least so far back; {queries:,} held-out tokens, segment {block}, memory {keep}{cut}",
    )


def by_distance(weights: Tensor) -> Tensor:
    """Attention weights (H, T, S) of a segment, summed by how many tokens back the key lies: (H, S)."""
    heads, T, S = weights.shape  # noqa: N806
    back = (torch.arange(S - T, S)[:, None] - torch.arange(S)).clamp(min=0)  # (T, S); the future has weight 0
    return torch.zeros(heads, S, dtype=weights.dtype).index_add_(1, back.flatten(), weights.flatten(1))


def neighbours(model: TransformerXL, problem: Problem, options: Similar) -> Bars:
    """The tokens whose embeddings point most nearly the same way."""
    reading = read(model, problem, options)
    return prompts.neighbours(model.tokens.weight, reading.prompt, problem.tokenizer, asked(reading, options))


def norms(model: TransformerXL) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a token passes them."""
    return norms_of(model, _part)


def _part(name: str) -> str:
    parts = name.split(".")
    return f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]


def attention_weights(model: TransformerXL, idx: Tensor, memory: Memory) -> list[Tensor]:
    """Of every layer, (B, H, T, S) each."""
    R, hidden = model.places(idx, memory)  # noqa: N806
    found = []
    for block, x, before in zip(model.blocks, model.streams(idx, memory), memory, strict=False):
        assert isinstance(block, Block)
        found.append(block.weights(x, before, R, hidden))
    return found


def heads_of(model: TransformerXL) -> int:
    """Heads of each layer."""
    block = model.blocks[0]
    assert isinstance(block, Block)
    return block.attention.heads


def chosen(model: TransformerXL, layer: int, head: int) -> tuple[int, int]:
    """Layer and head that the options mean."""
    last = len(model.blocks) - 1
    return last if layer < 0 else min(layer, last), min(head, heads_of(model) - 1)
