"""Training a GAN: updates of the discriminator and of the generator in turn, and what a person can do between them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dlplay.architectures.gan.data.augmentation import augment, random_changes
from dlplay.architectures.gan.data.examples import Examples, load
from dlplay.architectures.gan.evaluation.evaluator import SAMPLES, Evaluator
from dlplay.architectures.gan.evaluation.history import SampleHistory
from dlplay.architectures.gan.model import clip_weights, discriminator_losses, generator_loss, gradient_penalty, has_critic, r1_penalty
from dlplay.architectures.gan.nets import make_discriminator, make_generator
from dlplay.architectures.gan.panels import GANPanels
from dlplay.architectures.gan.settings import FIXED_LATENTS, GANSettings, Place, check_nets
from dlplay.engine.graph import Graph
from dlplay.engine.settings import Options, SettingsError
from dlplay.engine.task import Probe, Task
from dlplay.parts.optimizers import adamw, cycled, decay_groups, schedule, set_rates

SAMPLED_AT_ONCE = 500
PROBED = 256
"""Held-out examples that `probe` reads, and samples that it draws."""
AVERAGE_WARMUP = 10
"""The moving average soon forgets the initial weights: after n steps its decay rate is at most (1 + n) / (AVERAGE_WARMUP + n)."""


class DiscriminatorUpdate(NamedTuple):
    """What one update of the discriminator computed."""

    outputs: Tensor  # (2B,): of the real examples, then of the samples
    real_loss: Tensor
    fake_loss: Tensor
    penalty: Tensor | None
    loss: Tensor


class GANTask(Task[GANSettings]):
    """A step is `critic_steps` updates of the discriminator, then one of the generator."""

    imports_later = ("ot",)

    def __init__(self, settings: GANSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.dataset = self.examples = Examples(load(settings.data, settings.drawing, settings.image_size), device)
        if assets is not None:
            self.examples.check_shape(assets)
        check_nets(settings, self.examples.shape)
        self.generator = make_generator(settings, self.examples.shape).to(device)
        self.discriminator = make_discriminator(settings, self.examples.shape).to(device)
        self.models = {"generator": self.generator, "discriminator": self.discriminator}
        self.sampler = self.generator
        """The network that samples are drawn from: the generator, or the moving average of its weights."""
        if settings.average:
            self.sampler = self.models["average"] = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizers = {
            "generator": make_optimizer(self.generator, settings),
            "discriminator": make_optimizer(self.discriminator, settings),
        }
        self.generators = {
            name: torch.Generator().manual_seed(settings.seed + number) for number, name in enumerate(("order", "latent", "augment"))
        }
        self.fixed_latents = torch.randn(FIXED_LATENTS, settings.latent, generator=torch.Generator().manual_seed(settings.seed)).to(device)
        self.history = SampleHistory()
        self._evaluator: Evaluator | None = None

    def panels(self) -> GANPanels:
        return GANPanels(self)

    def actions(self) -> GANActions:
        return GANActions(self)

    # --- training -----------------------------------------------------------------------------------------------------------------

    def draw_batch(self) -> tuple[Tensor, ...]:
        """For each update of the discriminator, then for that of the generator."""
        of_discriminator = [part for _ in range(self.settings.critic_steps) for part in self.draw_discriminator()]
        return (*of_discriminator, *self.draw_generator())

    def draw_discriminator(self) -> tuple[Tensor, ...]:
        """Indices of real examples (B,) and latents (B, Z); where images are augmented, how (5, 2B); for a gradient penalty, where between
        real examples and samples it is taken (B,)."""
        settings, batch = self.settings, self.settings.batch
        drawn = [torch.randint(len(self.examples.train), (batch,), generator=self.generators["order"]), self._latents(batch)]
        if self._augments:
            drawn.append(random_changes(2 * batch, self.generators["augment"]))
        if settings.loss == "wasserstein-gp":
            drawn.append(torch.rand(batch, generator=self.generators["latent"]))
        return tuple(drawn)

    def draw_generator(self) -> tuple[Tensor, ...]:
        """Latents (B, Z) and, where images are augmented, how (5, B)."""
        batch = self.settings.batch
        changes = [random_changes(batch, self.generators["augment"])] if self._augments else []
        return (self._latents(batch), *changes)

    def train_step(self) -> dict[str, Tensor]:
        self.update_rates()
        drawn = iter(self.drawn())
        if self.history.due(self.step):
            with torch.no_grad():
                self.history.add(self.step, self.sampler(self.fixed_latents))
        for _ in range(self.settings.critic_steps):
            update = self.update_discriminator(drawn)
        return self._metrics(update) | self.update_generator(drawn)

    def update_discriminator(self, drawn: Iterator[Tensor] | None = None) -> DiscriminatorUpdate:
        """One update of the discriminator, on fresh real examples and samples: the next ones that were drawn."""
        settings, batch = self.settings, self.settings.batch
        drawn = iter(self.on_device(self.draw_discriminator())) if drawn is None else drawn
        real, latents = self.examples.batch(next(drawn)), next(drawn)
        with torch.no_grad(), self.autocast():
            fake = self.generator(latents).float()
        both = self._augmented(torch.cat([real, fake]), drawn)  # (2B, *shape)
        with self.autocast():
            outputs = self.discriminator(both).float()  # (2B,)
        real_loss, fake_loss = discriminator_losses(settings.loss, outputs[:batch], outputs[batch:], settings.label_smoothing)
        loss, penalty = real_loss + fake_loss, None
        if settings.loss == "wasserstein-gp":
            penalty = gradient_penalty(self.discriminator, both[:batch], both[batch:], next(drawn))
            loss = loss + settings.penalty * penalty
        elif uses_r1(settings):
            penalty = r1_penalty(self.discriminator, both[:batch])
            loss = loss + settings.r1 * penalty
        self.minimise(loss, self.optimizers["discriminator"])
        if settings.loss == "wasserstein":
            clip_weights(list(self.discriminator.parameters()), settings.clip)
        penalty = None if penalty is None else penalty.detach()
        return DiscriminatorUpdate(outputs.detach(), real_loss.detach(), fake_loss.detach(), penalty, loss.detach())

    def _metrics(self, update: DiscriminatorUpdate) -> dict[str, Tensor]:
        real, fake = update.outputs.chunk(2)
        metrics = {"discriminator_loss": update.loss, "real_loss": update.real_loss, "fake_loss": update.fake_loss}
        metrics |= {"real_output": real.mean(), "fake_output": fake.mean()}
        if update.penalty is not None:
            metrics["penalty"] = update.penalty
        if has_critic(self.settings.loss):
            metrics["critic_gap"] = metrics["real_output"] - metrics["fake_output"]
        else:
            metrics["discriminator_accuracy"] = torch.cat([real > 0, fake < 0]).float().mean()
        return metrics

    def update_generator(self, drawn: Iterator[Tensor] | None = None) -> dict[str, Tensor]:
        """One update of the generator against the discriminator as it is, and of the moving average."""
        drawn = iter(self.on_device(self.draw_generator())) if drawn is None else drawn
        latents = next(drawn)
        with self.autocast():
            outputs = self.discriminator(self._augmented(self.generator(latents), drawn)).float()  # (B,)
        loss = generator_loss(self.settings.loss, outputs)
        self.minimise(loss, self.optimizers["generator"])
        if self.sampler is not self.generator:
            self._update_average(self.number("weight"))
        return {"generator_loss": loss.detach()}

    @torch.no_grad()
    def _update_average(self, weight: float | Tensor) -> None:
        if isinstance(weight, float):
            torch._foreach_lerp_(list(self.sampler.parameters()), list(self.generator.parameters()), weight)
            return
        for average, own in zip(self.sampler.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(own, weight)

    def update_rates(self) -> None:
        settings = self.settings
        progress = self.step / settings.steps
        share = schedule(settings.schedule, progress)
        beta1, beta2 = adam_betas(settings)
        if settings.schedule == "one-cycle":
            beta1 = cycled(beta1, progress)
        betas = {"betas": (beta1, beta2)} if uses_adam(settings) else {}
        for name, lr in (("generator", settings.lr), ("discriminator", settings.critic_lr)):
            set_rates(self.optimizers[name], lr=lr * share, weight_decay=settings.weight_decay, **betas)
        self.numbers["weight"] = 1 - min(settings.average, (1 + self.step) / (AVERAGE_WARMUP + self.step))

    def differs(self) -> bool:
        """Some keep samples for the history."""
        return self.history.due(self.step)

    def change(self, settings: GANSettings) -> None:
        super().change(settings)
        for module in self.discriminator.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.settings.latent, generator=self.generators["latent"])  # (count, Z)

    @property
    def _augments(self) -> bool:
        return self.settings.augment and self.examples.images is not None

    def _augmented(self, examples: Tensor, drawn: Iterator[Tensor]) -> Tensor:
        return augment(examples, next(drawn)) if self._augments else examples

    # --- evaluation ---------------------------------------------------------------------------------------------------------------

    def draw(self, count: int) -> Tensor:
        """`count` samples (count, *shape), from the same latents each time."""
        latents = torch.randn(count, self.settings.latent, generator=torch.Generator().manual_seed(12345)).to(self.device)
        return torch.cat([self.sampler(part) for part in torch.split(latents, SAMPLED_AT_ONCE)])

    def modes(self, samples: Tensor) -> list[int]:
        """The mode or class of each of `samples` (N, *shape); -1 for none."""
        return [int(mode) for mode in self.evaluator.modes(self.examples.vectors(samples))]

    @property
    def evaluator(self) -> Evaluator:
        """Of the data as they are edited now."""
        if self._evaluator is None or self._evaluator.edits is not self.examples.edits:
            self._evaluator = Evaluator(self.examples)
        return self._evaluator

    def evaluate(self) -> dict[str, float]:
        """How close 1,000 samples are to the held-out examples."""
        return self.evaluator.measure(self.examples.vectors(self.draw(SAMPLES).nan_to_num().clamp(-1e6, 1e6)))

    def probe(self) -> Probe:
        """How far the nearest of a few samples is from each of the first held-out examples: large where the generator leaves out a mode."""
        real, samples = self._probed()
        distances = torch.cdist(real.flatten(1), self.sampler(samples).flatten(1))  # (held out, samples)
        return Probe(distances.amin(dim=1), "distance to the nearest sample")

    def pass_through(self) -> None:
        """Latents through the generator and its average; real examples and samples through the discriminator."""
        real, latents = self._probed()
        samples = self.generator(latents)
        self.discriminator(torch.cat([real, samples]))
        if self.sampler is not self.generator:
            self.sampler(latents)

    def _probed(self) -> tuple[Tensor, Tensor]:
        """The first held-out examples (n, *shape), and the same latents every time."""
        latents = torch.randn(PROBED, self.settings.latent, generator=torch.Generator().manual_seed(12345)).to(self.device)
        return self.examples.scaled(self.examples.test[:PROBED]), latents

    def baselines(self) -> dict[str, dict[str, float]]:
        """The same metrics of real examples, of one Gaussian and of half of the modes, on the data without edits."""
        return Evaluator(Examples(self.examples.source, torch.device("cpu"))).baselines()

    def graphs(self) -> dict[str, Graph]:
        """Latents to samples, and examples to the discriminator's output."""
        latents = self._latents(2).to(self.device)
        examples = self.sampler(latents).detach()
        return {
            "generator": Graph(self.sampler, {"latents": latents}, ("examples",), {"latents": {0: "batch"}}),
            "discriminator": Graph(self.discriminator, {"examples": examples}, ("output",), {"examples": {0: "batch"}}),
        }

    # --- state --------------------------------------------------------------------------------------------------------------------

    def extra_state(self) -> dict[str, Any]:
        return {"edits": list(self.examples.edits), "memory": self.history.state_dict()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.examples.apply(list(extra["edits"]))
        self.history.load_state_dict(extra["memory"], self.device)


class GANActions:
    """A method is an action, named as on the card: updates of one network, and edits of the real examples."""

    def __init__(self, task: GANTask) -> None:
        self.task = task

    def discriminator_step(self, options: Options) -> None:
        self.task.update_rates()
        self.task.update_discriminator()

    def generator_step(self, options: Options) -> None:
        self.task.update_rates()
        self.task.update_generator()

    def both_step(self, options: Options) -> None:
        self.task.update_rates()
        self.task.update_discriminator()
        self.task.update_generator()

    def place(self, options: Place) -> None:
        """Raises `SettingsError` for images, and when no place was chosen."""
        if self.task.examples.images is not None:
            raise SettingsError("points cannot be placed among images; use --data 8-gaussians, or remove a class", "point")
        self.task.examples.place(*_chosen(options))

    def remove_mode(self, options: Place) -> None:
        """Raises `SettingsError` when no place was chosen, or too little data would be left."""
        task = self.task
        if task.examples.images is None:
            return task.examples.remove_near(*_chosen(options))
        number = options.number()
        with torch.no_grad():
            [label] = task.modes(task.sampler(task.fixed_latents[number : number + 1]))
        task.examples.remove_mode(label)

    def restore(self, options: Options) -> None:
        self.task.examples.apply([])


def _chosen(options: Place) -> tuple[float, float]:
    place = options.xy()
    if place is None:
        raise SettingsError("choose a place first: move the cursor in the panel Samples and press enter, or give --point x,y", "point")
    return place


def make_optimizer(net: nn.Module, settings: GANSettings) -> torch.optim.Optimizer:
    """AdamW, or RMSprop: with momentum the training of a critic with clipped weights is unstable (Arjovsky et al., 2017)."""
    if uses_adam(settings):
        return adamw(net, lr=settings.lr, weight_decay=settings.weight_decay, betas=adam_betas(settings))
    return torch.optim.RMSprop(decay_groups(net), lr=settings.lr)


def uses_adam(settings: GANSettings) -> bool:
    """Whether the optimisers are AdamW."""
    return settings.optimizer == "adam" or (settings.optimizer == "auto" and settings.loss != "wasserstein")


def uses_r1(settings: GANSettings) -> bool:
    """Whether the discriminator's gradient at real examples is penalised: a critic has its own means."""
    return settings.r1 > 0 and not has_critic(settings.loss)


def adam_betas(settings: GANSettings) -> tuple[float, float]:
    """Beta 2 as Gulrajani et al. (2017) with a gradient penalty, and as Radford et al. (2016) otherwise, unless it was set."""
    return settings.beta1, settings.beta2 or (0.9 if settings.loss == "wasserstein-gp" else 0.999)
