"""What can be seen of a GAN: every panel is a pure function of the two nets, the data and one place."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dlplay.architectures.gan import losses
from dlplay.architectures.gan.examples import Examples
from dlplay.architectures.gan.judge import Judge
from dlplay.architectures.gan.memory import Memory
from dlplay.architectures.gan.options import LatentOptions, MapOptions, PathOptions, PointOptions, parse_place
from dlplay.architectures.gan.settings import GANSettings
from dlplay.architectures.gan.views import arrows, longest, outside, some, surface, view_of
from dlplay.engine.panels import Array, Bars, ImageGrid, Scatter
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts.pictures import pictures

SHOWN_REAL = 300
SHOWN_FAKE = 300
PUSHED = 60
"""Samples that get an arrow."""
JUDGED = 500
BINS = 12
LINES = 13
"""Lines of the latent grid in each direction."""
ALONG_LINE = 41
REACH = 2.0
"""Latents are shown from -REACH to REACH: nineteen of twenty lie there."""
PATH = 60
STRIP = 12
IN_ROW = 10
REAL, MADE = "real", "made"


class GANPanels:
    """The panels; a `Task` mixes them in and brings the attributes."""

    questions: ClassVar[dict[str, str]] = {
        name: name for name in ("samples", "sample", "map", "history", "interpolation", "balance", "coverage")
    }

    settings: GANSettings
    device: torch.device
    examples: Examples
    generator: nn.Module
    sampler: nn.Module
    discriminator: nn.Module
    fixed: Tensor
    memory: Memory
    judge: Any
    draw: Any

    # --- samples ------------------------------------------------------------------------------------------------------------------

    def samples(self, options: PointOptions) -> Scatter | ImageGrid:
        """Points over real ones and the discriminator's surface, with arrows; or a sheet of images."""
        if self.examples.images is not None:
            return self._sheet(options)
        bounds = view_of(self.examples)
        place = options.place()
        real, fake = (
            some(self.examples.train, SHOWN_REAL - bool(place)).cpu(),
            self.draw(SHOWN_FAKE),
        )  # as many points with a place as without
        push = self._push(fake[:PUSHED])
        chosen = torch.tensor([place] if place else [], dtype=torch.float32).view(-1, 2)
        groups = [0] * len(real) + [1] * len(fake) + [2] * len(chosen)
        parts = [self.examples.changed and f"changed: {self.examples.changed}", longest(push), outside(fake, bounds)]
        if place:
            parts.append(f"{self._word} {self._verdict(chosen):.3g} at {place[0]:.3g},{place[1]:.3g}")
        return Scatter(
            points=Array.of(torch.cat([real, fake.cpu(), chosen])),
            groups=groups,
            names=[REAL, MADE, "chosen place"][: 3 if place else 2],
            background=surface(self.discriminator, bounds, self.device, self._has_logits),
            bounds=bounds,
            arrows=arrows(push, bounds, len(real), len(fake) - PUSHED + len(chosen)),
            pick="place",
            figure=self._figure(fake),
            caption=" · ".join(part for part in [*parts, "ground: how real a place looks to the discriminator"] if part),
        )

    def _sheet(self, options: PointOptions) -> ImageGrid:
        number = options.number()
        images = self.sampler(self.fixed)
        modes = self._modes(images)
        return ImageGrid(
            images=self._pictures(images),
            labels=[self.examples.names[mode] for mode in modes],
            ids=list(range(len(images))),
            selected=number,
            figure=f"{len(set(modes))} of {len(self.examples.present)} classes here",
            caption=f"changed: {self.examples.changed}" if self.examples.changed else "Made images, each with the class it is most like.",
        )

    def _push(self, samples: Tensor) -> Tensor:
        """The way down the generator's loss at each sample (n, *shape): where its step would carry the samples if they were free."""
        with torch.enable_grad():
            at = samples.detach().requires_grad_()
            loss = losses.generator_loss(self.settings.loss, self.discriminator(at)) * len(at)
            (gradient,) = torch.autograd.grad(loss, at)
        return -gradient

    def sample(self, options: LatentOptions) -> Scatter | ImageGrid:
        """What comes out at one place of latent space."""
        latent = self._latent(options)
        made = self.sampler(latent)
        verdict = f"{self._word} {self._verdict(made):.3g}"
        x, y = parse_place(options.latent_place, "latent_place")
        if self.examples.images is not None:
            name = self.examples.names[self._modes(made)[0]]
            return ImageGrid(images=self._pictures(made), figure=verdict, caption=f"latent {x:.2f},{y:.2f} · most like a training {name}")
        real = some(self.examples.train, SHOWN_REAL).cpu()
        place = made[0].tolist()
        return Scatter(
            points=Array.of(torch.cat([real, made.cpu()])),
            groups=[0] * len(real) + [1],
            names=[REAL, "sample"],
            bounds=view_of(self.examples),
            figure=verdict,
            caption=f"latent {x:.2f},{y:.2f} becomes {place[0]:.2f},{place[1]:.2f}",
        )

    # --- the generator's map ------------------------------------------------------------------------------------------------------

    def map(self, options: MapOptions) -> Scatter | ImageGrid:
        """A square grid of latents, and what the generator makes of it."""
        base, across, along = self._base(options), *self._axes(options)
        ruler = torch.linspace(-REACH, REACH, IN_ROW if self.examples.images is not None else LINES)
        if self.examples.images is not None:
            grid = torch.stack(torch.meshgrid(ruler, ruler.flip(0), indexing="xy"), -1).view(-1, 2)
            made = self.sampler(_plane(base, grid.to(self.device), across, along))
            return ImageGrid(
                images=self._pictures(made), figure=f"{IN_ROW} x {IN_ROW} latents", caption="Images over a plane of two latents."
            )
        fine = torch.linspace(-REACH, REACH, ALONG_LINE)
        upright = torch.stack([ruler.repeat_interleave(ALONG_LINE), fine.repeat(LINES)], 1)  # lines of equal x
        grid = torch.cat([upright, upright.flip(1)]).to(self.device)
        made = self.sampler(_plane(base, grid, across, along)).cpu()
        count = len(upright)
        return Scatter(
            points=Array.of(made),
            groups=[0] * count + [1] * count,
            names=["lines of equal x", "lines of equal y"],
            bounds=view_of(self.examples),
            figure=f"{LINES} lines each way",
        )

    def interpolation(self, options: PathOptions) -> Scatter | ImageGrid:
        """What lies between two latents."""
        count = STRIP if self.examples.images is not None else PATH
        share = torch.linspace(0, 1, count, device=self.device)[:, None]
        one, other = self.fixed[options.start], self.fixed[options.end]
        made = self.sampler(_sphere(one, other, share) if options.path == "sphere" else torch.lerp(one, other, share))
        figure = f"latent {options.start} to {options.end}"
        if self.examples.images is not None:
            return ImageGrid(images=self._pictures(made), labels=[f"{100 * value:.0f} %" for value in share[:, 0].tolist()], figure=figure)
        real = some(self.examples.train, SHOWN_REAL).cpu()
        return Scatter(
            points=Array.of(torch.cat([real, made.cpu()])),
            groups=[0] * len(real) + [1] * count,
            names=[REAL, "the path"],
            bounds=view_of(self.examples),
            figure=figure,
        )

    # --- over time ----------------------------------------------------------------------------------------------------------------

    def history(self, options: Options) -> Scatter | ImageGrid:
        """The same latents at several moments of the training, and now."""
        now = getattr(self, "step", 0)
        earlier = [(step, samples) for step, samples in zip(self.memory.steps, self.memory.samples, strict=True) if step < now]
        moments = [*earlier, (now, self.sampler(self.fixed))]
        figure = f"{len(moments)} moments"
        if self.examples.images is not None:
            images = torch.cat([samples[:IN_ROW] for _, samples in moments])
            labels = [f"step {step:,}" if column == 0 else "" for step, _ in moments for column in range(IN_ROW)]
            return ImageGrid(images=self._pictures(images), labels=labels, figure=figure)
        few = [moments[index] for index in sorted({0, len(moments) // 3, 2 * len(moments) // 3, len(moments) - 1})]
        return Scatter(
            points=Array.of(torch.cat([samples for _, samples in few]).cpu()),
            groups=[group for group, (_, samples) in enumerate(few) for _ in samples],
            names=[f"step {step:,}" for step, _ in few],
            bounds=view_of(self.examples),
            figure=figure,
        )

    # --- the discriminator --------------------------------------------------------------------------------------------------------

    def balance(self, options: Options) -> Bars:
        """How the discriminator's output is spread over held-out real and over made examples."""
        held_out = self.examples.scaled(some(self.examples.test, JUDGED))
        both = [self._outputs(held_out), self._outputs(self.draw(JUDGED))]
        if self._has_logits:
            low, high = 0.0, 1.0
        else:
            low, high = (float(edge([part.min() if edge is min else part.max() for part in both])) for edge in (min, max))
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        shares = [np.histogram(part, edges)[0] / max(1, len(part)) for part in both]
        middles = (edges[:-1] + edges[1:]) / 2
        gap = both[0].mean() - both[1].mean()
        right = ((both[0] > 0.5).mean() + (both[1] < 0.5).mean()) / 2
        return Bars(
            labels=[f"{middle:.2f}" if self._has_logits else f"{middle:.3g}" for middle in middles],
            values=shares[0].tolist(),
            second=shares[1].tolist(),
            names=[REAL, MADE],
            percent=True,
            figure=f"{100 * right:.0f} % told right" if self._has_logits else f"gap {gap:.3g}",
            caption="probability of being real" if self._has_logits else "the critic's score; only differences mean something",
        )

    def coverage(self, options: Options) -> Bars:
        """Share of the samples in each mode or class, beside that of the real examples."""
        names, present = self.examples.names, self.examples.present.tolist()
        if not names:
            return Bars(labels=[], values=[], caption="These points have no separate modes to count")
        modes = np.array(self._modes(self.draw(JUDGED)))
        labels = [names[mode] for mode in present]
        values = [float((modes == mode).mean()) for mode in present]
        real = [float((self.examples.train_modes == mode).mean()) for mode in present]
        outside = 1 - sum(values)
        if self.examples.images is None:
            labels, values, real = [*labels, "none"], [*values, outside], [*real, 0.0]
        return Bars(
            labels=labels,
            values=values,
            second=real,
            names=[MADE, REAL],
            percent=True,
            figure=f"{100 * max(0.0, 1 - outside):.0f} % in a mode",
        )

    # --- what the panels share ----------------------------------------------------------------------------------------------------

    @property
    def _has_logits(self) -> bool:
        return not losses.gives_scores(self.settings.loss)

    @property
    def _word(self) -> str:
        return "probability of real" if self._has_logits else "score"

    def _outputs(self, examples: Tensor) -> Any:
        outputs = self.discriminator(examples)
        return (outputs.sigmoid() if self._has_logits else outputs).float().cpu().numpy()

    def _verdict(self, examples: Tensor) -> float:
        return float(self._outputs(examples.to(self.device))[0])

    def _modes(self, samples: Tensor) -> list[int]:
        judge: Judge = self.judge
        return [int(mode) for mode in judge.modes(self.examples.flat(samples))]

    def _figure(self, samples: Tensor) -> str:
        if not self.examples.names:
            return ""
        modes = [mode for mode in self._modes(samples) if mode in self.examples.present]
        return f"{len(set(modes))} of {len(self.examples.present)} modes · {100 * len(modes) / len(samples):.0f} % in one"

    def class_of_sample(self, number: int) -> int:
        """The class of the training image nearest to a sample of the sheet."""
        with torch.no_grad():
            return self._modes(self.sampler(self.fixed[number : number + 1]))[0]

    def _axes(self, options: LatentOptions | MapOptions) -> tuple[int, int]:
        count = self.settings.latent
        for name in ("across", "along"):
            number = getattr(options, name)
            if number >= count and (number, count) != (1, 1):
                raise SettingsError(f"--{name} {number} is not there; the latent has {count} numbers, 0 to {count - 1}", name)
        return options.across, options.along

    def _base(self, options: PointOptions) -> Tensor:
        """The latent whose other numbers are kept: the chosen sample's for images, 0 for points."""
        return self.fixed[options.number()].clone() if self.examples.images is not None else torch.zeros_like(self.fixed[0])

    def _latent(self, options: LatentOptions) -> Tensor:
        across, along = self._axes(options)
        place = torch.tensor([parse_place(options.latent_place, "latent_place")], device=self.device)
        return _plane(self._base(options), place, across, along)

    def _pictures(self, images: Tensor) -> Array:
        """Images with cells from -1 to 1, as a panel holds them."""
        return pictures((images.float() + 1) / 2, 1.0)


def _plane(base: Tensor, places: Tensor, across: int, along: int) -> Tensor:
    """Latents (N, Z) that are `base` (Z,) but for two numbers, which `places` (N, 2) gives; with a latent of one number y has no effect."""
    latents = base.repeat(len(places), 1)
    if along < latents.shape[1]:
        latents[:, along] = places[:, 1]
    latents[:, across] = places[:, 0]
    return latents


def _sphere(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation (White, Sampling Generative Networks, 2016) between latents (Z,) at `share` (N, 1) of the way."""
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if float(angle.sin()) < 1e-4:
        return torch.lerp(one, other, share)
    return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / torch.sin(angle)
