"""Two nets that train each other: one makes examples, the other tells them from real ones."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from dlplay.architectures.gan import losses, nets
from dlplay.architectures.gan.augmentation import augment
from dlplay.architectures.gan.examples import Examples, check_source, load
from dlplay.architectures.gan.judge import SAMPLES, Judge
from dlplay.architectures.gan.memory import Memory
from dlplay.architectures.gan.options import SHEET, PointOptions
from dlplay.architectures.gan.panels import GANPanels
from dlplay.architectures.gan.settings import GANSettings, check_nets
from dlplay.engine.graph import Graph
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Options, SettingsError
from dlplay.engine.task import Task
from dlplay.parts.optimizers import schedule, set_rates

SAMPLED_AT_ONCE = 500
WARM_UP = 10
"""The moving average forgets the first weights quickly: after n steps it keeps no more than (1 + n) / (WARM_UP + n)."""


class Played(NamedTuple):
    """One update of the discriminator."""

    outputs: Tensor  # (2B,): for the real examples, then for the made ones
    real_loss: Tensor
    fake_loss: Tensor
    penalty: Tensor | None
    loss: Tensor


class GANTask(GANPanels, Task[GANSettings]):
    """A step is some updates of the discriminator and one of the generator."""

    questions: ClassVar[dict[str, str]] = GANPanels.questions

    def __init__(self, settings: GANSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        source = load(settings.data, settings.drawing, settings.image_size)
        if assets is not None:
            check_source(source, assets)
        self.examples = Examples(source, device)
        self.data = self.examples.words
        check_nets(settings, self.examples.shape)
        self.generator: nn.Module = nets.make_generator(settings, self.examples.shape).to(device)
        self.discriminator: nn.Module = nets.make_discriminator(settings, self.examples.shape).to(device)
        self.models = {"generator": self.generator, "discriminator": self.discriminator}
        self.sampler = self.generator
        """The net that samples are drawn from."""
        if settings.average:
            self.sampler = self.models["average"] = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizers = {
            "generator": nets.make_optimizer(self.generator, settings),
            "discriminator": nets.make_optimizer(self.discriminator, settings),
        }
        self.generators = {
            name: torch.Generator().manual_seed(settings.seed + number) for number, name in enumerate(("order", "latent", "augment"))
        }
        self.fixed = torch.randn(SHEET, settings.latent, generator=torch.Generator().manual_seed(settings.seed)).to(device)
        self.memory = Memory()
        self._judged: Judge | None = None

    # --- training -----------------------------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor]:
        """Some updates of the discriminator, then one of the generator."""
        self._set_rates()
        if self.memory.due(self.step):
            with torch.no_grad():
                self.memory.add(self.step, self.sampler(self.fixed))
        for _ in range(self.settings.critic_steps):
            played = self.update_discriminator()
        return self._measured(played) | self.update_generator()

    def update_discriminator(self) -> Played:
        """One update of the discriminator on fresh real and made examples."""
        settings, batch = self.settings, self.settings.batch
        indices = torch.randint(len(self.examples.train), (batch,), generator=self.generators["order"])
        real = self.examples.batch(indices.to(self.device, non_blocking=True))
        with torch.no_grad():
            fake = self.generator(self._latents(batch))
        both = self._seen(torch.cat([real, fake]))  # (2B, *shape)
        outputs = self.discriminator(both)  # (2B,)
        parts = losses.discriminator_losses(settings.loss, outputs[:batch], outputs[batch:], settings.label_smoothing)
        loss, penalty = parts[0] + parts[1], None
        if settings.loss == "wasserstein-gp":
            share = torch.rand(batch, generator=self.generators["latent"]).to(self.device, non_blocking=True)
            penalty = losses.gradient_penalty(self.discriminator, both[:batch], both[batch:], share)
            loss = loss + settings.penalty * penalty
        self.minimise(loss, self.optimizers["discriminator"])
        if settings.loss == "wasserstein":
            losses.clip_weights(list(self.discriminator.parameters()), settings.clip)
        return Played(outputs.detach(), parts[0].detach(), parts[1].detach(), None if penalty is None else penalty.detach(), loss.detach())

    def _measured(self, played: Played) -> dict[str, Tensor]:
        """What is worth a curve of an update of the discriminator: of the last one in a step."""
        real, fake = played.outputs.chunk(2)
        metrics = {"discriminator_loss": played.loss, "real_loss": played.real_loss, "fake_loss": played.fake_loss}
        metrics |= {"real_output": real.mean(), "fake_output": fake.mean()}
        if played.penalty is not None:
            metrics["penalty"] = played.penalty
        if losses.gives_scores(self.settings.loss):
            metrics["critic_gap"] = metrics["real_output"] - metrics["fake_output"]
        else:
            metrics["discriminator_accuracy"] = torch.cat([real > 0, fake < 0]).float().mean()
        return metrics

    def update_generator(self) -> dict[str, Tensor]:
        """One update of the generator, against the discriminator as it is: only the generator's weights get a gradient."""
        outputs = self.discriminator(self._seen(self.generator(self._latents(self.settings.batch))))
        loss = losses.generator_loss(self.settings.loss, outputs)
        self.minimise(loss, self.optimizers["generator"])
        if self.sampler is not self.generator:
            keep = min(self.settings.average, (1 + self.step) / (WARM_UP + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.sampler.parameters()), list(self.generator.parameters()), 1 - keep)
        return {"generator_loss": loss.detach()}

    def _latents(self, count: int) -> Tensor:
        latents = torch.randn(count, self.settings.latent, generator=self.generators["latent"])
        return latents.to(self.device, non_blocking=True)

    def _seen(self, examples: Tensor) -> Tensor:
        """Examples as the discriminator gets to see them."""
        if self.settings.augment and self.examples.images is not None:
            return augment(examples, self.generators["augment"])
        return examples

    def _set_rates(self) -> None:
        settings = self.settings
        share = schedule(settings.schedule, self.step / settings.steps)
        more = {"betas": nets.betas(settings)} if nets.uses_adam(settings) else {}
        for name, lr in (("generator", settings.lr), ("discriminator", settings.critic_lr)):
            set_rates(self.optimizers[name], lr=lr * share, weight_decay=settings.weight_decay, **more)

    def change(self, settings: GANSettings) -> None:
        """Rates are read at every step; dropout is told to its modules."""
        super().change(settings)
        for module in self.discriminator.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout

    # --- judging ------------------------------------------------------------------------------------------------------------------

    @property
    def judge(self) -> Judge:
        """Of the data as it is now."""
        if self._judged is None:
            self._judged = Judge(self.examples)
        return self._judged

    def draw(self, count: int) -> Tensor:
        """The same samples (count, *shape) for the same weights."""
        latents = torch.randn(count, self.settings.latent, generator=torch.Generator().manual_seed(12345)).to(self.device)
        return torch.cat([self.sampler(part) for part in torch.split(latents, SAMPLED_AT_ONCE)])

    def evaluate(self) -> dict[str, float]:
        """How near 1,000 samples are to the held-out examples."""
        return self.judge.measure(self.examples.flat(self.draw(SAMPLES).nan_to_num().clamp(-1e6, 1e6)))

    def baselines(self) -> dict[str, dict[str, float]]:
        """Figures of examples that no net made, of the data as it was read."""
        return Judge(Examples(self.examples.source, torch.device("cpu"))).baselines()

    def baselines_key(self) -> str:
        """The data and the split."""
        return f"gan-2-{self.examples.digest}"

    # --- actions ------------------------------------------------------------------------------------------------------------------

    def act(self, name: str, options: Options) -> AnyPanel | None:
        """Update one net or both, or change what is real. Raises `SettingsError`."""
        if name in ("discriminator_step", "generator_step", "both_step"):
            self._set_rates()
            if name != "generator_step":
                self.update_discriminator()
            if name != "discriminator_step":
                self.update_generator()
            return None
        if name == "restore":
            self.examples.apply([])
        elif name == "place" and isinstance(options, PointOptions):
            self.examples.place(*self._chosen_place(options))
        elif name == "remove_mode" and isinstance(options, PointOptions):
            if self.examples.images is None:
                self.examples.remove_near(*self._chosen_place(options))
            else:
                self.examples.remove_class(self.class_of_sample(options.number()))
        else:
            return super().act(name, options)
        self._judged = None
        return None

    def _chosen_place(self, options: PointOptions) -> tuple[float, float]:
        if self.examples.images is not None:
            self.examples.place(0.0, 0.0)  # says that images have no places
        place = options.place()
        if place is None:
            raise SettingsError("choose a place first: move the cursor in the panel Samples and press enter, or give --point x,y", "point")
        return place

    # --- state --------------------------------------------------------------------------------------------------------------------

    def assets(self) -> dict[str, Any]:
        """What the data decided about the nets."""
        return {"data": self.settings.data, "shape": list(self.examples.shape), "modes": self.examples.names}

    def graphs(self) -> dict[str, Graph]:
        """Latents to examples by the net that is shown, and examples to the discriminator's output."""
        latents = self._latents(2)
        examples = self.sampler(latents).detach()
        return {
            "generator": Graph(self.sampler, {"latents": latents}, ("examples",), {"latents": {0: "batch"}}),
            "discriminator": Graph(self.discriminator, {"examples": examples}, ("output",), {"examples": {0: "batch"}}),
        }

    def data_key(self) -> str:
        """A digest of the examples as they were before a person changed any."""
        return self.examples.digest

    def extra_state(self) -> dict[str, Any]:
        """What a person changed about the data, and the remembered samples."""
        return {"edits": list(self.examples.edits), "memory": self.memory.state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`."""
        self.examples.apply(list(extra["edits"]))
        self._judged = None
        self.memory.load_state(extra["memory"], self.device)
