"""BERT (Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, 2018): the `nn.Module` alone.

Post-layer-norm blocks, learned positions and segments, the exact gelu, norms with an epsilon of 1e-12; the head predicts a masked word
through a dense layer, gelu, a norm and the tied token embedding. Dropout acts on the embedding and on what each half of a block adds, not
on attention weights, so that the fused kernel never forms them. Only the initialisation differs from BERT, which had a million steps to
learn where to attend: positions start as sinusoids and queries equal to keys, so that at first a token attends mostly to itself, and more
to its neighbours than to distant tokens. In the comments B is the batch, T the tokens of one row, C the width, H the heads, V the
vocabulary with its special tokens.

In `transformers`, `blocks.N.attention.qkv` is the query, key and value, `attention.projection` and `norm_1` are `attention.output`,
`feed_forward.expansion` is `intermediate`, `feed_forward.projection` and `norm_2` are `output`, `head` is `cls.predictions` and
`next_sentence` is `cls.seq_relationship`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12


class Embeddings(nn.Module):
    """Token, position and segment embeddings, added and normalised."""

    def __init__(self, vocabulary: int, width: int, block_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(block_size, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, idx: Tensor, segments: Tensor | None = None) -> Tensor:
        """Embeddings (B, T, C) of tokens `idx` (B, T); without `segments` (B, T) all of them are in the first segment."""
        x = self.tokens(idx) + self.positions(torch.arange(idx.shape[1], device=idx.device))  # (B, T, C)
        x = x + self.segments(idx.new_zeros(1) if segments is None else segments)
        return F.dropout(self.norm(x), self.dropout, self.training)


class Attention(nn.Module):
    """Bidirectional self-attention over all heads at once."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def start_local(self) -> None:
        """Initialise queries equal to keys, and large: with sinusoidal positions a token then attends to itself most, and to others less
        the farther away they are."""
        width = self.projection.in_features
        keys = 1.5 * self.qkv.weight[width : 2 * width]
        self.qkv.weight[: 2 * width] = torch.cat([keys, keys])

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of every head."""
        B, T, C = x.shape  # noqa: N806
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)  # (B, H, T, C / H) each
        return q, k, v

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, C) to (B, T, C); keys where `mask` (B, 1, 1, T) is False are not attended to."""
        q, k, v = self.split(x)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, H, T, C / H)
        y = self.projection(y.transpose(1, 2).reshape(x.shape))  # (B, T, C)
        return F.dropout(y, self.dropout, self.training)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The attention weights that the fused kernel never returns, (B, H, T, T): row t holds those of query t over all keys."""
        q, k, _ = self.split(x)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(dim=-1)


class FeedForward(nn.Module):
    """Two linear maps with a gelu between them, at every token alone."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.expansion = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = self.projection(F.gelu(self.expansion(x)))
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """Attention, then feed-forward; the sum of each with its input is normalised."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm_1 = nn.LayerNorm(width, eps=EPSILON)
        self.feed_forward = FeedForward(width, dropout)
        self.norm_2 = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The hidden states (B, T, C) after this block."""
        x = self.norm_1(x + self.attention(x, mask))
        y: Tensor = self.norm_2(x + self.feed_forward(x))
        return y


class MaskedWordHead(nn.Module):
    """From a hidden state to the logits of the word at its position; the last map is the tied token embedding."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Logits (…, V) from hidden states (…, C) and `embedding` (V, C)."""
        return F.linear(self.norm(F.gelu(self.dense(x))), embedding, self.bias)


def sinusoids(positions: int, width: int) -> Tensor:
    """Sines and cosines (positions, C) with wavelengths from 4 tokens to twice all positions and a mean square of 1. (Those of Vaswani et
    al., 2017, are longer, for longer texts.)"""
    ratio = torch.linspace(0, 1, (width + 1) // 2)
    wavelength = 4 * (positions / 2) ** ratio  # (C / 2,)
    angle = 2 * math.pi * torch.arange(positions)[:, None] / wavelength  # (positions, C / 2)
    table: Tensor = math.sqrt(2) * torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
    return table


class BERT(nn.Module):
    """An encoder over `vocabulary` tokens that reads at most `block_size` of them.

    With `masked_words` it has the masked-word head, with `next_sentence` one for next-sentence prediction, with `classes` one that
    classifies texts. The last two read from the pooler, which exists for them, or alone with `pooler`.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        layers: int,
        heads: int,
        width: int,
        block_size: int,
        dropout: float = 0.0,
        masked_words: bool = True,
        next_sentence: bool = False,
        classes: int = 0,
        pooler: bool = False,
    ) -> None:
        super().__init__()
        self.block_size = block_size
        self.embeddings = Embeddings(vocabulary, width, block_size, dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.head = MaskedWordHead(vocabulary, width) if masked_words else None
        self.pooler = nn.Linear(width, width) if next_sentence or classes or pooler else None
        self.next_sentence = nn.Linear(width, 2) if next_sentence else None
        self.classifier = nn.Linear(width, classes) if classes else None
        std = 0.02 * math.sqrt(768 / width)  # attention starts as far from uniform as in BERT with its width of 768
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.embeddings.positions.weight.copy_(std * sinusoids(block_size, width))
            for module in self.modules():
                if isinstance(module, Attention):
                    module.start_local()

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of every layer."""
        for module in self.modules():
            if isinstance(module, (Embeddings, Attention, FeedForward)):
                module.dropout = dropout

    def hidden_states(self, idx: Tensor, segments: Tensor | None = None, valid: Tensor | None = None) -> list[Tensor]:
        """The hidden states before the first block and after each one: 1 + L tensors (B, T, C).

        `valid` (B, T) is False at padding, which no token attends to. Raises `ValueError` when there are more than `block_size` tokens.
        """
        if idx.shape[1] > self.block_size:
            raise ValueError(f"{idx.shape[1]} tokens do not fit in a block of {self.block_size}")
        mask = None if valid is None else valid[:, None, None, :]  # (B, 1, 1, T)
        states = [self.embeddings(idx, segments)]
        for block in self.blocks:
            states.append(block(states[-1], mask))
        return states

    def forward(self, idx: Tensor, segments: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """The last of the `hidden_states`, (B, T, C)."""
        return self.hidden_states(idx, segments, valid)[-1]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of the word at each position, from hidden states (…, C)."""
        assert self.head is not None
        logits: Tensor = self.head(hidden, self.embeddings.tokens.weight)
        return logits

    def pool(self, hidden: Tensor) -> Tensor:
        """A vector (B, C) for each whole row: a dense layer and tanh on the hidden state of [CLS], the first of (B, T, C)."""
        assert self.pooler is not None
        return torch.tanh(self.pooler(hidden[:, 0]))


class EncoderWithHead(nn.Module):
    """Encoder and masked-word head as one module."""

    def __init__(self, model: BERT) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, T, V) of the word at every position."""
        return self.model.logits(self.model(idx, segments, valid))


class EncoderWithClassifier(nn.Module):
    """Encoder, pooler and classifier as one module."""

    def __init__(self, model: BERT) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, classes) of whole texts."""
        assert self.model.classifier is not None
        logits: Tensor = self.model.classifier(self.model.pool(self.model(idx, segments, valid)))
        return logits
