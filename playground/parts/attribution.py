"""Direct logit attribution: what each part of a pre-norm transformer adds to the logit of one token.

The residual stream is a sum, of the embeddings, of every head's output and of every feed-forward layer's; a final norm and a linear map
make logits of it. With the norm's scale kept as it is, that map is linear too, and the logit is a sum over the parts (Elhage et al., A
Mathematical Framework for Transformer Circuits, 2021; Wang et al., Interpretability in the Wild, 2022). What a part adds by way of later
layers counts as theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dlplay.data.tokens import Tokenizer
from dlplay.engine import hooks
from dlplay.engine.panels import Array, Table
from dlplay.parts.prompts import ReadPrompt, answer_token

MOST = 200
"""Parts that are listed one by one."""
ROUNDING = 1e-3
"""Share of the logit that may be missing from the sum. More is what interventions have put in."""


def added(models: Mapping[str, nn.Module], run: Callable[[], Tensor], place: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The final residual stream (1, T, C) that `run` returns, and what every head, all attention biases together and every feed-forward
    layer have added at `place`, (C,) each."""
    heads = hooks.heads(models)
    layers = list(dict.fromkeys(address.rpartition(".head.")[0] for address in heads))
    named = hooks.modules(models)
    feed_forward = [hooks.find(models, path) for layer in layers if (path := f"{layer}.feed_forward") in named]
    with hooks.recorded([*heads.values(), *feed_forward]) as passes:
        residual = run()
    vectors = [found[-1][0, place].double() for found in passes]
    parts: dict[str, Tensor] = {}
    biases: dict[nn.Module, Tensor] = {}
    for (address, site), vector in zip(heads.items(), vectors, strict=False):
        assert isinstance(site.module, nn.Linear)
        assert site.columns is not None
        parts[address] = site.module.weight[:, slice(*site.columns)].double() @ vector
        biases[site.module] = site.module.bias.double()
    parts["attention biases"] = torch.stack(list(biases.values())).sum(0)
    return residual, parts | {site.address: vector for site, vector in zip(feed_forward, vectors[len(heads) :], strict=True)}


def to_logit(parts: Mapping[str, Tensor], residual: Tensor, norm: nn.LayerNorm, embedding: Tensor, logit: float) -> dict[str, float]:
    """What the parts (C,) of the `residual` stream (C,) add to the `logit` of the token with this row (C,) of the output embedding, by way
    of the final norm, whose scale is that of the whole stream."""
    whole = residual.double()
    scale = (whole.var(unbiased=False) + norm.eps).sqrt()
    direction = norm.weight.double() * embedding.double() / scale  # (C,)
    found = {name: float((part.double() - part.double().mean()) @ direction) for name, part in parts.items()}
    found["final norm's bias"] = float(norm.bias.double() @ embedding.double())
    missing = logit - sum(found.values())
    return found | ({"interventions": missing} if abs(missing) > ROUNDING * max(1.0, abs(logit)) else {})


def of_token(
    parts: Mapping[str, Tensor],
    residual: Tensor,
    norm: nn.LayerNorm,
    embedding: Tensor,
    logits: Tensor,
    tokenizer: Tokenizer,
    asked: str,
    prompt: ReadPrompt,
    place: int,
) -> Table:
    """The panel: what the parts of the `residual` stream (C,) at a `place` of the prompt add to the logit of the token that was asked for,
    of the `logits` (V,); `embedding` (V, C) is the output's."""
    answer, remark = answer_token(logits, tokenizer, asked)
    return table(
        to_logit(parts, residual, norm, embedding[answer], float(logits[answer])),
        word=tokenizer.label(answer),
        logits=logits,
        answer=answer,
        caption=prompt.caption(f'after "{tokenizer.label(prompt.ids[place])}"'),
        remark=" · ".join(filter(None, [prompt.remark, remark])),
    )


def table(found: Mapping[str, float], *, word: str, logits: Tensor, answer: int, caption: str, remark: str) -> Table:
    """The parts of the logit of the token `answer` among the `logits` (V,), the one that adds or takes away most first."""
    order = sorted(found, key=lambda name: -abs(found[name]))
    listed, others = order[:MOST], order[MOST:]
    values = {name: found[name] for name in listed}
    if others:
        values[f"the other {len(others):,} parts"] = sum(found[name] for name in others)
    largest, value = max(map(abs, values.values())) or 1.0, float(logits[answer])
    return Table(
        columns=["part", "adds"],
        rows=[[name, f"{adds:+.4f}"] for name, adds in values.items()],
        right=[1],
        parts=[name if "." in name else "" for name in values],
        shades=Array.of(torch.tensor([[math.nan, abs(adds) / largest] for adds in values.values()]).numpy()),
        figure=f"{word} {value:.2f}",
        caption=f'sum: {value:.2f}, the logit of "{word}"; the mean of all tokens is {float(logits.mean()):.2f} · {caption}',
        remark=remark,
    )
