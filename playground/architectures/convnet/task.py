"""Training and judging a ConvNet on images."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.architectures.convnet import ConvNetSettings, check_depth
from dlplay.architectures.convnet.augmentation import augment
from dlplay.architectures.convnet.baselines import measure_baselines
from dlplay.architectures.convnet.model import ConvNet
from dlplay.architectures.convnet.panels import ConvNetPanels
from dlplay.data.batches import Batches
from dlplay.data.images import load_images
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.task import Task
from dlplay.parts.ink import usual_frame
from dlplay.parts.optimizers import decay_groups, schedule, set_rates

EVALUATED_AT_ONCE = 1000


class ConvNetTask(ConvNetPanels, Task[ConvNetSettings]):
    """Cross-entropy of the classes, on images that lie on the device as whole numbers."""

    questions: ClassVar[dict[str, str]] = ConvNetPanels.questions

    def __init__(self, settings: ConvNetSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.images = load_images(settings.data, settings.image_size)
        if assets is not None:
            self._check_assets(assets)
        check_depth(settings, min(self.images.shape[1:]))
        self.data = self.images.words
        self.digest = self.images.digest()
        self.frame = usual_frame(self.images.train_images)
        self.train_images, self.train_labels = self._resident(self.images.train_images), self._resident(self.images.train_labels)
        self.test_images, self.test_labels = self._resident(self.images.test_images), self._resident(self.images.test_labels)
        mean, std = cell_statistics(torch.from_numpy(self.images.train_images))
        self.model = ConvNet(
            self.images.shape,
            len(self.images.classes),
            settings.channels,
            settings.kernel,
            settings.pooling,
            settings.norm,
            settings.activation,
            settings.dropout,
            mean,
            std,
        ).to(device)
        self.models = {"net": self.model}
        self.optimizer = make_optimizer(self.model, settings)
        self.optimizers = {"net": self.optimizer}
        self.generators = {
            "order": torch.Generator().manual_seed(settings.seed),
            "augment": torch.Generator().manual_seed(settings.seed + 1),
        }
        self.batches = Batches(len(self.train_labels), settings.batch, self.generators["order"], device)

    def _resident(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _check_assets(self, assets: dict[str, Any]) -> None:
        """Raises `DataError` unless a checkpoint's net fits the data."""
        own = (list(self.images.shape), len(self.images.classes))
        if own != (list(assets["shape"]), len(assets["classes"])):
            raise DataError(
                f"the checkpoint's net takes images of shape {tuple(assets['shape'])} in {len(assets['classes'])} classes, "
                f"and {self.images.name} has {self.images.shape} in {len(self.images.classes)}; use --data {assets['data']}"
            )

    def train_step(self) -> dict[str, Tensor]:
        """One batch."""
        indices = self.batches.next()  # (B,)
        images, labels = self.train_images[indices].float(), self.train_labels[indices]  # (B, C, H, W), (B,)
        if self.settings.augment:
            images = augment(images, self.images.full, self.generators["augment"])
        logits = self.model(images)  # (B, classes)
        loss = F.cross_entropy(logits, labels)
        self._set_rates()
        self.minimise(loss, self.optimizer)
        return {"train_loss": loss.detach(), "train_accuracy": (logits.detach().argmax(1) == labels).float().mean()}

    def _set_rates(self) -> None:
        settings = self.settings
        lr = settings.lr * schedule(settings.schedule, self.step / settings.steps)
        others = {"momentum": settings.momentum} if settings.optimizer == "sgd" else {"betas": (settings.momentum, 0.999)}
        set_rates(self.optimizer, lr=lr, weight_decay=settings.weight_decay, **others)

    def evaluate(self) -> dict[str, float]:
        """Mean loss in nats and share of right answers, over all held-out images."""
        losses, right = [], []
        for first in range(0, len(self.test_labels), EVALUATED_AT_ONCE):
            images, labels = self.test_images[first : first + EVALUATED_AT_ONCE], self.test_labels[first : first + EVALUATED_AT_ONCE]
            logits = self.model(images.float())
            losses.append(F.cross_entropy(logits, labels, reduction="sum"))
            right.append((logits.argmax(1) == labels).sum())
        count = len(self.test_labels)
        return {"test_loss": math.fsum(torch.stack(losses).tolist()) / count, "test_accuracy": sum(torch.stack(right).tolist()) / count}

    def change(self, settings: ConvNetSettings) -> None:
        """Rates are read at every step; dropout is told to its module."""
        super().change(settings)
        self.model.dropout.p = settings.dropout

    def baselines(self) -> dict[str, dict[str, float]]:
        """Accuracy of logistic regression, a nearest neighbour and a support vector machine on the same split."""
        return {"test_accuracy": measure_baselines(self.images)}

    def baselines_key(self) -> str:
        """The data and the split."""
        return f"convnet-2-{self.digest}"

    def assets(self) -> dict[str, Any]:
        """What the data decided about the net."""
        return {"data": self.images.name, "classes": list(self.images.classes), "shape": list(self.images.shape), "full": self.images.full}

    def graphs(self) -> dict[str, Graph]:
        """Images, with cells as the data has them, to logits."""
        images = self.test_images[:2].float()
        return {"net": Graph(self.model, {"images": images}, ("logits",), {"images": {0: "batch"}})}

    def data_key(self) -> str:
        """A digest of the images."""
        return self.digest

    def extra_state(self) -> dict[str, Any]:
        """The position in the data."""
        return {"batches": self.batches.state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`. Raises `DataError`."""
        try:
            self.batches.load_state(extra["batches"])
        except ValueError as error:
            raise DataError(str(error)) from None


def cell_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the cells of each channel, (C,) each, over training images (N, C, H, W) of bytes."""
    counts = torch.stack([torch.bincount(images[:, channel].flatten().int(), minlength=256) for channel in range(images.shape[1])]).double()
    values = torch.arange(256, dtype=torch.float64)
    shares = counts / counts.sum(1, keepdim=True)  # (C, 256)
    mean = shares @ values
    variance = shares @ values.square() - mean.square()
    return mean.float(), variance.clamp(min=1e-6).sqrt().float()


def make_optimizer(model: nn.Module, settings: ConvNetSettings) -> torch.optim.Optimizer:
    """The chosen optimiser, fused; weight decay on kernels and matrices alone."""
    groups = decay_groups(model)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, fused=True)
