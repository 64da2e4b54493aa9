"""What an autoencoder is trained on: an error summed over an image's cells and averaged over the images, and its penalties."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.autoencoder.model import Code

NEAR = 1e-6
"""A mean activation is kept this far from 0 and 1, where the divergence or its slope would be infinite."""


def reconstruction_loss(logits: Tensor, output: Tensor, images: Tensor, kind: str) -> Tensor:
    """How far outputs (B, C, H, W) are from images, summed over cells, mean over images.

    `squared` is half the squared error, which is the negative log-likelihood of a normal with deviation 1 but for its constant;
    `cross-entropy` takes each output as the probability of full ink, and `logits` as its logit.
    """
    if kind == "cross-entropy":
        return F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
    return (output - images).square().sum() / (2 * len(images))


def kl_sparsity(code: Tensor, rho: float) -> Tensor:
    """Divergence of a coin with each unit's mean activation over the batch (B, k) from one with `rho`, summed over the units (UFLDL)."""
    mean = code.mean(0).clamp(NEAR, 1 - NEAR)  # (k,)
    return (rho * (rho / mean).log() + (1 - rho) * ((1 - rho) / (1 - mean)).log()).sum()


def l1_sparsity(code: Tensor) -> Tensor:
    """Sum of the sizes of a code's numbers (B, k), mean over images."""
    return code.abs().sum() / len(code)


def kl_normal(code: Code) -> Tensor:
    """Divergence of each unit's normal distribution from the standard one, in nats, (B, k) (Kingma and Welling, 2014)."""
    assert code.log_variance is not None
    return 0.5 * (code.mean.square() + code.log_variance.exp() - 1 - code.log_variance)


def draw(code: Code, generator: torch.Generator) -> Tensor:
    """Codes (B, k) drawn from their distributions, so that gradients reach mean and variance; `generator` is on the CPU."""
    if code.log_variance is None:
        return code.mean
    epsilon = torch.randn(tuple(code.mean.shape), generator=generator).to(code.mean.device)
    return code.mean + (0.5 * code.log_variance).exp() * epsilon
