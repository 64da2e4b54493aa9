"""The ConvNet's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import Stopwatch
from dlplay.architectures.convnet.model import ConvNet
from dlplay.architectures.convnet.settings import ConvNetSettings
from dlplay.architectures.convnet.task import channel_statistics
from dlplay.data.images import load_images
from dlplay.parts.optimizers import MOMENTUM_CYCLE, cycle, make_optimizer, schedule

STEPS = 3000
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
    settings = ConvNetSettings()
    images = load_images(settings.data, settings.image_size)
    x, y = torch.from_numpy(images.train_images), torch.from_numpy(images.train_labels)
    mean, std = channel_statistics(x)
    model = ConvNet(images.shape, len(images.classes), settings.channels, dropout=settings.dropout, mean=mean, std=std)
    optimizer = make_optimizer(model, settings)
    order = batches(len(y), settings.batch, torch.Generator().manual_seed(0))
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * schedule(settings.schedule, step / steps)
            group["betas"] = (settings.momentum - MOMENTUM_CYCLE * cycle(step / steps), 0.999)
            group["weight_decay"] = settings.weight_decay if group["decays"] else 0.0
        indices = next(order)
        loss = F.cross_entropy(model(x[indices].float()), y[indices])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
