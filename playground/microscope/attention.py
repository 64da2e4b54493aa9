"""How much of the attention is saturated: rows of softmax with nearly all their weight on one key, whatever the model calls its parts.

Softmaxes are watched as they are computed, in the modules that have attention heads; the fused kernel's, whose weights nobody sees, again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dlplay.engine import hooks
from dlplay.engine.means import counting
from dlplay.engine.vocabulary import Vocabulary

ONE_HOT = 0.99
"""A row of softmax is saturated from this largest weight on: the trace of its derivative, 1 - sum of squares, is then below .02."""
MASKED = -1e4
"""Scores below it are those of keys that a query does not see."""
MOST_SCORES = 1 << 22
"""Of a call: where there are more, its first examples count."""


class AttentionRows(TorchFunctionMode):
    """Within it, how many rows of each attention's softmax are saturated. Rows of a query that sees a single key do not count, nor those
    of padding or of what is read beforehand."""

    def __init__(self, named: Mapping[str, nn.Module], vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._attentions = {module: address for address, module in named.items() if hooks.attention_of(module) is not None}
        self._counts = {address: [0, 0] for address in self._attentions.values()}
        self._running: list[nn.Module] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> AttentionRows:
        self._places = self._stack.enter_context(counting(self._vocabulary))
        for module in self._attentions:
            self._stack.callback(module.register_forward_pre_hook(self._begin).remove)
            self._stack.callback(module.register_forward_hook(self._end).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._stack.close()

    def shares(self) -> dict[str, float]:
        """The share of saturated rows, by the address of each attention that the data passed."""
        return {address: saturated / rows for address, (rows, saturated) in self._counts.items() if rows}

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._running.append(module)

    def _end(self, module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
        self._running.pop()

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if self._running:
            if func is F.scaled_dot_product_attention:
                counted = self._counted(args[0])
                if counted is None or bool(counted.any()):
                    self._count(scores(*args, **(kwargs or {})), counted)
            elif func in (torch.softmax, Tensor.softmax, F.softmax):
                self._count(args[0], self._counted(args[0]))
        return func(*args, **(kwargs or {}))

    def _counted(self, queries: Tensor) -> Tensor | None:
        """Which of the queries of (B, H, T, …) count, (B, T); None where all do."""
        return self._places(queries[:, 0, :, :1]) if queries.ndim == 4 else None

    @torch.no_grad()
    def _count(self, scores: Tensor, counted: Tensor | None) -> None:
        """Scores (..., T, S)."""
        kept = scores.detach()[: max(1, MOST_SCORES * len(scores) // max(1, scores.numel()))].float()
        chooses = (kept > MASKED).sum(dim=-1) > 1
        if counted is not None:
            chooses &= counted[: len(kept), None]
        largest = 1 / (kept - kept.amax(dim=-1, keepdim=True)).exp_().sum(dim=-1)
        counts = self._counts[self._attentions[self._running[-1]]]
        counts[0] += int(chooses.sum())
        counts[1] += int(((largest > ONE_HOT) & chooses).sum())


@torch.no_grad()
def scores(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False, **rest: Any
) -> Tensor:
    """What the fused kernel takes the softmax of, (B, H, T, S); of a long batch only of its first examples."""
    each = math.prod(query.shape[1:-1]) * key.shape[-2]
    first = max(1, MOST_SCORES // each)
    query, key = query[:first].float(), key[:first].float()
    found = query @ key.transpose(-2, -1) * (rest.get("scale") or 1 / math.sqrt(query.shape[-1]))
    if is_causal:
        found.masked_fill_(torch.ones(found.shape[-2:], dtype=torch.bool, device=found.device).triu(1), -math.inf)
    if attn_mask is not None:
        mask = attn_mask[:first] if attn_mask.ndim == 4 and len(attn_mask) > 1 else attn_mask
        found = found.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else found + mask
    return found
