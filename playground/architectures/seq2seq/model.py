"""The Transformer as first published (Vaswani et al., Attention Is All You Need, 2017): the `nn.Module` and nothing else.

An encoder reads the source with bidirectional self-attention; a decoder generates the output from left to right with causal self-attention
and with cross-attention to the encoder's output, the memory. Norms come after each residual addition as published (post-norm), or before
each sublayer with a final one for each stack (pre-norm; Xiong et al., 2020). Both sides share one vocabulary, so that one embedding, times
the square root of the width, serves the source, the output and, tied, the output head. In the comments B is the batch, S source tokens, T
output tokens, C the width, H the heads, V the vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD, BOS, EOS = 0, 1, 2
"""Padding, the start of an output, and the end of a source or an output."""

UNK = SPECIALS = 3
"""From here on the ids are the tokenizer's, whose first is the unknown token."""

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of all heads, (B, H, S, C / H) each."""

Maps = dict[str, list[Tensor]]
"""Attention weights (B, H, T, S) by kind (encoder, decoder, cross), one tensor a layer."""


@dataclasses.dataclass
class Cache:
    """Keys and values that need not be computed again for the next output token, one pair a layer."""

    memory: list[KeysValues]  # of the cross-attention, (B, H, S, C / H)
    past: list[KeysValues]  # of the decoder's self-attention, (B, H, T, C / H): grows with the output


class Attention(nn.Module):
    """Scaled dot-product attention over all heads at once."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.projection = nn.Linear(width, width)

    def queries(self, x: Tensor) -> Tensor:
        """(B, H, T, C / H)."""
        q: Tensor = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return q

    def keys_values(self, x: Tensor) -> KeysValues:
        """Keys and values of `x` (B, S, C)."""
        k, v = self.key_value(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, S, C / H) each
        return k, v

    def forward(self, x: Tensor, keys_values: KeysValues, mask: Tensor | None, maps: list[Tensor] | None = None) -> Tensor:
        """(B, T, C) to (B, T, C). Keys where `mask`, which broadcasts to (B, H, T, S), is False are not attended to. If there are `maps`,
        the attention weights are appended."""
        if maps is not None:
            maps.append(self.weights(x, keys_values[0], mask))
        y = F.scaled_dot_product_attention(self.queries(x), *keys_values, attn_mask=mask)  # (B, H, T, C / H)
        projected: Tensor = self.projection(y.transpose(1, 2).flatten(2))
        return projected

    def weights(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """The attention weights that the fused kernel never returns, (B, H, T, S): row t holds those of query t over all keys."""
        scores = self.queries(x) @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
        return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(dim=-1)


class FeedForward(nn.Module):
    """Two linear maps with a relu between them, at every token alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expansion = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return self.projection(self.expansion(x).relu())  # type: ignore[no-any-return]


class Residual(nn.Module):
    """The residual connection around a sublayer, with its norm: after the addition (post) or before the sublayer (pre)."""

    def __init__(self, width: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.pre, self.dropout = norm == "pre", dropout
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def before(self, x: Tensor) -> Tensor:
        """The sublayer's input."""
        return self.norm(x) if self.pre else x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """The residual stream after the sublayer's output `y` was added."""
        x = x + F.dropout(y, self.dropout, self.training)
        return x if self.pre else self.norm(x)


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, width: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.attention, self.around_attention = Attention(width, heads), Residual(width, norm, dropout)
        self.feed_forward, self.around_feed_forward = FeedForward(width), Residual(width, norm, dropout)

    def forward(self, x: Tensor, mask: Tensor, maps: Maps | None = None) -> Tensor:
        """The residual stream (B, S, C) after this layer."""
        y = self.around_attention.before(x)
        y = self.attention(y, self.attention.keys_values(y), mask, maps["encoder"] if maps else None)
        x = self.around_attention.after(x, y)
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the memory, then feed-forward."""

    def __init__(self, width: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.attention, self.around_attention = Attention(width, heads), Residual(width, norm, dropout)
        self.cross, self.around_cross = Attention(width, heads), Residual(width, norm, dropout)
        self.feed_forward, self.around_feed_forward = FeedForward(width), Residual(width, norm, dropout)

    def forward(
        self, x: Tensor, memory: KeysValues, mask: Tensor, past: KeysValues | None = None, maps: Maps | None = None
    ) -> tuple[Tensor, KeysValues]:
        """The residual stream (B, T, C) after this layer, and the self-attention's keys and values of `past` and `x` together."""
        y = self.around_attention.before(x)
        k, v = self.attention.keys_values(y)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        queries, keys = x.shape[1], k.shape[2]
        causal = torch.ones(queries, keys, dtype=torch.bool, device=x.device).tril(keys - queries)  # covers padding, which comes last
        x = self.around_attention.after(x, self.attention(y, (k, v), causal, maps["decoder"] if maps else None))
        x = self.around_cross.after(x, self.cross(self.around_cross.before(x), memory, mask, maps["cross"] if maps else None))
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x))), (k, v)


