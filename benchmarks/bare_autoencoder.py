"""The autoencoder's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.timing import Stopwatch
from dlplay.architectures.autoencoder.model import Autoencoder
from dlplay.architectures.autoencoder.settings import AutoencoderSettings
from dlplay.architectures.autoencoder.task import mean_image
from dlplay.data.images import load_images
from dlplay.parts.optimizers import make_optimizer, schedule

STEPS = 10_000
"""Steps of one measurement: some ten seconds of a slow machine."""


def batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    while True:
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(count, generator=generator)])
        yield order[:batch]
        order = order[batch:]


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = AutoencoderSettings()
    images = load_images(settings.data)
    x = torch.from_numpy(images.train_images)
    model = Autoencoder(
        mean_image(images), settings.latent, encoder=settings.encoder, hidden=settings.hidden, activation=settings.activation
    )
    optimizer = make_optimizer(model, settings)
    order = batches(len(x), settings.batch, torch.Generator().manual_seed(0))
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * schedule(settings.schedule, step / steps)
            group["weight_decay"] = settings.weight_decay if group["decays"] else 0.0
        clean = x[next(order)].float() / images.full
        loss = (model(clean) - clean).square().sum() / (2 * len(clean))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    stopwatch.report(steps, loss.item() * 2 / clean[0].numel())  # the squared error per pixel


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
