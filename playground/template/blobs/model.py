"""Softmax regression: the `nn.Module` and nothing else."""

from torch import Tensor, nn


class Classifier(nn.Module):
    """Logits (B, 2) of points (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, points: Tensor) -> Tensor:
        logits: Tensor = self.linear(points)
        return logits
