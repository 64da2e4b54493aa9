"""Transformer-XL (Dai et al., Transformer-XL: Attentive Language Models beyond a Fixed-Length Context, 2019): the `nn.Module` alone.

A text is read in segments. What went into each layer is kept, without its gradient, as a memory that the next segment attends to beside
itself; hence positions must be relative: a token knows how far back another one lies, not where it stands. Equations are the paper's,
section 3.3; u and v are each layer's own, as in the authors' WikiText-103 model. Departures: blocks are pre-layer-norm as in GPT-2, with
its gelu, the token embedding is the output head, and dropout acts on the embeddings and on what each half of a block adds.

In the comments B is the batch, T the tokens of the segment, M those of the memory, S = M + T, C the width, H the heads, D = C / H, V the
vocabulary, L the layers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Memory = list[Tensor]
"""What went into each layer for the tokens before, (B, M, C) each, one a layer; no gradient flows into it."""


def relative_shift(x: Tensor) -> Tensor:
    """From scores by distance, (…, T, S), to scores by place.

    Column c of `x` is the distance S - 1 - c, so row i must move left by T - 1 - i to have the key at place j in column j, i + M - j tokens
    back. A column in front and another reading of the same numbers do so for all rows at once (the paper's appendix B). What comes to lie
    beyond place i + M, in the future, belongs to the next row: it means nothing and must be masked.
    """
    *batch, T, S = x.shape  # noqa: N806
    return F.pad(x, (1, 0)).view(*batch, S + 1, T)[..., 1:, :].reshape(*batch, T, S)


def sinusoids(count: int, width: int, device: torch.device) -> Tensor:
    """R: the encodings of the distances count - 1 down to 0, (count, width), sines and then cosines (Vaswani et al., 2017)."""
    distance = torch.arange(count - 1, -1, -1, dtype=torch.float32, device=device)
    frequency = 10_000 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angle = distance[:, None] * frequency  # (count, ⌈C / 2⌉)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :width]


def future(segment: int, memory: int, device: torch.device) -> Tensor:
    """What is added to scores (T, S): minus infinity where the key at place j lies after the query at place M + i, 0 elsewhere."""
    return torch.full((segment, memory + segment), -math.inf, device=device).triu(memory + 1)


class RelativeAttention(nn.Module):
    """Causal attention of a segment to its memory and itself, with relative positions.

    The scores are formed here and not in the fused kernel: that one would take the terms by distance as a mask, (B, H, T, S) too, which
    leaves it nothing to save, and with a gradient through the mask it is a fifth slower on a CPU.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)  # W_k,E and W_v
        self.key_distance = nn.Linear(width, width, bias=False)  # W_k,R
        self.u = nn.Parameter(torch.zeros(width))  # beside the query where contents are compared
        self.v = nn.Parameter(torch.zeros(width))  # and where distances are
        self.projection = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, S, C) to (B, H, S, D)

    def _weigh(self, x: Tensor, k: Tensor, R: Tensor, hidden: Tensor) -> Tensor:  # noqa: N803
        q = self._split(self.query(x))  # (B, H, T, D)
        r = self._split(self.key_distance(R)[None])  # (1, H, S, D)
        u, v = (bias.view(self.heads, 1, -1) for bias in (self.u, self.v))
        scale = 1 / math.sqrt(q.shape[-1])
        by_distance = relative_shift((q + v) @ (scale * r).transpose(-2, -1)) + hidden  # terms (b) and (d), (B, H, T, S)
        by_content = (q + u).flatten(0, 1), k.flatten(0, 1).transpose(1, 2)  # of the terms (a) and (c)
        scores = torch.baddbmm(by_distance.flatten(0, 1), *by_content, alpha=scale)
        return scores.view(by_distance.shape).softmax(dim=-1)

    def forward(self, x: Tensor, seen: Tensor, R: Tensor, hidden: Tensor) -> Tensor:  # noqa: N803
        """Output (B, T, C) of the segment `x` (B, T, C), which ends `seen` (B, S, C): the memory and itself; `hidden` is the `future`."""
        k, v = self.key_value(seen).chunk(2, dim=-1)
        y = self._weigh(x, self._split(k), R, hidden) @ self._split(v)  # (B, H, T, D)
        y = self.projection(y.transpose(1, 2).reshape(x.shape))
        return F.dropout(y, self.dropout, self.training)

    def weights(self, x: Tensor, seen: Tensor, R: Tensor, hidden: Tensor) -> Tensor:  # noqa: N803
        """The weights of `forward`, (B, H, T, S): row t says how token t of the segment looks at the memory and at tokens 0 to t."""
        return self._weigh(x, self._split(self.key_value(seen).chunk(2, dim=-1)[0]), R, hidden)


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
    """Attention, then feed-forward; each reads a normalised copy of the stream and adds to it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=1e-5)
        self.attention = RelativeAttention(width, heads, dropout)
        self.norm_2 = nn.LayerNorm(width, eps=1e-5)
        self.feed_forward = FeedForward(width, dropout)

    def _normalised(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.norm_1(torch.cat([memory, x], dim=1))  # (B, S, C): the memory was kept as it came, before this norm
        return seen[:, memory.shape[1] :], seen

    def forward(self, x: Tensor, memory: Tensor, R: Tensor, hidden: Tensor) -> Tensor:  # noqa: N803
        """The stream (B, T, C) after this block; `memory` (B, M, C) is what came into it before."""
        x = x + self.attention(*self._normalised(x, memory), R, hidden)
        out: Tensor = x + self.feed_forward(self.norm_2(x))
        return out

    def weights(self, x: Tensor, memory: Tensor, R: Tensor, hidden: Tensor) -> Tensor:  # noqa: N803
        """Of its attention, (B, H, T, S)."""
        return self.attention.weights(*self._normalised(x, memory), R, hidden)


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
            if name.endswith("projection.weight"):  # 2 L of them add to the stream: keep its variance
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

    def empty(self, batch: int) -> Memory:
        """The memory at the start of a stream: of no token."""
        weight = self.tokens.weight
        return [weight.new_empty(batch, 0, weight.shape[1]) for _ in self.blocks]

    def head(self, x: Tensor) -> Tensor:
        """Logits (B, T, V) from the stream: the final norm, then the tied embedding."""
        return F.linear(self.norm(x), self.tokens.weight)

    def streams(self, idx: Tensor, memory: Memory) -> list[Tensor]:
        """The stream before the first block and after each one, 1 + L tensors (B, T, C), for a segment that follows `memory`."""
        R, hidden = self.places(idx, memory)  # noqa: N806
        found = [F.dropout(self.tokens(idx) * math.sqrt(self.tokens.weight.shape[1]), self.dropout, self.training)]
        for block, before in zip(self.blocks, memory, strict=True):
            found.append(block(found[-1], before, R, hidden))
        return found

    def places(self, idx: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The encodings of all distances (S, C), and what hides the future (T, S); every layer shares them."""
        length, weight = memory[0].shape[1], self.tokens.weight
        R = sinusoids(length + idx.shape[1], weight.shape[1], idx.device).to(weight.dtype)  # noqa: N806
        return F.dropout(R, self.dropout, self.training), future(idx.shape[1], length, idx.device).to(weight.dtype)

    def forward(self, idx: Tensor, memory: Memory | None = None, keep: int = 0) -> tuple[Tensor, Memory]:
        """Logits (B, T, V) of the token after each of `idx` (B, T), which follows `memory`; and the next memory, of at most `keep`."""
        memory = self.empty(len(idx)) if memory is None else memory
        *inputs, last = self.streams(idx, memory)
        return self.head(last), remember(memory, inputs, keep)


def remember(memory: Memory, inputs: list[Tensor], keep: int) -> Memory:
    """What went into each layer for the last `keep` tokens of `memory` and the segment after it, without its gradient."""
    return [
        torch.cat([before, x.detach()], dim=1)[:, max(0, before.shape[1] + x.shape[1] - keep) :]
        for before, x in zip(memory, inputs, strict=True)
    ]


class Segment(nn.Module):
    """One segment after a memory, as one map of tensors: whoever calls it keeps the end of the memory that comes back."""

    def __init__(self, model: TransformerXL) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of tokens (B, T), and with `memory` (L, B, M, C), what went into each layer before, the one for the next
        segment: (L, B, M + T, C)."""
        *inputs, last = self.model.streams(idx, list(memory))
        return self.model.head(last), torch.cat([memory, torch.stack(inputs)], dim=2)
