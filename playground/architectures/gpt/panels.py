"""Questions about a GPT and a prompt, each a pure function of the model, its tokenizer and the options."""

from __future__ import annotations

import torch
from torch import Tensor

from dlplay.architectures.gpt import AttentionHead
from dlplay.architectures.gpt.model import GPT, Block
from dlplay.architectures.gpt.reader import Reader
from dlplay.data.tokens import Tokenizer
from dlplay.engine.panels import Array, Bars, HeatMap, Table, Tokens
from dlplay.parts import prompts
from dlplay.parts.norms import norms as norms_of
from dlplay.parts.prompt_options import Neighbours, NextWord, Passage, TokenOfPrompt

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


def next_word(model: GPT, tokenizer: Tokenizer, options: NextWord) -> Bars:
    """The likeliest next tokens."""
    prompt = prompts.read_prompt(tokenizer, options, model.block_size)
    return prompts.next_token(model(_batch(model, prompt.ids))[0, -1], prompt, tokenizer, options)


def passage(model: GPT, tokenizer: Tokenizer, options: Passage) -> Tokens:
    """The prompt continued."""
    prompt = prompts.read_prompt(tokenizer, options, model.block_size)
    return prompts.passage(Reader(model, prompt.all_ids), prompt, tokenizer, options)


def prompt_tokens(model: GPT, tokenizer: Tokenizer, options: TokenOfPrompt) -> Tokens:
    """The probability of each token of the prompt, given those before it."""
    prompt = prompts.read_prompt(tokenizer, options, model.block_size)
    return prompts.prompt_tokens(model(_batch(model, prompt.ids))[0], prompt, tokenizer, options)


def attention(model: GPT, tokenizer: Tokenizer, options: AttentionHead) -> HeatMap:
    """The attention weights of one head over the prompt."""
    prompt = prompts.read_prompt(tokenizer, options, model.block_size)
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
    prompt = prompts.read_prompt(tokenizer, options, model.block_size)
    place = prompt.place(options.token)
    streams = torch.stack([stream[0, place] for stream in model.streams(_batch(model, prompt.ids))])  # (1 + L, C)
    probability = model.head(streams).cpu().double().softmax(dim=-1)  # (1 + L, V)
    top = probability.topk(min(5, probability.shape[1]))
    names = ["embedding", *(f"layer {layer}" for layer in range(len(model.blocks)))]
    rows, shades = [], []
    for name, values, ids in zip(names, top.values.tolist(), top.indices.tolist(), strict=True):
        rows.append([name, *(f"{tokenizer.label(token)} {100 * value:.0f} %" for token, value in zip(ids, values, strict=True))])
        shades.append([0.0, *values])
    return Table(
        columns=["stream after", *(f"{rank}." for rank in range(1, top.values.shape[1] + 1))],
        rows=rows,
        shades=Array.of(torch.tensor(shades).numpy()),
        figure=f"after {tokenizer.label(prompt.ids[place])}",
        caption=prompt.caption(),
    )


def neighbours(model: GPT, tokenizer: Tokenizer, options: Neighbours) -> Bars:
    """The tokens whose embeddings point most nearly the same way."""
    prompt = prompts.read_prompt(tokenizer, options, model.block_size)
    return prompts.neighbours(model.tokens.weight, prompt, tokenizer, options)


def norms(model: GPT) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a token passes them."""
    return norms_of(model, _part)


def _part(name: str) -> str:
    parts = name.split(".")
    return f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]


def _batch(model: GPT, ids: list[int]) -> Tensor:
    return torch.tensor([ids], device=model.tokens.weight.device)  # (1, T)
