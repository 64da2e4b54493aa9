"""GPT-2's decoder (Radford et al., Language Models are Unsupervised Multitask Learners, 2019): the `nn.Module` and nothing else.

Pre-layer-norm blocks, learned positions, gelu in its tanh form, and the token embedding used again as the output head. Dropout acts on the
embedding and on what each half of a block adds, not on attention weights, so that the fused kernel never forms them. In the comments B is
the batch, T the tokens of one window, C the width, H the heads, V the vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of the tokens read so far, (B, H, T, C / H) each, one pair a layer."""


class Attention(nn.Module):
    """Causal self-attention over all heads at once."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of every head."""
        B, T, C = x.shape  # noqa: N806
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)  # (B, H, T, C / H) each
        return q, k, v

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Output (B, T, C), and keys and values of `past` and `x` together."""
        q, k, v = self.split(x)
        if past is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, C / H)
        else:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
            T, S = q.shape[2], k.shape[2]  # noqa: N806
            mask = torch.ones(T, S, dtype=torch.bool, device=x.device).tril(S - T)  # the query at T is the token at S
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = self.projection(y.transpose(1, 2).reshape(x.shape))  # (B, T, C)
        return F.dropout(y, self.dropout, self.training), (k, v)

    def weights(self, x: Tensor) -> Tensor:
        """The attention weights that the fused kernel never returns, (B, H, T, T): row t holds those of query t over keys 0 to t."""
        q, k, _ = self.split(x)
        T = x.shape[1]  # noqa: N806
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        return scores.masked_fill(future, -math.inf).softmax(dim=-1)


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
    """Attention, then feed-forward, if there is one; each reads a normalised copy of the residual stream and adds to it."""

    def __init__(self, width: int, heads: int, dropout: float, feed_forward: bool = True) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=1e-5)
        self.attention = Attention(width, heads, dropout)
        self.feed_forward: FeedForward | None = None
        if feed_forward:
            self.norm_2 = nn.LayerNorm(width, eps=1e-5)
            self.feed_forward = FeedForward(width, dropout)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The residual stream (B, T, C) after this block, and the block's keys and values."""
        y, present = self.attention(self.norm_1(x), past)
        x = x + y
        if self.feed_forward is None:
            return x, present
        return x + self.feed_forward(self.norm_2(x)), present


class GPT(nn.Module):
    """A decoder over `vocabulary` tokens that reads at most `block_size` of them."""

    def __init__(
        self,
        vocabulary: int,
        *,
        layers: int,
        heads: int,
        width: int,
        block_size: int,
        dropout: float = 0.0,
        feed_forward: bool = True,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        self.block_size, self.dropout = block_size, dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(block_size, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, feed_forward) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        for module in self.modules():
            self._initialise(module, init_std)
        for name, parameter in self.named_parameters():
            if name.endswith("projection.weight"):  # 2 L of them add to the residual stream: keep its variance
                nn.init.normal_(parameter, std=init_std / math.sqrt(2 * layers))

    @staticmethod
    def _initialise(module: nn.Module, std: float) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of every layer."""
        for module in self.modules():
            if isinstance(module, (GPT, Attention, FeedForward)):
                module.dropout = dropout

    def embed(self, idx: Tensor, start: int = 0) -> Tensor:
        """The residual stream before the first block, (B, T, C), for tokens from position `start` on."""
        position = torch.arange(start, start + idx.shape[1], device=idx.device)
        return F.dropout(self.tokens(idx) + self.positions(position), self.dropout, self.training)

    def head(self, x: Tensor) -> Tensor:
        """Logits (B, T, V) from the residual stream: the final norm, then the tied embedding."""
        return F.linear(self.norm(x), self.tokens.weight)

    def residuals(self, idx: Tensor) -> list[Tensor]:
        """The residual stream before the first block and after each one: 1 + L tensors (B, T, C)."""
        residuals = [self.embed(idx)]
        for block in self.blocks:
            residuals.append(block(residuals[-1])[0])
        return residuals

    def weights(self, idx: Tensor) -> list[Tensor]:
        """The attention weights of each block over `idx` (B, T): L tensors (B, H, T, T)."""
        found = []
        for block, residual in zip(self.blocks, self.residuals(idx), strict=False):
            assert isinstance(block, Block)
            found.append(block.attention.weights(block.norm_1(residual)))
        return found

    def forward(self, idx: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `idx` (B, T).

        With a `cache`, an empty list at first, `idx` follows the tokens read before, and their keys and values are added to it. Raises
        `ValueError` when more than `block_size` tokens come together.
        """
        start = cache[0][0].shape[2] if cache else 0
        if start + idx.shape[1] > self.block_size:
            raise ValueError(f"{start + idx.shape[1]} tokens do not fit in a block of {self.block_size}")
        x = self.embed(idx, start)  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x, present = block(x, cache[layer] if start and cache else None)
            if cache is not None:
                cache[layer : layer + 1] = [present]
        return self.head(x)
