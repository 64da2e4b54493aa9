"""Two transformers, without any convolution: a generator and a discriminator of images made of patches.

TransGAN (Jiang, Chang, Wang, 2021) is the model, without its stages that upsample: all tokens are there from the first block on.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.architectures.gan.model import Shape


class Attention(nn.Module):
    """Self-attention among all patches.

    The fused kernel has no second derivative, which a gradient penalty needs: `fused` False computes the same step by step.
    """

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        q, k, v = self._split(x)
        y = F.scaled_dot_product_attention(q, k, v) if self.fused else _weights(q, k) @ v
        return self.out(y.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def weights(self, x: Tensor) -> Tensor:
        """Attention weights (B, heads, T, T): row t is the query at token t, and sums to 1."""
        q, k, _ = self._split(x)
        return _weights(q, k)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, heads, T, C / heads) each."""
        batch, tokens, _ = x.shape
        q, k, v = self.query_key_value(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()
        return q, k, v


def _weights(q: Tensor, k: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy of the residual stream and adds to it."""

    def __init__(self, width: int, heads: int, fused: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, fused)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = x + self.dropout(self.attention(self.norm_1(x)))
        return x + self.dropout(self.perceptron(self.norm_2(x)))  # type: ignore[no-any-return]


class TransformerGenerator(nn.Module):
    """A linear layer turns the latent into one token for each patch; after the blocks another turns each token into the patch's pixels."""

    def __init__(self, shape: Shape, latent: int, layers: int, width: int, heads: int, patch: int, fused: bool) -> None:
        super().__init__()
        self.shape, self.patch = shape, patch
        channels, height, width_ = shape
        self.tokens = (height // patch) * (width_ // patch)
        self.seed = nn.Linear(latent, self.tokens * width)
        self.position = nn.Parameter(torch.randn(self.tokens, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, fused) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, channels * patch * patch)

    def forward(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) with pixels from -1 to 1, from latents (B, Z)."""
        x = self.blocks(self.first_tokens(z))
        return torch.tanh(join_patches(self.out(self.norm(x)), self.shape, self.patch))

    def first_tokens(self, z: Tensor) -> Tensor:
        """What the first block reads, (B, T, C), of latents (B, Z)."""
        return self.seed(z).view(len(z), self.tokens, -1) + self.position  # type: ignore[no-any-return]


class TransformerDiscriminator(nn.Module):
    """A vision transformer (Dosovitskiy et al., 2021): patches as tokens, learned positions, and a class token that the output is read
    from."""

    def __init__(self, shape: Shape, layers: int, width: int, heads: int, patch: int, fused: bool, dropout: float) -> None:
        super().__init__()
        self.patch = patch
        channels, height, width_ = shape
        tokens = (height // patch) * (width_ // patch)
        self.embed = nn.Linear(channels * patch * patch, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.decision = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, fused, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits or scores (B,) of images (B, C, H, W)."""
        return self.out(self.norm(self.blocks(self.first_tokens(x))[:, 0]))[:, 0]  # type: ignore[no-any-return]

    def first_tokens(self, x: Tensor) -> Tensor:
        """What the first block reads, (B, 1 + T, C), of images (B, C, H, W): the class token, then the patches."""
        tokens = self.embed(split_patches(x, self.patch)) + self.position
        return torch.cat([self.decision.expand(len(x), 1, -1), tokens], 1)


def attention_weights(net: TransformerGenerator | TransformerDiscriminator, inputs: Tensor, layer: int) -> Tensor:
    """Attention weights (B, heads, T, T) of block `layer` of a network that reads `inputs`."""
    x = net.first_tokens(inputs)
    for block in list(net.blocks)[:layer]:
        x = block(x)
    block = net.blocks[layer]
    assert isinstance(block, Block)
    return block.attention.weights(block.norm_1(x))


def split_patches(images: Tensor, patch: int) -> Tensor:
    """Images (B, C, H, W) as patches (B, T, C * patch * patch), row by row."""
    batch, channels, height, width = images.shape
    pixels = images.view(batch, channels, height // patch, patch, width // patch, patch)
    return pixels.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def join_patches(patches: Tensor, shape: Shape, patch: int) -> Tensor:
    """Patches (B, T, C * patch * patch) as images (B, C, H, W)."""
    channels, height, width = shape
    pixels = patches.view(-1, height // patch, width // patch, channels, patch, patch)
    return pixels.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)
