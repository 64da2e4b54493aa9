"""Questions about a GPT and a prompt, each a pure function of the model, its tokenizer and the options."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from playground.architectures.gpt import AttentionHead, Neighbours, NextWord, Passage, Prompt, TokenOfPrompt
from playground.architectures.gpt.model import GPT, Block
from playground.architectures.gpt.sampling import candidates, distribution, write
from playground.data.tokens import Tokenizer
from playground.engine.panels import Array, Bars, HeatMap, Table, Tokens

BARS = 20
"""No more candidates than this are listed when `top_k` keeps all."""

MAP = 128
"""Tokens on a side of an attention map."""


@dataclasses.dataclass(frozen=True)
class ReadPrompt:
    """A prompt as the model reads it."""

    ids: list[int]
    """At most a block of them, at least one."""
    all_ids: list[int]
    typed: list[str]
    """What stood there, for each of `ids`."""
    notes: list[str]
    """What must be known of how it was read."""

    def caption(self, *more: str) -> str:
        return " · ".join([*more, *self.notes])


def read_prompt(model: GPT, tokenizer: Tokenizer, options: Prompt) -> ReadPrompt:
    """The prompt's ids; of a long prompt the last block, for an empty one the token that stands for a start."""
    options.check()
    typed = list(tokenizer.split(options.prompt))
    notes = []
    if not typed:
        typed = [tokenizer.vocabulary[tokenizer.start]]
        notes.append("an empty prompt is read as a beginning")
    everything = [tokenizer.id(word) for word in typed]
    kept = typed[-model.block_size :]
    ids = everything[-model.block_size :]
    if len(kept) < len(typed):
        notes.append(f"only the last {len(kept)} of {len(typed):,} {tokenizer.noun} fit in the block")
    unknown = list(dict.fromkeys(word for word, index in zip(kept, ids, strict=True) if index == 0))
    if unknown:
        shown = ", ".join(word.strip()[:20] or repr(word) for word in unknown[:3]) + (" …" if len(unknown) > 3 else "")
        notes.append(f"not in the vocabulary, read as <unk>: {shown}")
    return ReadPrompt(ids, everything, kept, notes)


def next_word(model: GPT, tokenizer: Tokenizer, options: NextWord) -> Bars:
    """The likeliest next tokens. What top-p leaves out is not listed; the probabilities shown are those of the whole softmax."""
    prompt = read_prompt(model, tokenizer, options)
    logits = model(_batch(model, prompt.ids))[0, -1].double().cpu()  # (V,)
    probability = distribution(logits, options.temperature)
    ids = candidates(probability, options.top_k or BARS, options.top_p).tolist()
    values = probability[ids].tolist()
    entropy = float(torch.special.entr(probability).sum())
    gap = bool(options.prompt) and not options.prompt[-1].isspace()
    before = prompt.all_ids if tokenizer.split(options.prompt) and options.prompt.strip() else []
    return Bars(
        labels=[tokenizer.label(token) for token in ids],
        values=values,
        percent=True,
        high=1.0 if values[0] > 0.5 else None,
        appends=[tokenizer.decode([token], after=before) if gap else tokenizer.text(token) for token in ids],
        figure=f"{values[0]:.1%}",
        caption=prompt.caption(
            f"entropy {entropy / math.log(2):.2f} bits, like {math.exp(entropy):.3g} equal choices", f"{sum(values):.1%} shown"
        ),
    )


def passage(model: GPT, tokenizer: Tokenizer, options: Passage) -> Tokens:
    """The prompt continued."""
    prompt = read_prompt(model, tokenizer, options)
    written = write(
        model,
        prompt.all_ids,
        options.words,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.sampling_seed,
        ban=0,
    )
    ids = [token for token, _ in written]
    probabilities = [probability for _, probability in written]
    surprise = math.exp(-sum(math.log(max(p, 1e-300)) for p in probabilities) / len(probabilities))
    return Tokens(
        words=[tokenizer.label(token) for token in ids],
        values=list(probabilities),
        notes=[f"{tokenizer.label(token)}: {probability:.1%} when it was chosen" for token, probability in written],
        text=tokenizer.decode(ids, after=prompt.all_ids if options.prompt.strip() else []),
        figure=f"perplexity {surprise:.3g}",
        caption=prompt.caption(),
    )


def prompt_tokens(model: GPT, tokenizer: Tokenizer, options: TokenOfPrompt) -> Tokens:
    """The probability of each token of the prompt, given those before it."""
    prompt = read_prompt(model, tokenizer, options)
    log_probability = model(_batch(model, prompt.ids))[0].double().log_softmax(dim=-1).cpu()  # (T, V)
    values: list[float | None] = [None]
    notes = [f"{_said(prompt, tokenizer, 0)}: nothing stands before it"]
    nats = 0.0
    for place, token in enumerate(prompt.ids[1:]):
        here = log_probability[place]
        rank = int((here > here[token]).sum()) + 1
        values.append(float(here[token].exp()))
        nats -= float(here[token])
        best = tokenizer.label(int(here.argmax()))
        notes.append(f"{_said(prompt, tokenizer, place + 1)}: {float(here[token].exp()):.2%}, place {rank:,}; likeliest was {best}")
    count = len(prompt.ids) - 1
    return Tokens(
        words=[tokenizer.label(token) for token in prompt.ids],
        values=values,
        notes=notes,
        text=options.prompt if len(prompt.ids) == len(prompt.all_ids) else tokenizer.decode(prompt.ids),
        figure=f"perplexity {math.exp(min(nats / count, 700)):.4g}" if count else "",
        caption=prompt.caption(),
    )


