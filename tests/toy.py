"""A task small enough to know by heart: one weight vector, mean squared error, noise from its own generator and dropout."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import nn

from dlplay.engine.card import ActionCard, Card, ChartCard, PanelCard
from dlplay.engine.dataset import Generated
from dlplay.engine.panels import Array, Bars, HeatMap
from dlplay.engine.settings import Options, Settings
from dlplay.engine.task import Task


@dataclass(frozen=True, kw_only=True)
class ToySettings(Settings):
    lr: Annotated[float, Meta(gt=0, le=1e9, extra={"live": True})] = 0.05
    """Step size."""

    width: Annotated[int, Meta(ge=1, le=64)] = 4
    """Number of weights."""

    steps: Annotated[int, Meta(ge=1, le=10**9, extra={"live": True})] = 40
    """Training ends after this many steps."""


@dataclass(frozen=True, kw_only=True)
class ShadeOptions(Options):
    row: Annotated[int, Meta(ge=0, le=3)] = 0
    """Which row."""


class ToyTask(Task[ToySettings]):
    def __init__(self, settings: ToySettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        model = nn.Sequential(nn.Linear(settings.width, 8), nn.Dropout(0.1), nn.Linear(8, 1))
        self.models = {"model": model.to(device)}
        self.optimizers = {"model": torch.optim.AdamW(model.parameters(), lr=settings.lr, fused=True)}
        self.generators = {"data": torch.Generator().manual_seed(settings.seed)}
        self.truth = torch.arange(1.0, settings.width + 1)
        self.poison_at = -1
        self.kicks = 0
        self.dataset = Generated("a line")

    def train_step(self) -> dict[str, torch.Tensor]:
        x = torch.randn(16, self.settings.width, generator=self.generators["data"])
        y = x @ self.truth
        loss = (self.models["model"](x).squeeze(1) - y).square().mean()
        if self.step == self.poison_at:
            loss = loss * float("nan")
        for group in self.optimizers["model"].param_groups:
            group["lr"] = self.settings.lr
        norm = self.minimise(loss, self.optimizers["model"], clip=1.0)
        return {"train_loss": loss.detach(), **norm}

    def evaluate(self) -> dict[str, float]:
        x = torch.eye(self.settings.width)
        return {"test_mse": float((self.models["model"](x).squeeze(1) - x @ self.truth).square().mean())}

    def baselines(self) -> dict[str, dict[str, float]]:
        return {"test_mse": {"mean": float(self.truth.var())}}

    def panels(self) -> "ToyPanels":
        return ToyPanels(self)

    def actions(self) -> "ToyActions":
        return ToyActions(self)

    def extra_state(self) -> dict[str, Any]:
        return {"kicks": self.kicks}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.kicks = extra["kicks"]


class ToyPanels:
    def __init__(self, task: ToyTask) -> None:
        self.task = task

    def weights(self, options: Options) -> HeatMap:
        return HeatMap(values=Array.of(self.task.models["model"][0].weight), signed=True)

    def noise(self, options: ShadeOptions) -> Bars:
        noise = torch.rand(3) + torch.rand(3, generator=self.task.generators["data"])
        self.task.models["model"](torch.randn(2, self.task.settings.width))
        return Bars(labels=["a", "b", "c"], values=noise.tolist())


class ToyActions:
    def __init__(self, task: ToyTask) -> None:
        self.task = task

    def kick(self, options: Options) -> None:
        self.task.kicks += 1
        with torch.no_grad():
            next(self.task.models["model"].parameters()).add_(0.1)


card = Card(
    name="toy",
    title="Toy",
    summary="A line.",
    settings=ToySettings,
    task="tests.toy:ToyTask",
    metric="test_mse",
    better="lower",
    charts=(ChartCard("Loss", train=("train_loss",), held_out=("test_mse",)),),
    panels=(PanelCard("weights", "Weights", "", ""), PanelCard("noise", "Noise", "", "", options=ShadeOptions)),
    actions=(ActionCard("kick", "Kick", ""),),
)
