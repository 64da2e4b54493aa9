"""Direct logit attribution in the decoder: what each of its parts adds to the logit of one output token.

Where the norm comes after each addition, every part passes all norms behind it; before each sublayer, only the last one. With the scales of
the norms kept as they are both are linear, and the logit is a sum over the parts (see `parts.attribution`).
"""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn

from dlplay.architectures.seq2seq.model import DecoderLayer, Seq2Seq
from dlplay.engine import hooks
from dlplay.parts.attribution import ROUNDING

BIASES, NORMS = "attention biases", "norm biases"


def parts_of_logits(model: Seq2Seq, source: Tensor, written: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What every part adds to the logits of the token after `written` (1, T), which starts with BOS, given `source` (1, S); and these
    logits: (V,) each. A head's or a feed-forward network's name is its address."""
    heads = {address: site for address, site in hooks.heads({"seq2seq": model}).items() if address.startswith("decoder.")}
    feed_forward = [hooks.Site(f"decoder.{number}.feed_forward", layer.feed_forward) for number, layer in _layers(model)]
    normalised: dict[nn.Module, Tensor] = {}

    def keep(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        normalised[norm] = inputs[0][0, -1].double()

    with contextlib.ExitStack() as stack:
        for module in (norm for norm in model.modules() if isinstance(norm, nn.LayerNorm)):
            stack.callback(module.register_forward_pre_hook(keep).remove)
        passes = stack.enter_context(hooks.recorded([*heads.values(), *feed_forward]))
        logits: Tensor = model(source, written)[0, -1]
    seen = dict(zip([*heads, *(site.address for site in feed_forward)], (found[-1][0, -1].double() for found in passes), strict=True))
    embedded = model.embed(written, model.output_positions)[0, -1].double()
    tokens = model.tokens(written)[0, -1].double() * model.tokens.embedding_dim**0.5
    parts = {"token embedding": tokens, "position embedding": embedded - tokens}

    def pass_norm(norm: nn.Module) -> None:
        """All parts so far through a norm, whose scale is that of the whole stream."""
        if isinstance(norm, nn.LayerNorm):
            scale = (normalised[norm].var(unbiased=False) + norm.eps).sqrt()
            for name, part in parts.items():
                parts[name] = (part - part.mean()) / scale * norm.weight.double()
            add(NORMS, norm.bias.double())

    def add(name: str, part: Tensor) -> None:
        parts[name] = parts[name] + part if name in parts else part

    for number, layer in _layers(model):
        for name, around in (
            ("attention", layer.around_attention),
            ("cross", layer.around_cross),
            ("feed_forward", layer.around_feed_forward),
        ):
            for address, site in heads.items():
                if address.startswith(f"decoder.{number}.{name}.head."):
                    assert isinstance(site.module, nn.Linear)
                    assert site.columns is not None
                    add(address, site.module.weight[:, slice(*site.columns)].double() @ seen[address])
            if name == "feed_forward":
                add(f"decoder.{number}.{name}", seen[f"decoder.{number}.{name}"])
            else:
                add(BIASES, getattr(layer, name).projection.bias.double())
            if not around.pre:
                pass_norm(around.norm)
    pass_norm(model.decoder_norm)
    output = model.tokens.weight.double()  # (V, C)
    return {name: output @ part for name, part in parts.items()}, logits


def of_token(parts: dict[str, Tensor], logits: Tensor, token: int) -> dict[str, float]:
    """What the parts add to the logit of one token; what interventions have put in, where the rest does not sum to it."""
    found = {name: float(part[token]) for name, part in parts.items()}
    missing = float(logits[token]) - sum(found.values())
    return found | ({"interventions": missing} if abs(missing) > ROUNDING * max(1.0, abs(float(logits[token]))) else {})


def _layers(model: Seq2Seq) -> list[tuple[int, DecoderLayer]]:
    return [(number, layer) for number, layer in enumerate(model.decoder) if isinstance(layer, DecoderLayer)]
