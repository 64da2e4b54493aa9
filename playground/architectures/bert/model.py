"""BERT (Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, 2018): the `nn.Module` alone.

Post-layer-norm blocks, learned positions and segments, the exact gelu, norms with an epsilon of 1e-12; a masked word is read off through a
dense layer, gelu, a norm and the token embedding once more. Dropout acts on the embedding and on what each half of a block adds, not on
attention weights, so that the fused kernel never forms them. It begins otherwise than BERT, which had a million steps to find where to
look: positions begin as waves and queries as keys, so that a token looks at itself above all at first, and at its
neighbours more than at others. In the comments B is the batch, T the
tokens of a window, C the width, H the heads, V the vocabulary.

The parts carry BERT's names: `blocks.N.attention.qkv` is its query, key and value one below the other, `attention.projection` and `norm_1`
its `attention.output`, `feed_forward.expansion` its `intermediate`, `feed_forward.projection` and `norm_2` its `output`, `head` its
`cls.predictions`, `next_sentence` its `cls.seq_relationship`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12


class Embeddings(nn.Module):
    """What a token is, where it stands and in which segment, added up and normalised."""

    def __init__(self, vocabulary: int, width: int, block_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(block_size, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, idx: Tensor, segments: Tensor | None = None) -> Tensor:
        """(B, T, C) of tokens `idx` (B, T); without `segments` (B, T) all are in the first."""
        x = self.tokens(idx) + self.positions.weight[: idx.shape[1]]  # (B, T, C)
        x = x + (self.segments.weight[0] if segments is None else self.segments(segments))
        return F.dropout(self.norm(x), self.dropout, self.training)


class Attention(nn.Module):
    """Every token looks at every other, over all heads at once."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def look_near(self) -> None:
        """Let queries begin as keys, and large: places are waves, so that every token begins by looking at
        itself, and less at others the farther off they are."""
        width = self.projection.in_features
        keys = 1.5 * self.qkv.weight[width : 2 * width]
        self.qkv.weight[: 2 * width] = torch.cat([keys, keys])

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of every head."""
        B, T, C = x.shape  # noqa: N806
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)  # (B, H, T, C / H) each
        return q, k, v

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, T, C); nobody looks where `seen` (B, 1, 1, T) is False."""
        q, k, v = self.split(x)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)  # (B, H, T, C / H)
        y = self.projection(y.transpose(1, 2).reshape(x.shape))  # (B, T, C)
        return F.dropout(y, self.dropout, self.training)

    def weights(self, x: Tensor) -> Tensor:
        """The softmax weights that `forward` never forms, (B, H, T, T): row t says how token t looks at all of them."""
        q, k, _ = self.split(x)
        return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)


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
    """Attention, then feed-forward; the sum of each with what it read is normalised."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm_1 = nn.LayerNorm(width, eps=EPSILON)
        self.feed_forward = FeedForward(width, dropout)
        self.norm_2 = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """The hidden states (B, T, C) after this block."""
        x = self.norm_1(x + self.attention(x, seen))
        y: Tensor = self.norm_2(x + self.feed_forward(x))
        return y


class MaskedWordHead(nn.Module):
    """From a hidden state to the logits of the word that stands there; the last map is the token embedding."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(…, C) to (…, V), with `embedding` (V, C)."""
        return F.linear(self.norm(F.gelu(self.dense(x))), embedding, self.bias)


def waves(places: int, width: int) -> Tensor:
    """Sines and cosines (places, C) of lengths from 4 tokens to twice all places, with a mean square of 1 (Vaswani et al., 2017, had them
    longer, for longer texts)."""
    ratio = torch.linspace(0, 1, (width + 1) // 2)
    length = 4 * (places / 2) ** ratio  # (C / 2,)
    angle = 2 * math.pi * torch.arange(places)[:, None] / length  # (places, C / 2)
    found: Tensor = math.sqrt(2) * torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
    return found


class BERT(nn.Module):
    """An encoder over `vocabulary` tokens that reads at most `block_size` of them.

    The pooler is there when something reads from it: the head that tells whether the second segment follows the first (`next_sentence`), or
    the one that tells texts apart by `classes`.
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
        next_sentence: bool = False,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.block_size = block_size
        self.embeddings = Embeddings(vocabulary, width, block_size, dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.head = MaskedWordHead(vocabulary, width)
        self.pooler = nn.Linear(width, width) if next_sentence or classes else None
        self.next_sentence = nn.Linear(width, 2) if next_sentence else None
        self.classifier = nn.Linear(width, classes) if classes else None
        std = 0.02 * math.sqrt(768 / width)  # as far from uniform attention as BERT begins with its width of 768
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.embeddings.positions.weight.copy_(std * waves(block_size, width))
            for module in self.modules():
                if isinstance(module, Attention):
                    module.look_near()

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of every layer."""
        for module in self.modules():
            if isinstance(module, (Embeddings, Attention, FeedForward)):
                module.dropout = dropout

    def streams(self, idx: Tensor, segments: Tensor | None = None, valid: Tensor | None = None) -> list[Tensor]:
        """The hidden states before the first block and after each one: 1 + L tensors (B, T, C).

        `valid` (B, T) is False where a row is filled up behind its end; what stands there is seen by nobody. Raises `ValueError` when more
        than `block_size` tokens come together.
        """
        if idx.shape[1] > self.block_size:
            raise ValueError(f"{idx.shape[1]} tokens do not fit in a block of {self.block_size}")
        seen = None if valid is None else valid[:, None, None, :]  # (B, 1, 1, T)
        found = [self.embeddings(idx, segments)]
        for block in self.blocks:
            found.append(block(found[-1], seen))
        return found

    def forward(self, idx: Tensor, segments: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """The last hidden states, (B, T, C); see `streams`."""
        return self.streams(idx, segments, valid)[-1]

    def logits(self, hidden: Tensor) -> Tensor:
        """Of the word at each place, (…, V), from hidden states (…, C)."""
        found: Tensor = self.head(hidden, self.embeddings.tokens.weight)
        return found

    def pool(self, hidden: Tensor) -> Tensor:
        """What stands for a whole row, (B, C): a dense layer and tanh over the first hidden state of (B, T, C)."""
        assert self.pooler is not None
        return torch.tanh(self.pooler(hidden[:, 0]))


class MaskedWords(nn.Module):
    """Encoder and head together, as one map of tensors."""

    def __init__(self, model: BERT) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, T, V) of the word at every place."""
        return self.model.logits(self.model(idx, segments, valid))


class Classes(nn.Module):
    """Encoder, pooler and classifier together, as one map of tensors."""

    def __init__(self, model: BERT) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, segments: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, classes) of whole texts."""
        assert self.model.classifier is not None
        found: Tensor = self.model.classifier(self.model.pool(self.model(idx, segments, valid)))
        return found
