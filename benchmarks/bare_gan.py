"""The GAN's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import dataclasses
import sys

import torch

from benchmarks.timing import Stopwatch
from dlplay.architectures.gan.model import MLPDiscriminator, MLPGenerator
from dlplay.architectures.gan.settings import GANSettings
from dlplay.data.points import load_points

STEPS = 2000
"""Steps of one measurement: some ten seconds of a slow machine."""


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = dataclasses.replace(GANSettings(), steps=steps)
    batch = settings.batch
    data = torch.from_numpy(load_points(settings.data).train)
    generator = MLPGenerator((2,), settings.latent, settings.layers, settings.width)
    critic = MLPDiscriminator((2,), settings.layers, settings.width, settings.dropout)
    of_generator = torch.optim.AdamW(generator.parameters(), lr=settings.lr, betas=(0.5, 0.9), weight_decay=0.0, fused=True)
    of_critic = torch.optim.AdamW(critic.parameters(), lr=settings.critic_lr, betas=(0.5, 0.9), weight_decay=0.0, fused=True)
    order, noise = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    stopwatch = Stopwatch()
    for step in range(steps):
        for optimizer, lr in ((of_generator, settings.lr), (of_critic, settings.critic_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - step / steps)
        for _ in range(settings.critic_steps):
            real = data[torch.randint(len(data), (batch,), generator=order)]
            with torch.no_grad():
                fake = generator(torch.randn(batch, settings.latent, generator=noise))
            outputs = critic(torch.cat([real, fake]))
            alpha = torch.rand(batch, 1, generator=noise)
            between = torch.lerp(real, fake, alpha).requires_grad_()
            (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = (gradient.norm(dim=1) - 1).square().mean()
            critic_loss = outputs[batch:].mean() - outputs[:batch].mean() + settings.penalty * penalty
            of_critic.zero_grad()
            critic_loss.backward()
            of_critic.step()
        critic.requires_grad_(False)
        loss = -critic(generator(torch.randn(batch, settings.latent, generator=noise))).mean()
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()
        critic.requires_grad_(True)
    stopwatch.report(steps, critic_loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
