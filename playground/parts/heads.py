"""Attention heads: the map of one, and what a causal one attends to in three numbers that have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.engine.panels import Array, HeatMap


def attention_map(
    weights: Tensor,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    figure: str,
    caption: str,
    titles: tuple[str, str] = ("query", "key"),
) -> HeatMap:
    """The attention weights (T, S) of one head; without `columns` they are labelled as the rows are."""
    return HeatMap(
        values=Array.of(weights.float().cpu().numpy()),
        rows=list(rows),
        columns=list(rows if columns is None else columns),
        row_title=titles[0],
        column_title=titles[1],
        low=0.0,
        high=1.0,
        figure=figure,
        caption=caption,
    )


def which(layer: int, layers: int, head: int, heads: int) -> str:
    """Which head that is, and which there are."""
    return f"layer {layer} of 0–{layers - 1}, head {head} of 0–{heads - 1}"


class Pattern(NamedTuple):
    """Mean attention weights of a head, over the tokens of a text from the third on."""

    previous: float
    """To the token before."""
    first: float
    """To the first token, where a head rests that finds nothing (Xiao et al., Efficient Streaming Language Models, 2023)."""
    induction: float | None
    """To the token that followed an earlier copy of this one (Olsson et al., In-context Learning and Induction Heads, 2022), over the
    tokens that have such a copy; None where there is none."""


def pattern(weights: Tensor, ids: Sequence[int]) -> Pattern:
    """The pattern of one head from its attention weights (T, T) over the tokens `ids`. With fewer than three tokens all is 0."""
    weights = weights.double().cpu()
    token = torch.tensor(ids)
    if len(token) < 3:
        return Pattern(0.0, 0.0, None)
    copy = token[:, None] == token[None, :-1]  # (T, T - 1): token t is token s
    after = torch.nn.functional.pad(copy, (1, 0)).tril(-1)  # (T, T): token t is the one before key s, and s is in the past
    queries = after.any(dim=1)
    induction = float((weights * after).sum(dim=1)[queries].mean()) if bool(queries.any()) else None
    return Pattern(float(weights.diagonal(-1)[1:].mean()), float(weights[2:, 0].mean()), induction)


def words(found: Pattern) -> str:
    """The pattern in words, for a caption."""
    seen = [f"{100 * found.previous:.0f} % of the attention to the token before", f"{100 * found.first:.0f} % to the first"]
    if found.induction is not None:
        seen.append(f"{100 * found.induction:.0f} % to what followed an earlier copy of the token")
    return ", ".join(seen)
