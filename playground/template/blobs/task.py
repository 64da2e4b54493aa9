"""Training and evaluating the classifier of the blobs room."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.engine.dataset import Generated
from dlplay.engine.task import Task

from .model import Classifier
from .panels import BlobsPanels
from .settings import BlobsSettings

CENTRES = torch.tensor([[-1.0, -0.5], [1.0, 0.5]])


def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (count, 2) of two Gaussians, and their classes (count,)."""
    labels = torch.randint(2, (count,), generator=generator)
    return CENTRES[labels] + torch.randn(count, 2, generator=generator), labels


class BlobsTask(Task[BlobsSettings]):
    """Cross-entropy on fresh points at every step."""

    def __init__(self, settings: BlobsSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.dataset = Generated("two Gaussians; 32 fresh points at every step, 500 held out")
        self.models["net"] = self.model = Classifier().to(device)
        self.optimizers["net"] = self.optimizer = torch.optim.SGD(self.model.parameters(), lr=settings.lr, fused=True)
        self.generators["data"] = torch.Generator().manual_seed(settings.seed)
        self.points, self.labels = (held_out.to(device) for held_out in draw(500, torch.Generator().manual_seed(1_000_003)))

    def train_step(self) -> dict[str, Tensor]:
        points, labels = (self.share(part).to(self.device) for part in draw(32, self.generators["data"]))
        with self.autocast():
            loss = F.cross_entropy(self.model(points), labels)
        self.optimizer.param_groups[0]["lr"] = self.settings.lr  # it may change during a run
        self.minimise(loss, self.optimizer)
        return {"train_loss": loss.detach()}

    def evaluate(self) -> dict[str, float]:
        return {"test_accuracy": float((self.model(self.points).argmax(dim=1) == self.labels).float().mean())}

    def baselines(self) -> dict[str, dict[str, float]]:
        nearest = torch.cdist(self.points, CENTRES.to(self.device)).argmin(dim=1)
        return {"test_accuracy": {"nearest centre": float((nearest == self.labels).float().mean())}}

    def panels(self) -> BlobsPanels:
        return BlobsPanels(self.model, self.points, self.labels)
