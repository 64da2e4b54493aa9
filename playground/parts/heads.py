"""Attention heads: the map of one, and what heads attend to in scores that have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.engine.panels import Array, HeatMap
from dlplay.engine.units import numbered


def attention_map(
    weights: Tensor,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    figure: str,
    caption: str,
    titles: tuple[str, str] = ("query", "key"),
    part: str = "",
) -> HeatMap:
    """The attention weights (T, S) of one head, whose address is `part`; without `columns` they are labelled as the rows are."""
    return HeatMap(
        values=Array.of(weights.float().cpu().numpy()),
        rows=list(rows),
        columns=list(rows if columns is None else columns),
        row_title=titles[0],
        column_title=titles[1],
        low=0.0,
        high=1.0,
        percent=True,
        parts=[part] if part else [],
        figure=figure,
        caption=caption,
    )


def which(layer: int, layers: int, head: int, heads: int) -> str:
    """Which head that is, and which there are."""
    return f"{numbered('layer', layer, layers)}, {numbered('head', head, heads)}"


# --- scores ---------------------------------------------------------------------------------------------------------------------------
#
# A score is the mean attention that queries pay to certain keys. Which keys these are is a mask (B, T, S), True at the keys of each query;
# queries without any do not count.


def score(weights: Tensor, keys: Tensor) -> Tensor:
    """The mean attention (H,) of weights (B, H, T, S) to the marked `keys` (B, T, S); NaN where no query has any."""
    attention = (weights * keys[:, None]).sum(dim=(0, 2, 3))  # (H,)
    return attention / keys.any(dim=-1).sum()


def neighbour(ids: Tensor, back: int) -> Tensor:
    """The key so many tokens back, or with a negative number ahead, of each query of `ids` (B, T)."""
    length = ids.shape[1]
    ones = torch.ones(length, length, dtype=torch.bool, device=ids.device)
    return (ones.tril(-back) & ones.triu(-back)).expand(len(ids), -1, -1)


def first_token(ids: Tensor) -> Tensor:
    """The first key, where a head rests that finds nothing (Xiao et al., Efficient Streaming Language Models, 2023)."""
    length = ids.shape[1]
    keys = torch.zeros(length, length, dtype=torch.bool, device=ids.device)
    keys[1:, 0] = True
    return keys.expand(len(ids), -1, -1)


def from_the_third(keys: Tensor) -> Tensor:
    """The same keys without those of the first two queries: of a decoder's second token the key before is the first one."""
    keys = keys.clone()
    keys[:, :2] = False
    return keys


def same_token(ids: Tensor, causal: bool) -> Tensor:
    """Copies of the query's token: earlier ones, or with `causal` False all others (duplicate-token heads; Wang et al., 2022)."""
    copies = ids[:, :, None] == ids[:, None, :]  # (B, T, T)
    return copies.tril(-1) if causal else copies & ~torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)


def after_a_copy(ids: Tensor) -> Tensor:
    """The keys that followed earlier copies of the query's token (Olsson et al., In-context Learning and Induction Heads, 2022)."""
    copies = ids[:, :, None] == ids[:, None, :-1]  # (B, T, T - 1): token t is token s
    return torch.nn.functional.pad(copies, (1, 0)).tril(-1)


def repeated_tokens(rows: int, length: int, vocabulary: int) -> Tensor:
    """Rows (B, T) of random tokens, 4 to 8 at a time and these read twice, the same rows every time: the distance of the copies varies, so
    that counting back finds none. No token comes again by chance where there are enough; the unknown one, 0, does not come."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(rows):
        row: list[int] = []
        fresh: list[int] = []
        while len(row) < length:
            count = min(int(torch.randint(4, 9, (), generator=generator)), max(1, vocabulary - 1))
            if len(fresh) < count:
                fresh = (1 + torch.randperm(max(1, vocabulary - 1), generator=generator)).tolist()
            some, fresh = fresh[:count], fresh[count:]
            row += [*some, *some]
        found.append(row[:length])
    return torch.tensor(found)


def read_again(rows: int, length: int, period: int, tokens: Tensor) -> Tensor:
    """Rows (B, T) of `period` different ones of the `tokens` (n,), drawn at random and then read again and again, the same rows every time:
    the first reading says nothing of the next token, and each later one all."""
    generator = torch.Generator().manual_seed(0)
    drawn = [tokens[torch.randperm(len(tokens), generator=generator)[:period]] for _ in range(rows)]
    once = torch.stack(drawn)  # (B, period)
    return once.repeat(1, -(-length // once.shape[1]))[:, :length]


class Pattern(NamedTuple):
    """Mean attention weights of a head, over the tokens of a text from the third on."""

    previous: float
    """To the token before."""
    first: float
    """To the first token."""
    induction: float | None
    """To the token that followed an earlier copy of this one, over the tokens that have such a copy; None where there is none."""


def pattern(weights: Tensor, ids: Sequence[int]) -> Pattern | None:
    """The pattern of one head from its attention weights (T, T) over the tokens `ids`; None with fewer than three tokens."""
    if len(ids) < 3:
        return None
    one, token = weights.double().cpu()[None, None], torch.tensor([ids])
    induction = after_a_copy(token)
    return Pattern(
        float(score(one, from_the_third(neighbour(token, 1)))),
        float(score(one, from_the_third(first_token(token)))),
        float(score(one, induction)) if bool(induction.any()) else None,
    )


def words(found: Pattern | None) -> str:
    """The pattern in words, for a caption; empty where there is none."""
    if found is None:
        return ""
    seen = [f"{100 * found.previous:.0f} % of the attention to the token before", f"{100 * found.first:.0f} % to the first"]
    if found.induction is not None:
        seen.append(f"{100 * found.induction:.0f} % to what followed an earlier copy of the token")
    return ", ".join(seen)
