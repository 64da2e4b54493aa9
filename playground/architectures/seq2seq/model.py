"""The Transformer as first published (Vaswani et al., Attention Is All You Need, 2017): the `nn.Module` and nothing else.

An encoder reads the source with every token looking at every other; a decoder says the output from left to right, each token looking at
those before it and, in cross attention, at the encoder's memory. Norms stand after each addition as published, or before each part with a
final one for each stack (Xiong et al., 2020). One vocabulary serves both sides, so that one embedding, times the root of the width,
is the source's, the output's and, again, the output head. In the comments B is the batch, S source tokens, T output tokens, C the width,
H the heads, V the vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD, BOS, EOS = 0, 1, 2
"""What fills up a batch, what an output begins with, and what ends a source and an output."""

UNK = SPECIALS = 3
"""Ids from here on are the tokenizer's, whose first stands for all that is unknown."""

KeysValues = tuple[Tensor, Tensor]
"""Of every head, (B, H, S, C / H) each."""

Maps = dict[str, list[Tensor]]
"""Attention weights (B, H, T, S) by kind (encoder, decoder, cross), one for each layer."""


@dataclasses.dataclass
class Cache:
    """What need not be computed again for the next output token, one pair a layer."""

    memory: list[KeysValues]  # (B, H, S, C / H)
    past: list[KeysValues]  # (B, H, T, C / H), grows


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
        """What `x` (B, S, C) offers to those who look at it."""
        k, v = self.key_value(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, S, C / H) each
        return k, v

    def forward(self, x: Tensor, keys_values: KeysValues, mask: Tensor | None, maps: list[Tensor] | None = None) -> Tensor:
        """(B, T, C); `mask`, True where one may look, broadcasts to (B, H, T, S). The weights are added to `maps` where they are wanted."""
        if maps is not None:
            maps.append(self.weights(x, keys_values[0], mask))
        y = F.scaled_dot_product_attention(self.queries(x), *keys_values, attn_mask=mask)  # (B, H, T, C / H)
        projected: Tensor = self.projection(y.transpose(1, 2).flatten(2))
        return projected

    def weights(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """The softmax weights that `forward` never forms, (B, H, T, S): row t says how token t shares its look out."""
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
    """The connection around a part of a layer, with its norm: after the addition as published, or before the part."""

    def __init__(self, width: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.pre, self.dropout = norm == "pre", dropout
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def before(self, x: Tensor) -> Tensor:
        """What the part reads."""
        return self.norm(x) if self.pre else x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """The stream once the part has added `y` to it."""
        x = x + F.dropout(y, self.dropout, self.training)
        return x if self.pre else self.norm(x)


class EncoderLayer(nn.Module):
    """Every source token looks at all of them, then works by itself."""

    def __init__(self, width: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.attention, self.around_attention = Attention(width, heads), Residual(width, norm, dropout)
        self.feed_forward, self.around_feed_forward = FeedForward(width), Residual(width, norm, dropout)

    def forward(self, x: Tensor, mask: Tensor, maps: Maps | None = None) -> Tensor:
        """The stream (B, S, C) after this layer."""
        y = self.around_attention.before(x)
        y = self.attention(y, self.attention.keys_values(y), mask, maps["encoder"] if maps else None)
        x = self.around_attention.after(x, y)
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))


class DecoderLayer(nn.Module):
    """Every output token looks at those before it, then at the source, then works by itself."""

    def __init__(self, width: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.attention, self.around_attention = Attention(width, heads), Residual(width, norm, dropout)
        self.cross, self.around_cross = Attention(width, heads), Residual(width, norm, dropout)
        self.feed_forward, self.around_feed_forward = FeedForward(width), Residual(width, norm, dropout)

    def forward(
        self, x: Tensor, memory: KeysValues, mask: Tensor, past: KeysValues | None = None, maps: Maps | None = None
    ) -> tuple[Tensor, KeysValues]:
        """The stream (B, T, C) after this layer, and the keys and values of `past` and `x` together."""
        y = self.around_attention.before(x)
        k, v = self.attention.keys_values(y)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        now, read = x.shape[1], k.shape[2]
        earlier = torch.ones(now, read, dtype=torch.bool, device=x.device).tril(read - now)  # padding stands at the end: never earlier
        x = self.around_attention.after(x, self.attention(y, (k, v), earlier, maps["decoder"] if maps else None))
        x = self.around_cross.after(x, self.cross(self.around_cross.before(x), memory, mask, maps["cross"] if maps else None))
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x))), (k, v)


class Positions(nn.Module):
    """A vector for each place: the paper's sines and cosines, or a learned table."""

    table: Tensor  # (longest, C)

    def __init__(self, kind: Literal["sinusoidal", "learned"], longest: int, width: int) -> None:
        super().__init__()
        if kind == "learned":
            self.table = nn.Parameter(torch.randn(longest, width) / math.sqrt(width))
        else:
            self.register_buffer("table", sinusoids(longest, width), persistent=False)

    def forward(self, start: int, count: int) -> Tensor:
        """(count, C), from place `start` on. Raises `ValueError` beyond the longest sequence."""
        if start + count > len(self.table):
            raise ValueError(f"{start + count} tokens do not fit into {len(self.table)} places")
        return self.table[start : start + count]


def sinusoids(longest: int, width: int) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i / C)), PE(p, 2i + 1) = cos(the same), (longest, C)."""
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
        elif isinstance(module, nn.Embedding):  # of variance 1 once it is multiplied by the root of the width
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of every layer."""
        for module in self.modules():
            if isinstance(module, (Seq2Seq, Residual)):
                module.dropout = dropout

    def embed(self, idx: Tensor, positions: Positions, start: int = 0) -> Tensor:
        """The stream before the first layer, (B, T, C)."""
        x = self.tokens(idx) * math.sqrt(self.tokens.embedding_dim) + positions(start, idx.shape[1])
        return F.dropout(x, self.dropout, self.training)

    def encode(self, source: Tensor, maps: Maps | None = None) -> tuple[Tensor, Tensor]:
        """The memory (B, S, C) of `source` (B, S), and where it is not padding, (B, 1, 1, S)."""
        mask = (source != PAD)[:, None, None, :]
        x = self.embed(source, self.source_positions)
        for layer in self.encoder:
            x = layer(x, mask, maps)
        return self.encoder_norm(x), mask

    def remember(self, memory: Tensor) -> list[KeysValues]:
        """The memory as each layer's cross attention sees it."""
        return [layer.cross.keys_values(memory) for layer in self.decoder]  # type: ignore[operator, union-attr]

    def decode(
        self, output: Tensor, memory: list[KeysValues], mask: Tensor, cache: Cache | None = None, maps: Maps | None = None
    ) -> Tensor:
        """Logits (B, T, V) of the token after each of `output` (B, T), which with a `cache` follows the tokens read before."""
        start = cache.past[0][0].shape[2] if cache and cache.past else 0
        x = self.embed(output, self.output_positions, start)  # (B, T, C)
        for number, layer in enumerate(self.decoder):
            x, present = layer(x, memory[number], mask, cache.past[number] if cache and start else None, maps)
            if cache is not None:
                cache.past[number : number + 1] = [present]
        return F.linear(self.decoder_norm(x), self.tokens.weight)

    def forward(self, source: Tensor, output: Tensor, maps: Maps | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `output` (B, T), which begins with BOS, for `source` (B, S)."""
        memory, mask = self.encode(source, maps)
        return self.decode(output, self.remember(memory), mask, maps=maps)
