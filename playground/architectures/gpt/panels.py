"""Questions about a GPT and a prompt, each a pure function of the model, its tokenizer and the options."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from playground.architectures.gpt import AttentionHead, Neighbours, NextWord, Passage, Prompt, TokenOfPrompt
from playground.architectures.gpt.model import GPT, Block
from playground.architectures.gpt.sampling import candidates, distribution, write
from playground.data.bounded import clean
from playground.data.tokens import UNKNOWN, Tokenizer, printable
from playground.engine.panels import Array, Bars, HeatMap, Table, Tokens

BARS = 20
"""No more candidates than this are listed when `top_k` keeps all."""

PARTS = {
    "tokens": "token embedding",
    "positions": "position embedding",
    "norm": "final norm",
    "norm_1": "norms",
    "norm_2": "norms",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
"""What the parts of the model are called."""

MAP = 128
"""Tokens on a side of an attention map."""


@dataclasses.dataclass(frozen=True)
class ReadPrompt:
    """A prompt as the model reads it."""

    ids: list[int]
    """At most a block of them, at least one."""
    all_ids: list[int]
    typed: list[int]
    """All ids that were typed: none for an empty prompt."""
    words: list[str]
    """What stood there, for each of `ids`."""
    notes: list[str]
    """What must be known of how it was read."""

    def caption(self, *more: str) -> str:
        """`more`, then how the prompt was read."""
        return " · ".join([*more, *self.notes])


def read_prompt(model: GPT, tokenizer: Tokenizer, options: Prompt) -> ReadPrompt:
    """The prompt's ids; of a long prompt the last block, for an empty one the token that stands for a start."""
    options.check()
    words = list(tokenizer.split(options.prompt))
    typed = [tokenizer.id(word) for word in words]
    notes = []
    if not typed:
        words = [tokenizer.vocabulary[tokenizer.start]]
        notes.append("an empty prompt is read as a beginning")
    all_ids = typed or [tokenizer.start]
    ids, kept = all_ids[-model.block_size :], words[-model.block_size :]
    if len(ids) < len(all_ids):
        notes.append(f"only the last {len(ids)} of {len(all_ids):,} {tokenizer.noun} fit in the block")
    unknown = list(dict.fromkeys(word for word, token in zip(kept, ids, strict=True) if token == 0 and word != UNKNOWN))
    if unknown:
        shown = ", ".join(clean(word, 20) or ascii(word) for word in unknown[:3]) + (" …" if len(unknown) > 3 else "")
        notes.append(f"not in the vocabulary, read as <unk>: {shown}")
    return ReadPrompt(ids, all_ids, typed, kept, notes)


def next_word(model: GPT, tokenizer: Tokenizer, options: NextWord) -> Bars:
    """The likeliest next tokens. What top-p leaves out is not listed; the probabilities shown are those of the whole softmax."""
    prompt = read_prompt(model, tokenizer, options)
    logits = model(_batch(model, prompt.ids))[0, -1].cpu().double()  # (V,)
    probability = distribution(logits, options.temperature)
    ids = candidates(probability, options.top_k or BARS, options.top_p).tolist()
    values = probability[ids].tolist()
    entropy = float(torch.special.entr(probability).sum())
    spaced = options.prompt[-1:].isspace()
    return Bars(
        labels=[tokenizer.label(token) for token in ids],
        values=values,
        percent=True,
        high=1.0 if values[0] > 0.5 else None,
        appends=[tokenizer.decode([token], after=prompt.typed, spaced=spaced) for token in ids],
        figure=f"{values[0]:.1%}",
        caption=prompt.caption(
            f"entropy {entropy / math.log(2):.2f} bits, like {math.exp(entropy):.3g} equal choices", f"{sum(values):.1%} shown"
        ),
    )


def passage(model: GPT, tokenizer: Tokenizer, options: Passage) -> Tokens:
    """The prompt continued: the new words, and as running text what they add to the prompt."""
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
        text=tokenizer.decode(ids, after=prompt.typed, spaced=options.prompt[-1:].isspace()),
        figure=f"perplexity {surprise:.3g}",
        caption=prompt.caption(),
    )


def prompt_tokens(model: GPT, tokenizer: Tokenizer, options: TokenOfPrompt) -> Tokens:
    """The probability of each token of the prompt, given those before it."""
    prompt = read_prompt(model, tokenizer, options)
    log_probability = model(_batch(model, prompt.ids))[0].cpu().double().log_softmax(dim=-1)  # (T, V)
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
        text=printable(options.prompt),
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
    probability = model.head(streams).cpu().double().softmax(dim=-1)  # (1 + L, V)
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
    directions = torch.nn.functional.normalize(model.tokens.weight.cpu().double(), dim=1)  # (V, C)
    cosine = directions @ directions[chosen]
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
        label = f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]
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


def _norms(groups: dict[str, list[Tensor]], labels: list[str]) -> list[float]:
    found: list[float] = torch.stack([torch.nn.utils.get_total_norm(groups[label]) for label in labels]).tolist()
    return found


def _batch(model: GPT, ids: list[int]) -> Tensor:
    return torch.tensor([ids], device=model.tokens.weight.device)  # (1, T)


def _place(prompt: ReadPrompt, options: TokenOfPrompt) -> int:
    return len(prompt.ids) - 1 if options.token < 0 else min(options.token, len(prompt.ids) - 1)


def _said(prompt: ReadPrompt, tokenizer: Tokenizer, place: int) -> str:
    label = tokenizer.label(prompt.ids[place])
    return label if prompt.ids[place] else f"{label} (for {clean(prompt.words[place], 40) or ascii(prompt.words[place])})"