class Positions(nn.Module):
    """A vector for each position: the paper's sines and cosines, or a learned table."""

    table: Tensor  # (longest, C)

    def __init__(self, kind: Literal["sinusoidal", "learned"], longest: int, width: int) -> None:
        super().__init__()
        if kind == "learned":
            self.table = nn.Parameter(torch.randn(longest, width) / math.sqrt(width))
        else:
            self.register_buffer("table", sinusoids(longest, width), persistent=False)

    def forward(self, start: int, count: int) -> Tensor:
        """(count, C), from position `start` on. Raises `ValueError` beyond the longest sequence."""
        if start + count > len(self.table):
            raise ValueError(f"{start + count} tokens do not fit into {len(self.table)} positions")
        return self.table[start : start + count]


def sinusoids(longest: int, width: int) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i / C)), PE(p, 2i + 1) = cos(p / 10000^(2i / C)): (longest, C)."""
    angles = torch.arange(longest)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)  # (longest, C / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


class Seq2Seq(nn.Module):
    """An encoder and a decoder over one vocabulary, for sequences of at most `longest` tokens."""

    def __init__(
        self,
        vocabulary: int,
        *,
        layers: int,
        heads: int,
        width: int,
        longest: int,
        norm: Literal["post", "pre"] = "post",
        positions: Literal["sinusoidal", "learned"] = "sinusoidal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.longest, self.dropout = longest, dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.source_positions = Positions(positions, longest, width)
        self.output_positions = Positions(positions, longest, width)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, norm, dropout) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, norm, dropout) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(width, eps=1e-5) if norm == "pre" else nn.Identity()
        self.decoder_norm = nn.LayerNorm(width, eps=1e-5) if norm == "pre" else nn.Identity()
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):  # variance 1 once it is multiplied by the root of the width
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of every layer."""
        for module in self.modules():
            if isinstance(module, (Seq2Seq, Residual)):
                module.dropout = dropout

    def embed(self, idx: Tensor, positions: Positions, start: int = 0) -> Tensor:
        """The residual stream before the first layer, (B, T, C)."""
        x = self.tokens(idx) * math.sqrt(self.tokens.embedding_dim) + positions(start, idx.shape[1])
        return F.dropout(x, self.dropout, self.training)

    def encode(self, source: Tensor, maps: Maps | None = None) -> tuple[Tensor, Tensor]:
        """The memory (B, S, C) of `source` (B, S), and the mask (B, 1, 1, S), False at padding."""
        mask = (source != PAD)[:, None, None, :]
        x = self.embed(source, self.source_positions)
        for layer in self.encoder:
            x = layer(x, mask, maps)
        return self.encoder_norm(x), mask

    def memory_keys_values(self, memory: Tensor) -> list[KeysValues]:
        """The keys and values of each layer's cross-attention."""
        return [layer.cross.keys_values(memory) for layer in self.decoder]  # type: ignore[operator, union-attr]

    def read(self, source: Tensor, maps: Maps | None = None) -> tuple[list[KeysValues], Tensor]:
        """What the decoder sees of `source` (B, S): the keys and values of each layer's cross-attention, and the mask of `encode`."""
        memory, mask = self.encode(source, maps)
        return self.memory_keys_values(memory), mask

    def decode(
        self, output: Tensor, memory: list[KeysValues], mask: Tensor, cache: Cache | None = None, maps: Maps | None = None
    ) -> Tensor:
        """Logits (B, T, V) of the token after each of `output` (B, T); with a `cache`, `output` follows the tokens read before."""
        start = cache.past[0][0].shape[2] if cache and cache.past else 0
        x = self.embed(output, self.output_positions, start)  # (B, T, C)
        for number, layer in enumerate(self.decoder):
            x, present = layer(x, memory[number], mask, cache.past[number] if cache and start else None, maps)
            if cache is not None:
                cache.past[number : number + 1] = [present]
        return F.linear(self.decoder_norm(x), self.tokens.weight)

    def forward(self, source: Tensor, output: Tensor, maps: Maps | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `output` (B, T), which starts with BOS, given `source` (B, S)."""
        memory, mask = self.read(source, maps)
        return self.decode(output, memory, mask, maps=maps)
