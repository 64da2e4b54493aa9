"""What the two players of a GAN want, each loss as in its paper.

minimax, non-saturating   Goodfellow et al., Generative Adversarial Nets, 2014: the discriminator gives the logit of "real"
wasserstein               Arjovsky, Chintala, Bottou, Wasserstein GAN, 2017: a critic gives a score; its weights are clipped
wasserstein-gp            Gulrajani et al., Improved Training of Wasserstein GANs, 2017: a penalty on its slope instead
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def gives_scores(loss: str) -> bool:
    """Whether the second net is a critic, which gives scores without a zero, and no logits."""
    return loss.startswith("wasserstein")


def discriminator_losses(loss: str, real: Tensor, fake: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The discriminator's loss on real and on fake examples, of its outputs (B,) for them; their sum is what it minimises.

    `label_smoothing` takes that much off the target of real examples alone (one-sided: Salimans et al., 2016).
    """
    if gives_scores(loss):
        return -real.mean(), fake.mean()
    return F.softplus(-real).mean() + label_smoothing * real.mean(), F.softplus(fake).mean()


def generator_loss(loss: str, fake: Tensor) -> Tensor:
    """What the generator minimises, of the discriminator's outputs (B,) for its samples.

    Minimax is log(1 - D), which is flat where the discriminator is sure; non-saturating is -log D, with the same fixed point.
    """
    if gives_scores(loss):
        return -fake.mean()
    return F.softplus(-fake).mean() if loss == "non-saturating" else -F.softplus(fake).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Mean of (|gradient of the critic| - 1)^2 at one point of the line between each real example and a fake one.

    `share` (B,) from 0 to 1 says where on its line each point lies. Real and fake are (B, ...) and get no gradient themselves.
    """
    between = torch.lerp(real, fake, share.view(-1, *[1] * (real.ndim - 1))).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (B,)
    return (slopes - 1).square().mean()


@torch.no_grad()
def clip_weights(parameters: list[Tensor], clip: float) -> None:
    """Cut every weight to -clip..clip."""
    for parameter in parameters:
        parameter.clamp_(-clip, clip)