def attention(model: GPT, tokenizer: Tokenizer, options: AttentionHead) -> HeatMap:
    """The attention weights of one head over the prompt."""
    prompt = read_prompt(model, tokenizer, options)
    layer = min(options.layer, len(model.blocks) - 1)
    block = model.blocks[layer]
    assert isinstance(block, Block)
    head = min(options.head, block.attention.heads - 1)
    stream = model.streams(_batch(model, prompt.ids))[layer]
    weights = block.attention.weights(block.norm_1(stream))[0, head].float().cpu()[-MAP:, -MAP:]  # (T, T)
    labels = [tokenizer.label(token) for token in prompt.ids[-MAP:]]
    cut = [f"the last {MAP} of {len(prompt.ids)} {tokenizer.noun} are shown"] if len(prompt.ids) > MAP else []
    return HeatMap(
        values=Array.of(weights.numpy()),
        rows=labels,
        columns=labels,
        row_title="looks from",
        column_title="looks at",
        low=0.0,
        high=1.0,
        figure=f"layer {layer} of 0–{len(model.blocks) - 1}, head {head} of 0–{block.attention.heads - 1}",
        caption=prompt.caption(*cut),
    )


def layer_lens(model: GPT, tokenizer: Tokenizer, options: TokenOfPrompt) -> Table:
    """The likeliest next tokens at one place of the prompt, if the stream ended after each layer."""
    prompt = read_prompt(model, tokenizer, options)
    place = _place(prompt, options)
    streams = torch.stack([stream[0, place] for stream in model.streams(_batch(model, prompt.ids))])  # (1 + L, C)
    probability = model.head(streams).double().softmax(dim=-1).cpu()  # (1 + L, V)
    top = probability.topk(min(5, probability.shape[1]))
    names = ["embedding", *(f"layer {layer}" for layer in range(len(model.blocks)))]
    rows, shades = [], []
    for name, values, ids in zip(names, top.values.tolist(), top.indices.tolist(), strict=True):
        rows.append([name, *(f"{tokenizer.label(token)} {value:.0%}" for token, value in zip(ids, values, strict=True))])
        shades.append([0.0, *values])
    return Table(
        columns=["stream after", *(f"{rank}." for rank in range(1, top.values.shape[1] + 1))],
        rows=rows,
        shades=Array.of(torch.tensor(shades).numpy()),
        figure=f"after {tokenizer.label(prompt.ids[place])}",
        caption=prompt.caption(),
    )


def neighbours(model: GPT, tokenizer: Tokenizer, options: Neighbours) -> Bars:
    """The tokens whose embeddings have the largest cosine with that of the chosen one."""
    prompt = read_prompt(model, tokenizer, options)
    if options.word.strip():
        chosen = (tokenizer.encode(options.word) or [0])[-1]
    else:
        chosen = prompt.ids[_place(prompt, options)]
    directions = torch.nn.functional.normalize(model.tokens.weight.double(), dim=1)  # (V, C)
    cosine = (directions @ directions[chosen]).cpu()
    cosine[chosen] = -2.0
    top = cosine.topk(min(10, len(cosine) - 1))
    return Bars(
        labels=[tokenizer.label(token) for token in top.indices.tolist()],
        values=top.values.tolist(),
        high=1.0,
        figure=f"of {tokenizer.label(chosen)}",
        caption="that word is not in the vocabulary: these are the neighbours of <unk>" if chosen == 0 else "",
    )


def norms(model: GPT) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a token passes them."""
    groups: dict[str, list[Tensor]] = {}
    gradients: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        label = f"{parts[1]} {parts[2].removesuffix('_1').removesuffix('_2').replace('_', '-')}" if parts[0] == "blocks" else parts[0]
        groups.setdefault(label, []).append(parameter)
        if parameter.grad is not None:
            gradients.setdefault(label, []).append(parameter.grad)
    ends = ["tokens", "positions"]
    labels = [*ends, *(label for label in groups if label[0].isdigit()), "norm"]
    stepped = bool(gradients)
    return Bars(
        labels=labels,
        values=_norms(gradients, labels) if stepped else _norms(groups, labels),
        second=_norms(groups, labels) if stepped else [],
        names=["gradient", "weights"] if stepped else ["weights"],
        log=True,
        caption="" if stepped else "weights alone: there is no gradient before the first step of this process",
    )


def _norms(groups: dict[str, list[Tensor]], labels: list[str]) -> list[float]:
    return torch.stack([torch.nn.utils.get_total_norm(groups[label]) for label in labels]).tolist()  # type: ignore[no-any-return]


def _batch(model: GPT, ids: list[int]) -> Tensor:
    return torch.tensor([ids], device=model.tokens.weight.device)  # (1, T)


def _place(prompt: ReadPrompt, options: TokenOfPrompt) -> int:
    return len(prompt.ids) - 1 if options.token < 0 else min(options.token, len(prompt.ids) - 1)


def _said(prompt: ReadPrompt, tokenizer: Tokenizer, place: int) -> str:
    label = tokenizer.label(prompt.ids[place])
    return label if prompt.ids[place] else f"{label} (for {prompt.typed[place].strip()[:40]})"
