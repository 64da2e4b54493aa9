"""Panels of the GAN: its samples, its latent space, and what the discriminator makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlplay.architectures.gan.evaluation.evaluator import SAMPLES
from dlplay.architectures.gan.model import generator_loss, has_critic
from dlplay.architectures.gan.nets.transformer import TransformerDiscriminator, TransformerGenerator, attention_weights
from dlplay.architectures.gan.settings import AttentionHead, LatentPath, LatentPlace, LatentPlane, Place, parse_place
from dlplay.data.images import evenly_spaced
from dlplay.data.points import PointData
from dlplay.engine.panels import Array, Bars, HeatMap, ImageGrid, Layer, Layers, Scatter
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts import forward, heads
from dlplay.parts.pictures import pictures

if TYPE_CHECKING:
    from dlplay.architectures.gan.task import GANTask

Bounds = tuple[float, float, float, float]
"""Left, right, bottom, top."""

REAL, GENERATED = "real", "generated"
SHOWN = 300
"""Points of each kind in a scatter plot, at most."""
MEASURED = 500
"""Samples, and real examples, in a histogram."""
ARROWS = 60
"""Samples with an arrow."""
LONGEST_ARROW = 0.2
"""Length of the longest arrow, as a share of half the view's side."""
BINS = 12
ROWS, COLUMNS = 36, 48
"""Of the discriminator's output over the plane."""
LATENT_RANGE = 2.0
"""Latents are shown from -2 to 2, where 19 of 20 values lie."""
LINES, POINTS_OF_LINE = 13, 41
"""Lines of the latent grid in each direction, and points of each."""
SCORED, DECODED = 24, 4
"""Latents along a side of the plane whose samples the discriminator judges, and that are shown as images."""
PATH_POINTS, PATH_IMAGES = 60, 12
IMAGES_IN_ROW = 10


class GANPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: GANTask) -> None:
        self.task = task
        self.settings, self.examples, self.device = task.settings, task.examples, task.device
        self.sampler, self.discriminator = task.sampler, task.discriminator
        self.has_logits = not has_critic(task.settings.loss)

    def samples(self, options: Place) -> Scatter | ImageGrid:
        """Points: real ones, samples with arrows, and the discriminator's output behind them. Images: the samples of the fixed latents."""
        if self.examples.points is None:
            return self._image_samples(options.number())
        return self._plane(options.xy(), self._coverage())

    def sample(self, options: LatentPlace) -> Scatter | ImageGrid:
        """The sample of one latent, among the others."""
        x, y = parse_place(options.latent_place, "latent_place")
        sample = self.sampler(self._latents(options, torch.tensor([[x, y]], device=self.device)))  # (1, *shape)
        figure = f"{self._output_name} {self._output(sample):.3g}"
        if self.examples.points is not None:
            return self._plane(options.xy(), figure, self._coverage(), sample)
        images = torch.cat([sample, self.sampler(self.task.fixed_latents)])
        labels = [self.examples.names[label] for label in self.task.modes(images)]
        caption = f"first the sample of latent {x:.2f},{y:.2f}, each with the class of the nearest training image"
        return ImageGrid(images=_images(images), labels=labels, selected=0, figure=figure, caption=caption)

    def _plane(self, place: tuple[float, float] | None, figure: str, told: str = "", sample: Tensor | None = None) -> Scatter:
        """Real points, samples with arrows, the chosen `place` and the one `sample` (1, 2) that stands out, over the discriminator's
        output. `told` comes first in the caption."""
        assert self.examples.points is not None
        bounds = _view(self.examples.points)
        chosen = torch.tensor([place] if place else [], dtype=torch.float32).view(-1, 2)
        own = torch.zeros(0, 2) if sample is None else sample.cpu()
        real = self._shown(SHOWN - len(chosen))  # as many points in all, with a place and without
        fake = self.task.draw(SHOWN)
        direction = self._descent(fake[:ARROWS])
        parts = [
            told,
            self.examples.edited and f"edited: {self.examples.edited}",
            f"arrows: negative gradient, longest {float(direction.norm(dim=1).max()):.2g}",  # they are scaled to fit the view
            _outside(fake, bounds),
            f"{self._output_name} {self._output(chosen):.3g} at {place[0]:.3g},{place[1]:.3g}" if place else "",
            f"background: {self._output_name}",
        ]
        names, groups = [REAL, GENERATED], [0] * len(real) + [1] * len(fake)
        for name, points in (("chosen place", chosen), ("cursor", own)):
            groups += [len(names)] * len(points)
            names += [name] * len(points)
        return Scatter(
            points=Array.of(torch.cat([real, fake.cpu(), chosen, own])),
            groups=groups,
            names=names,
            background=self._background(bounds),
            bounds=bounds,
            arrows=_arrows(direction, bounds, before=len(real), after=len(fake) - ARROWS + len(chosen) + len(own)),
            marked=len(groups) - 1 if len(own) else None,
            pick="place",
            figure=figure,
            caption=" · ".join(filter(None, parts)),
        )

    def forward(self, options: LatentPlace) -> Layers:
        """The latent under the cursor, the generator's hidden layers, the sample, the discriminator's hidden layers, and its output."""
        x, y = parse_place(options.latent_place, "latent_place")
        latent = self._latents(options, torch.tensor([[x, y]], device=self.device))
        made, sample = forward.activations(self.sampler, latent)
        judged, _ = forward.activations(self.discriminator, sample)
        score = self._output(sample)
        shown = (
            Layer(title="sample", images=_images(sample))
            if self.examples.points is None
            else Layer(title="sample", labels=["x", "y"], values=sample[0].tolist())
        )
        return Layers(
            layers=[
                forward.state("latent", latent[0]),
                *forward.hidden(made, "gen"),
                shown,
                *forward.hidden(judged, "disc"),
                Layer(title=self._output_name, labels=[""], values=[score], percent=self.has_logits),
            ],
            figure=f"{self._output_name} {score:.3g}",
        )

    def map(self, options: LatentPlane) -> Scatter | ImageGrid:
        """The samples of a square grid of latents."""
        if self.examples.points is None:
            ruler = torch.linspace(-LATENT_RANGE, LATENT_RANGE, IMAGES_IN_ROW)
            grid = torch.stack(torch.meshgrid(ruler, ruler.flip(0), indexing="xy"), -1).view(-1, 2)
            images = self.sampler(self._latents(options, grid.to(self.device)))
            figure = f"{IMAGES_IN_ROW} x {IMAGES_IN_ROW} latents"
            return ImageGrid(images=_images(images), figure=figure, caption="samples of a plane in latent space")
        ruler = torch.linspace(-LATENT_RANGE, LATENT_RANGE, LINES)
        fine = torch.linspace(-LATENT_RANGE, LATENT_RANGE, POINTS_OF_LINE)
        upright = torch.stack([ruler.repeat_interleave(POINTS_OF_LINE), fine.repeat(LINES)], 1)  # lines of equal x
        grid = torch.cat([upright, upright.flip(1)]).to(self.device)
        return Scatter(
            points=Array.of(self.sampler(self._latents(options, grid)).cpu()),
            groups=[0] * len(upright) + [1] * len(upright),
            names=[f"latent {options.across} fixed", f"latent {options.along} fixed"],
            bounds=_view(self.examples.points),
            figure=f"{LINES} lines each way",
        )

    def latent_plane(self, options: LatentPlane) -> HeatMap | ImageGrid:
        """The discriminator's output for the samples of a grid of latents, top row first; for images, the samples."""
        count = SCORED if self.examples.points is not None else DECODED
        ruler = torch.linspace(-LATENT_RANGE, LATENT_RANGE, count)
        grid = torch.stack(torch.meshgrid(ruler, ruler.flip(0), indexing="xy"), -1).view(-1, 2).to(self.device)
        samples = self.sampler(self._latents(options, grid))
        across, up = f"latent {options.across}", f"latent {options.along}"
        if self.examples.points is None:
            return ImageGrid(images=_images(samples), figure=f"{count} x {count} latents", row_title=up, column_title=across)
        scores = self._outputs(samples).reshape(count, count)
        names = [f"{value:.1f}" for value in ruler.tolist()]
        return HeatMap(
            values=Array.of(scores),
            rows=names[::-1],
            columns=names,
            row_title=up,
            column_title=across,
            figure=f"{self._output_name} {scores.min():.3g} to {scores.max():.3g}",
        )

    def interpolation(self, options: LatentPath) -> Scatter | ImageGrid:
        """The samples between two latents."""
        share = torch.linspace(0, 1, PATH_IMAGES if self.examples.points is None else PATH_POINTS, device=self.device)[:, None]
        start, end = self.task.fixed_latents[options.start], self.task.fixed_latents[options.end]
        samples = self.sampler(_slerp(start, end, share) if options.path == "sphere" else torch.lerp(start, end, share))
        figure = f"latent {options.start} to {options.end}"
        if self.examples.points is None:
            return ImageGrid(images=_images(samples), labels=[f"{100 * value:.0f} %" for value in share[:, 0].tolist()], figure=figure)
        return self._beside_real(samples, "path", figure)

    def history(self, options: Options) -> Scatter | ImageGrid:
        """The samples of the fixed latents at several steps of the training, and now."""
        now, history = self.task.step, self.task.history
        earlier = [(step, samples) for step, samples in zip(history.steps, history.samples, strict=True) if step < now]
        snapshots = [*earlier, (now, self.sampler(self.task.fixed_latents))]
        figure = f"{len(snapshots)} snapshot{'s' * (len(snapshots) > 1)}"
        if self.examples.points is None:
            images = torch.cat([samples[:IMAGES_IN_ROW] for _, samples in snapshots])
            labels = [f"step {step:,}" if column == 0 else "" for step, _ in snapshots for column in range(IMAGES_IN_ROW)]
            return ImageGrid(images=_images(images), labels=labels, figure=figure)
        count = len(snapshots)
        few = [snapshots[index] for index in sorted({0, count // 3, 2 * count // 3, count - 1})]
        return Scatter(
            points=Array.of(torch.cat([samples for _, samples in few]).cpu()),
            groups=[group for group, (_, samples) in enumerate(few) for _ in samples],
            names=[f"step {step:,}" for step, _ in few],
            bounds=_view(self.examples.points),
            figure=figure,
        )

    def balance(self, options: Options) -> Bars:
        """Histograms of the discriminator's output for held-out examples and for samples."""
        held_out = self.examples.test[evenly_spaced(len(self.examples.test), MEASURED).tolist()]
        real, fake = self._outputs(self.examples.scaled(held_out)), self._outputs(self.task.draw(MEASURED))
        if self.has_logits:
            low, high = 0.0, 1.0
            accuracy = ((real > 0.5).mean() + (fake < 0.5).mean()) / 2
            figure, caption = f"accuracy {100 * accuracy:.0f} %", "probability of being real"
        else:
            low, high = float(min(real.min(), fake.min())), float(max(real.max(), fake.max()))
            figure, caption = f"gap {real.mean() - fake.mean():.3g}", "critic's score; only differences have a meaning"
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        middles = (edges[:-1] + edges[1:]) / 2
        shares = [np.histogram(outputs, edges)[0] / max(1, len(outputs)) for outputs in (real, fake)]
        return Bars(
            labels=[f"{middle:.2f}" if self.has_logits else f"{middle:.3g}" for middle in middles],
            values=shares[0].tolist(),
            second=shares[1].tolist(),
            names=[REAL, GENERATED],
            percent=True,
            figure=figure,
            caption=caption,
        )

    def coverage(self, options: Options) -> Bars:
        """Share of the samples, and of the real examples, in each mode or class."""
        names, present = self.examples.names, self.examples.present.tolist()
        if not names:
            return Bars(labels=[], values=[], caption="these points have no separate modes")
        modes = np.array(self.task.modes(self.task.draw(SAMPLES if self.examples.points is not None else MEASURED)))
        labels = [names[mode] for mode in present]
        values = [float((modes == mode).mean()) for mode in present]
        real = [float((self.examples.train_modes == mode).mean()) for mode in present]
        outside = 1 - sum(values)
        if self.examples.points is not None:
            labels, values, real = [*labels, "none"], [*values, outside], [*real, 0.0]
        figure = f"{100 * max(0.0, 1 - outside):.0f} % in a mode at step {self.task.step:,}"
        return Bars(labels=labels, values=values, second=real, names=[GENERATED, REAL], percent=True, figure=figure)

    def attention(self, options: AttentionHead) -> HeatMap | Bars:
        """The weights of one head over the patches of one sample: row t is the query at patch t, each row sums to 1."""
        net = self.sampler if options.network == "generator" else self.discriminator
        if not isinstance(net, (TransformerGenerator, TransformerDiscriminator)):
            return Bars(labels=[], values=[], caption=f"the {options.network} is no transformer and has no attention")
        number, side = options.number(), self.examples.shape[2] // net.patch
        latents = self.task.fixed_latents[number : number + 1]
        layer, head = min(options.layer, len(net.blocks) - 1), min(options.head, self.settings.heads - 1)
        inputs = latents if options.network == "generator" else self.sampler(latents)
        weights = attention_weights(net, inputs, layer)[0, head]  # (T, T)
        address = next(name for name, model in self.task.models.items() if model is net)
        patches = [f"{place // side + 1},{place % side + 1}" for place in range(self.examples.shape[1] // net.patch * side)]
        labels = patches if options.network == "generator" else ["class", *patches]
        return heads.attention_map(
            weights,
            labels,
            figure=heads.which(layer, len(net.blocks), head, self.settings.heads),
            part=f"{address}.blocks.{layer}.head.{head}",
            caption=f"{options.network}, sample {number}",
        )

    # --- what several panels share ------------------------------------------------------------------------------------------------

    def _image_samples(self, number: int) -> ImageGrid:
        images = self.sampler(self.task.fixed_latents)
        classes = self.task.modes(images)
        edited = self.examples.edited
        return ImageGrid(
            images=_images(images),
            labels=[self.examples.names[label] for label in classes],
            ids=list(range(len(images))),
            selected=number,
            figure=f"{len(set(classes))} of {len(self.examples.present)} classes here at step {self.task.step:,}",
            caption=f"edited: {edited}" if edited else "samples, each with the class of the nearest training image",
        )

    def _beside_real(self, samples: Tensor, name: str, figure: str, caption: str = "") -> Scatter:
        """Points (N, 2) from the generator over real ones."""
        assert self.examples.points is not None
        real = self._shown(SHOWN)
        return Scatter(
            points=Array.of(torch.cat([real, samples.cpu()])),
            groups=[0] * len(real) + [1] * len(samples),
            names=[REAL, name],
            bounds=_view(self.examples.points),
            figure=figure,
            caption=caption,
        )

    def _shown(self, most: int) -> Tensor:
        """At most `most` of the real points, (N, 2), on the CPU."""
        return self.examples.train[evenly_spaced(len(self.examples.train), most).tolist()].cpu()

    def _coverage(self) -> str:
        """Modes covered as an evaluation would count them at this step, which a chart's last value need not be of."""
        if not self.examples.names:
            return ""
        covered = self.task.evaluator.covered(self.examples.vectors(self.task.draw(SAMPLES)))
        return f"{covered} of {len(self.examples.present)} modes at step {self.task.step:,}"

    @property
    def _output_name(self) -> str:
        return "probability of real" if self.has_logits else "score"

    def _outputs(self, examples: Tensor) -> NDArray[np.float32]:
        """Probabilities of real, or a critic's scores, (N,)."""
        outputs = self.discriminator(examples)
        return (outputs.sigmoid() if self.has_logits else outputs).float().cpu().numpy()  # type: ignore[no-any-return]

    def _output(self, examples: Tensor) -> float:
        return float(self._outputs(examples.to(self.device))[0])

    def _background(self, bounds: Bounds) -> Array:
        """The discriminator's output over the view, (rows, columns), top row first."""
        left, right, bottom, top = bounds
        x = left + (right - left) * (torch.arange(COLUMNS) + 0.5) / COLUMNS
        y = top - (top - bottom) * (torch.arange(ROWS) + 0.5) / ROWS
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2).to(self.device)
        return Array.of(self._outputs(places).reshape(ROWS, COLUMNS))

    def _descent(self, samples: Tensor) -> Tensor:
        """The negative gradient of the generator's loss at each of `samples` (N, *shape), where the generator's step pushes them."""
        with torch.enable_grad():
            at = samples.detach().requires_grad_()
            loss = generator_loss(self.settings.loss, self.discriminator(at)) * len(at)
            (gradient,) = torch.autograd.grad(loss, at)
        return -gradient

    def _latents(self, plane: LatentPlane, places: Tensor) -> Tensor:
        """Latents (N, Z) at `places` (N, 2) of a plane in latent space. Where the latent has one dimension, y has no effect."""
        count = self.settings.latent
        for name in ("across", "along"):
            number = getattr(plane, name)
            if number >= count and (number, count) != (1, 1):
                raise SettingsError(f"--{name} {number} is not there; the latent has {count} dimensions, 0 to {count - 1}", name)
        fixed = self.task.fixed_latents
        base = fixed[plane.number()] if self.examples.points is None else torch.zeros_like(fixed[0])
        latents = base.repeat(len(places), 1)
        if plane.along < count:
            latents[:, plane.along] = places[:, 1]
        latents[:, plane.across] = places[:, 0]
        return latents


def _view(points: PointData) -> Bounds:
    """A square around the real points as they were loaded, with a margin."""
    low, high = points.train.min(0), points.train.max(0)
    middle, half = (low + high) / 2, 0.65 * float((high - low).max()) or 1.0
    return float(middle[0] - half), float(middle[0] + half), float(middle[1] - half), float(middle[1] + half)


def _arrows(direction: Tensor, bounds: Bounds, *, before: int, after: int) -> Array:
    """`direction` (N, 2) scaled so that the longest arrow fits the view; the points `before` and `after` them have none."""
    longest = direction.norm(dim=1).max().clamp(min=1e-12)
    scaled = direction * (LONGEST_ARROW * (bounds[1] - bounds[0]) / 2 / longest)
    return Array.of(torch.cat([torch.zeros(before, 2), scaled.cpu(), torch.zeros(after, 2)]))


def _outside(samples: Tensor, bounds: Bounds) -> str:
    """How many of the samples (N, 2) lie outside the view, in words; empty when none does."""
    left, right, bottom, top = bounds
    x, y = samples[:, 0], samples[:, 1]
    count = int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())
    return f"{count} of {len(samples)} samples lie outside the view" if count else ""


def _images(images: Tensor) -> Array:
    """Images (N, C, H, W) with pixels from -1 to 1, as a panel holds them."""
    return pictures((images.float() + 1) / 2, 1.0)


def _slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation (White, Sampling Generative Networks, 2016) between latents (Z,) at `share` (N, 1) of the way."""
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if float(angle.sin()) < 1e-4:
        return torch.lerp(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
