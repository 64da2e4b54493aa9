"""Training a ConvNet on labelled images, and measuring its accuracy on held-out ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.convnet.model import ConvNet
from dlplay.architectures.convnet.panels import ConvNetPanels
from dlplay.architectures.convnet.settings import ConvNetSettings, check_depth
from dlplay.data.augmentation import augment, cut_out, random_changes
from dlplay.data.batches import Batches
from dlplay.data.images import load_images
from dlplay.engine.dataset import Dataset
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Array
from dlplay.engine.task import Probe, Task
from dlplay.parts.image_baselines import classification_accuracies
from dlplay.parts.ink import ink_frame
from dlplay.parts.optimizers import make_optimizer, update_rates
from dlplay.parts.pictures import pictures

EVAL_BATCH = 1000
PROBED = 360
"""Held-out images that `probe` reads."""


class ConvNetTask(Task[ConvNetSettings]):
    """Cross-entropy of the classes. The images stay on the device as bytes."""

    baselines_version = 2

    @classmethod
    def read_ahead(cls, settings: ConvNetSettings) -> Dataset:
        return load_images(settings.data, settings.image_size)

    def __init__(self, settings: ConvNetSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.images = load_images(settings.data, settings.image_size)
        self.dataset = self.images
        if assets is not None:
            self.images.check(assets, classes=True)
        check_depth(settings, min(self.images.shape[1:]))
        self.frame = ink_frame(self.images.train_images)
        self.train_images = torch.from_numpy(self.images.train_images).to(device)  # (N, C, H, W)
        self.train_labels = torch.from_numpy(self.images.train_labels).to(device)  # (N,)
        self.test_images = torch.from_numpy(self.images.test_images).to(device)
        self.test_labels = torch.from_numpy(self.images.test_labels).to(device)
        mean, std = channel_statistics(torch.from_numpy(self.images.train_images))
        self.model = ConvNet(
            self.images.shape,
            len(self.images.classes),
            settings.channels,
            kernel=settings.kernel,
            pooling=settings.pooling,
            norm=settings.norm,
            activation=settings.activation,
            dropout=settings.dropout,
            residual=settings.kind == "resnet",
            mean=mean,
            std=std,
        ).to(device)
        self.models["net"] = self.model
        self.optimizers["net"] = self.optimizer = make_optimizer(self.model, settings)
        self.generators["order"] = torch.Generator().manual_seed(settings.seed)
        self.generators["augment"] = torch.Generator().manual_seed(settings.seed + 1)
        self.batches = Batches(len(self.train_labels), settings.batch, self.generators["order"])
        self.positions = [self.batches]

    def panels(self) -> ConvNetPanels:
        return ConvNetPanels(self)

    def draw_batch(self) -> tuple[Tensor, ...]:
        """Indices of the images (B,); with `augment` what is changed in them (8, B), with `cutout` where they are filled (2, B)."""
        drawn, generator = [self.batches.next()], self.generators["augment"]
        count = len(drawn[0])
        if self.settings.augment:
            drawn.append(random_changes(count, generator))
        if self.settings.cutout:
            drawn.append(torch.rand(2, count, generator=generator))
        return tuple(drawn)

    def update_rates(self) -> None:
        update_rates(self.optimizer, self.settings, self.step)

    def train_step(self) -> dict[str, Tensor]:
        """One batch."""
        batch, *changes = self.drawn()
        indices = self.share(batch)
        images, labels = self.train_images[indices].float(), self.train_labels[indices]  # (B, C, H, W), (B,)
        if self.settings.augment:
            images = augment(images, self.images.full, self.share(changes.pop(0), dim=1))
        if self.settings.cutout:
            images = cut_out(images, self.settings.cutout, self.model.mean, self.share(changes.pop(0), dim=1))
        with self.autocast():
            logits = self.model(images)  # (B, classes)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
        self.update_rates()
        self.minimise(loss, self.optimizer)
        return {"train_loss": loss.detach(), "train_accuracy": (logits.detach().argmax(1) == labels).float().mean()}

    def evaluate(self) -> dict[str, float]:
        """Mean cross-entropy in nats, and accuracy, over all held-out images."""
        losses, correct = [], []
        for images, labels in zip(torch.split(self.test_images, EVAL_BATCH), torch.split(self.test_labels, EVAL_BATCH), strict=True):
            logits = self.model(images.float())
            losses.append(F.cross_entropy(logits, labels, reduction="sum"))
            correct.append((logits.argmax(1) == labels).sum())
        count = len(self.test_labels)
        return {"test_loss": math.fsum(torch.stack(losses).tolist()) / count, "test_accuracy": sum(torch.stack(correct).tolist()) / count}

    def probe(self) -> Probe:
        """The cross-entropy of each of the first held-out images."""
        logits = self.model(self.test_images[:PROBED].float())
        labels = self.test_labels[:PROBED]
        classes = [self.images.classes[label] for label in labels.tolist()]
        return Probe(F.cross_entropy(logits, labels, reduction="none"), "loss (nats)", groups=classes)

    def probed(self, numbers: Sequence[int]) -> Array:
        return pictures(self.test_images[list(numbers)], self.images.full)

    def change(self, settings: ConvNetSettings) -> None:
        super().change(settings)
        self.model.dropout.p = settings.dropout

    def baselines(self) -> dict[str, dict[str, float]]:
        """Accuracy of logistic regression, a nearest neighbour and a support vector machine on the same split."""
        return {"test_accuracy": classification_accuracies(self.images)}

    def graphs(self) -> dict[str, Graph]:
        """Images, with pixels as the data have them, to logits."""
        images = self.test_images[:2].float()
        return {"net": Graph(self.model, {"images": images}, ("logits",), {"images": {0: "batch"}})}

    def extra_state(self) -> dict[str, Any]:
        """The position in the data."""
        return {"batches": self.batches.state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.batches.load_state(extra["batches"])


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the pixels of each channel, (C,) each, over images (N, C, H, W) of bytes."""
    counts = torch.stack([torch.bincount(images[:, channel].flatten().int(), minlength=256) for channel in range(images.shape[1])]).double()
    values = torch.arange(256, dtype=torch.float64)
    shares = counts / counts.sum(1, keepdim=True)  # (C, 256)
    mean = shares @ values
    variance = shares @ values.square() - mean.square()
    return mean.float(), variance.clamp(min=1e-6).sqrt().float()
