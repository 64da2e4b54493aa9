"""Transformer-XL (Dai et al., Transformer-XL: Attentive Language Models beyond a Fixed-Length Context, 2019): the `nn.Module` alone.

A text is read in segments. The inputs of each layer are cached, without their gradient, as a memory that the next segment attends to beside
itself. So positions must be relative: a token knows how far back another one is, not where either is. Equations are the paper's, section
3.3; u and v are each layer's own, as in the authors' WikiText-103 model. Differences from the paper: blocks are pre-layer-norm as in GPT-2,
with its gelu, the token embedding is the output head, and dropout acts on the embeddings and on what each half of a block adds.

In the comments B is the batch, T the tokens of the segment, M those of the memory, S = M + T, C the width, H the heads, D = C / H, V the
vocabulary, L the layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Memory = Sequence[Tensor]
"""The cached inputs of each layer for the last M tokens, (B, M, C) each; no gradient flows into them."""


def relative_shift(x: Tensor) -> Tensor:
    """Scores by distance to scores by position, both (…, T, S).

    Column c of `x` is the distance S - 1 - c, so row i must move left by T - 1 - i to have the key at position j, i + M - j tokens back, in
    column j. Padding one column and viewing the same numbers in another shape does that for all rows at once (the paper's appendix B).
    Values beyond position i + M, in the future, come from the next row: they mean nothing and must be masked.
    """
    *batch, T, S = x.shape  # noqa: N806
    return F.pad(x, (1, 0)).view(*batch, S + 1, T)[..., 1:, :].reshape(*batch, T, S)


def sinusoids(count: int, width: int, device: torch.device) -> Tensor:
    """R: the encodings of the distances count - 1 down to 0, (count, width), sines and then cosines (Vaswani et al., 2017)."""
    distance = torch.arange(count - 1, -1, -1, dtype=torch.float32, device=device)
    frequency = 10_000 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angle = distance[:, None] * frequency  # (count, ⌈C / 2⌉)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :width]


def causal_mask(segment: int, memory: int, device: torch.device) -> Tensor:
    """What is added to scores (T, S): minus infinity where the key at position j is after the query at position M + i, 0 elsewhere."""
    return torch.full((segment, memory + segment), -math.inf, device=device).triu(memory + 1)


class RelativeAttention(nn.Module):
    """Causal attention of a segment to the memory and itself, with relative positions.

    The scores are computed here and not in the fused kernel: that would take the terms by distance as a mask, (B, H, T, S) as well, which
    saves nothing, and with a gradient through the mask it is a fifth slower on a CPU.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)  # W_k,E and W_v
        self.key_distance = nn.Linear(width, width, bias=False)  # W_k,R
        self.u = nn.Parameter(torch.zeros(width))  # added to the query where it meets the content of a key
        self.v = nn.Parameter(torch.zeros(width))  # and where it meets the distance
        self.projection = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, S, C) to (B, H, S, D)

    def _weights(self, x: Tensor, k: Tensor, R: Tensor, mask: Tensor) -> Tensor:  # noqa: N803
        q = self._split(self.query(x))  # (B, H, T, D)
        r = self._split(self.key_distance(R)[None])  # (1, H, S, D)
        u, v = (bias.view(self.heads, 1, -1) for bias in (self.u, self.v))
        scale = 1 / math.sqrt(q.shape[-1])
        by_distance = relative_shift((q + v) @ (scale * r).transpose(-2, -1)) + mask  # terms (b) and (d), (B, H, T, S)
        by_content = (q + u).flatten(0, 1), k.flatten(0, 1).transpose(1, 2)  # of the terms (a) and (c)
        scores = torch.baddbmm(by_distance.flatten(0, 1), *by_content, alpha=scale)
        return scores.view(by_distance.shape).softmax(dim=-1)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, D) of the `context` (B, S, C)."""
        k, v = self.key_value(context).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def attend(self, x: Tensor, k: Tensor, v: Tensor, R: Tensor, mask: Tensor) -> Tensor:  # noqa: N803
        """Output (B, T, C) of the segment `x` (B, T, C) from the keys and values of its context, itself included."""
        y = self._weights(x, k, R, mask) @ v  # (B, H, T, D)
        y = self.projection(y.transpose(1, 2).reshape(x.shape))
        return F.dropout(y, self.dropout, self.training)

    def forward(self, x: Tensor, context: Tensor, R: Tensor, mask: Tensor) -> Tensor:  # noqa: N803
        """Output (B, T, C) of the segment `x` (B, T, C). `context` (B, S, C) is the memory and the segment, `R` (S, C) the encodings of
        the distances, `mask` (T, S) the causal one."""
        return self.attend(x, *self.keys_values(context), R, mask)

    def weights(self, x: Tensor, context: Tensor, R: Tensor, mask: Tensor) -> Tensor:  # noqa: N803
        """The attention weights of `forward`, (B, H, T, S): row t holds those of query t over the memory and tokens 0 to t."""
        return self._weights(x, self.keys_values(context)[0], R, mask)


class FeedForward(nn.Module):
    """Two linear maps with a gelu between them, at every token alone."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.expansion = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = self.projection(F.gelu(self.expansion(x), approximate="tanh"))
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy of the residual stream and adds to it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=1e-5)
        self.attention = RelativeAttention(width, heads, dropout)
        self.norm_2 = nn.LayerNorm(width, eps=1e-5)
        self.feed_forward = FeedForward(width, dropout)
        self.memory = nn.Identity()  # the memory passes it, so that it can be looked at and touched

    def _normalised(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([self.memory(memory), x], dim=1)  # (B, S, C): the memory holds what came into the block, before this norm
        context = self.norm_1(inputs)
        return context[:, memory.shape[1] :], context

    def forward(self, x: Tensor, memory: Tensor, R: Tensor, mask: Tensor) -> Tensor:  # noqa: N803
        """The residual stream (B, T, C) after this block; `memory` (B, M, C) holds the block's inputs for the tokens before."""
        x = x + self.attention(*self._normalised(x, memory), R, mask)
        out: Tensor = x + self.feed_forward(self.norm_2(x))
        return out

    def weights(self, x: Tensor, memory: Tensor, R: Tensor, mask: Tensor) -> Tensor:  # noqa: N803
        """Attention weights, (B, H, T, S)."""
        return self.attention.weights(*self._normalised(x, memory), R, mask)


class TransformerXL(nn.Module):
    """A decoder over `vocabulary` tokens that reads a text segment by segment."""

    def __init__(self, vocabulary: int, *, layers: int, heads: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.apply(self._initialise)
        for name, parameter in self.named_parameters():
            if name.endswith("projection.weight"):  # 2 L of them add to the residual stream: keep its variance
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers))

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, RelativeAttention):
            nn.init.normal_(module.u, std=0.02)
            nn.init.normal_(module.v, std=0.02)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of every layer."""
        for module in self.modules():
            if isinstance(module, (TransformerXL, RelativeAttention, FeedForward)):
                module.dropout = dropout

    @property
    def heads(self) -> int:
        """Attention heads of each layer."""
        block = self.blocks[0]
        assert isinstance(block, Block)
        return block.attention.heads

    def empty_memory(self, batch: int) -> Memory:
        """The memory at the start of a stream: no tokens."""
        weight = self.tokens.weight
        return [weight.new_empty(batch, 0, weight.shape[1]) for _ in self.blocks]

    def head(self, x: Tensor) -> Tensor:
        """Logits (B, T, V) from the residual stream: the final norm, then the tied embedding."""
        return F.linear(self.norm(x), self.tokens.weight)

    def positions(self, idx: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """R, the encodings of all distances (S, C), and the causal mask (T, S); every layer shares them."""
        length, weight = memory[0].shape[1], self.tokens.weight
        R = sinusoids(length + idx.shape[1], weight.shape[1], idx.device).to(weight.dtype)  # noqa: N806
        return F.dropout(R, self.dropout, self.training), causal_mask(idx.shape[1], length, idx.device).to(weight.dtype)

    def embed(self, idx: Tensor) -> Tensor:
        """The residual stream (B, T, C) before the first block."""
        return F.dropout(self.tokens(idx) * math.sqrt(self.tokens.weight.shape[1]), self.dropout, self.training)

    def residuals(self, idx: Tensor, memory: Memory) -> list[Tensor]:
        """The residual stream before the first block and after each one: 1 + L tensors (B, T, C), for a segment that follows `memory`."""
        R, mask = self.positions(idx, memory)  # noqa: N806
        residuals = [self.embed(idx)]
        for block, before in zip(self.blocks, memory, strict=True):
            residuals.append(block(residuals[-1], before, R, mask))
        return residuals

    def forward(self, idx: Tensor, memory: Memory | None = None, keep: int = 0) -> tuple[Tensor, Memory]:
        """Logits (B, T, V) of the token after each of `idx` (B, T), which follows `memory`; and the memory for the next segment, of at
        most `keep` tokens."""
        memory = self.empty_memory(len(idx)) if memory is None else memory
        *inputs, last = self.residuals(idx, memory)
        return self.head(last), update_memory(memory, inputs, keep)

    def weights(self, idx: Tensor, memory: Memory) -> list[Tensor]:
        """The attention weights of each layer, (B, H, T, S)."""
        R, mask = self.positions(idx, memory)  # noqa: N806
        weights = []
        for block, x, before in zip(self.blocks, self.residuals(idx, memory), memory, strict=False):
            assert isinstance(block, Block)
            weights.append(block.weights(x, before, R, mask))
        return weights


def update_memory(memory: Memory, inputs: list[Tensor], keep: int) -> Memory:
    """The inputs of each layer for the last `keep` tokens of `memory` and the segment after it, without their gradient."""
    return [
        torch.cat([before, x.detach()], dim=1)[:, max(0, before.shape[1] + x.shape[1] - keep) :]
        for before, x in zip(memory, inputs, strict=True)
    ]


def segments(idx: Tensor, block: int) -> list[Tensor]:
    """`idx` (B, N) in segments of `block` tokens; the first one is shorter where they do not divide."""
    first = idx.shape[1] % block
    sizes = [first] * (first > 0) + [block] * (idx.shape[1] // block)
    return list(torch.split(idx, sizes, dim=1)) if sizes else []


@torch.no_grad()
def memory_after(model: TransformerXL, idx: Tensor, block: int, keep: int) -> Memory:
    """The memory after all `segments` of `idx` (B, N), of at most `keep` tokens, starting with an empty one."""
    memory = model.empty_memory(len(idx))
    for segment in segments(idx, block):
        memory = update_memory(memory, model.residuals(segment, memory)[:-1], keep)
    return memory


class Segment(nn.Module):
    """One segment after a memory, as one map of tensors; the caller cuts the memory to its length."""

    def __init__(self, model: TransformerXL) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of tokens (B, T) after `memory` (L, B, M, C), and the memory with this segment, (L, B, M + T, C)."""
        *inputs, last = self.model.residuals(idx, list(memory))
        return self.model.head(last), torch.cat([memory, torch.stack(inputs)], dim=2)
