"""A room that is right on any device, and rooms with one fault each."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor

from dlplay.engine.card import Card
from dlplay.engine.panels import Array, Bars, HeatMap
from dlplay.engine.settings import Options
from tests import toy
from tests.toy import ShadeOptions, ToyPanels, ToySettings, ToyTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundSettings(ToySettings):
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of the hidden units that is left out."""


class Sound(ToyTask):
    """A line, learnt on the device through dropout, which the device draws."""

    def __init__(self, settings: SoundSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.models["model"][1].p = settings.dropout
        self.truth = self.truth.to(device)

    def train_step(self) -> dict[str, Tensor]:
        x = self.share(torch.randn(16, self.settings.width, generator=self.generators["data"])).to(self.device, non_blocking=True)
        with self.autocast():
            loss = self.loss(x)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizers["model"], clip=1.0)}

    def loss(self, x: Tensor) -> Tensor:
        return (self.models["model"](x).squeeze(1) - x @ self.truth).square().mean()

    def evaluate(self) -> dict[str, float]:
        x = torch.eye(self.settings.width, device=self.device)
        return {"test_mse": float((self.models["model"](x).squeeze(1) - x @ self.truth).square().mean())}

    def panels(self) -> ToyPanels:
        return SoundPanels(self)


class SoundPanels(ToyPanels):
    def weights(self, options: Options) -> HeatMap:
        return HeatMap(values=Array.of(next(self.task.models["model"].parameters()).cpu()), signed=True)

    def noise(self, options: ShadeOptions) -> Bars:
        x = torch.ones(3, self.task.settings.width, device=self.task.device)
        return Bars(labels=["a", "b", "c"], values=self.task.models["model"](x).squeeze(1).tolist())


class OnTheCPU(Sound):
    """A constant was never moved to the device."""

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x) + torch.arange(3.0).mul(x[0, :3]).mean()


class OtherGenerator(Sound):
    """The device's numbers are drawn with a generator of the CPU."""

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x + torch.randn(x.shape, device=self.device, generator=self.generators["data"]))


class OtherNumbers(Sound):
    """The batches are drawn on the device, so that every device sees others."""

    def __init__(self, settings: SoundSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.generators["batches"] = torch.Generator(device).manual_seed(settings.seed)

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(torch.randn(x.shape, device=self.device, generator=self.generators["batches"]))


class Item(Sound):
    """The loss is looked at in every step."""

    def loss(self, x: Tensor) -> Tensor:
        loss = super().loss(x)
        return loss * (2 if loss.item() > 1e9 else 1)


class Mask(Sound):
    """The number of chosen elements is known to the device alone."""

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x) + x[x > 0].mean()


class SlowCopy(Sound):
    """A batch is copied, and the copy waited for."""

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x) + torch.tensor([0.5], device=self.device)[0]


class Forgetful(Sound):
    """A state of the device that no checkpoint holds."""

    def __init__(self, settings: SoundSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.mean = torch.zeros((), device=device)

    def loss(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + x.mean()
        return super().loss(x) * (1 + self.mean)


class AsNumpy(Sound):
    """A panel takes a tensor of the device for an array."""

    def panels(self) -> ToyPanels:
        return AsNumpyPanels(self)


class AsNumpyPanels(SoundPanels):
    def noise(self, options: ShadeOptions) -> Bars:
        weight = next(self.task.models["model"].parameters())
        return Bars(labels=["a"], values=[float(weight.detach().numpy()[0, 0])])


class Broken(Sound):
    """A panel fails, on whatever device."""

    def panels(self) -> ToyPanels:
        return BrokenPanels(self)


class BrokenPanels(SoundPanels):
    def noise(self, options: ShadeOptions) -> Bars:
        return Bars(labels=["a"], values=[1 / 0])


class AnyOrder(Sound):
    """A sum that is added up in any order: no two runs are the same to the bit."""

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x) + x.cumsum(0).mean()


class Poisoned(Sound):
    """Once `poison` is set the loss is not a number."""

    poison = 1.0

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x) * self.poison


class Drawing(Sound):
    """Its steps can be captured."""

    def draw_batch(self) -> tuple[Tensor, ...]:
        return (torch.randn(16, self.settings.width, generator=self.generators["data"]),)

    def update_rates(self) -> None:
        for group in self.optimizers["model"].param_groups:
            group["lr"] = self.settings.lr / (1 + self.step)

    def train_step(self) -> dict[str, Tensor]:
        self.update_rates()
        (x,) = self.drawn()
        with self.autocast():
            loss = self.loss(x)
        return {"train_loss": loss.detach(), **self.minimise(loss, self.optimizers["model"], clip=1.0)}


class AlsoOnTheCPU(Drawing):
    """Some of a batch is drawn on the CPU beside `draw_batch`."""

    def loss(self, x: Tensor) -> Tensor:
        return super().loss(x + self.on_device((torch.randn(16, 1),))[0])


class LooksAtIt(Item, Drawing):
    """The loss is looked at in every step."""


class Chooses(Mask, Drawing):
    """The number of chosen elements is known to the device alone."""


class RateInTheStep(Drawing):
    """A learning rate that `update_rates` does not set."""

    def update_rates(self) -> None:
        pass

    def train_step(self) -> dict[str, Tensor]:
        super().update_rates()
        return super().train_step()


class MovingMomentum(Drawing):
    """Adam's first beta is another one at every step."""

    def update_rates(self) -> None:
        super().update_rates()
        for group in self.optimizers["model"].param_groups:
            group["betas"] = (0.9 - 0.01 * self.step, 0.999)


class MoreAndMore(Drawing):
    """Batches grow, so that each has another shape."""

    def draw_batch(self) -> tuple[Tensor, ...]:
        self.kicks += 1
        return (torch.randn(16 + self.kicks, self.settings.width, generator=self.generators["data"]),)


def card(kind: str) -> Card:
    """The card of one of these, by the name of its task."""
    return dataclasses.replace(toy.card, settings=SoundSettings, task=f"{__name__}:{kind}")
