"""What can be seen in the blobs room."""

import torch
from torch import Tensor

from dlplay.engine.panels import Array, Scatter
from dlplay.engine.settings import Options

from .model import Classifier


class BlobsPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, model: Classifier, points: Tensor, labels: Tensor) -> None:
        self.model, self.points, self.labels = model, points, labels

    def plane(self, options: Options) -> Scatter:
        y, x = torch.meshgrid(torch.linspace(4, -4, 40), torch.linspace(-4, 4, 80), indexing="ij")
        grid = torch.stack([x, y], dim=-1).to(self.points.device)  # (40, 80, 2), the top row first
        return Scatter(
            points=Array.of(self.points.cpu()),
            groups=self.labels.tolist(),
            names=["first", "second"],
            background=Array.of(self.model(grid).softmax(dim=-1)[..., 1].cpu()),
            bounds=(-4.0, 4.0, -4.0, 4.0),
        )
