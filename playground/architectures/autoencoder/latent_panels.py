"""What can be seen of the code: where images lie in it, what lies between them, and what each of its units does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dlplay.architectures.autoencoder.objective import kl_normal
from dlplay.architectures.autoencoder.options import GridOptions, PairOptions, PlaceOptions, PlaneOptions, ScatterOptions, parse_place
from dlplay.architectures.autoencoder.view import SEEN, View, stacked, tiled
from dlplay.engine.panels import Array, Bars, ImageGrid, Scatter
from dlplay.engine.settings import Options

REACH = 3.0
"""Standard deviations from the middle of the plane to its edges."""
BETWEEN = 9
"""Images from one end of an interpolation to the other."""
MOST_UNITS = 256


class Plane(NamedTuple):
    """Two units of the code as axes, in standard deviations from their means; the other units are those of one image."""

    code: Tensor  # (k,) of the image that is looked at
    axes: tuple[int, int]
    mean: Tensor  # (k,)
    spread: Tensor  # (k,)
    codes: Tensor  # (n, k) of the held-out images

    def at(self, places: Tensor) -> Tensor:
        """Codes (n, k) at places (n, 2) of the plane."""
        codes = self.code.repeat(len(places), 1)
        for column, axis in reversed(list(enumerate(self.axes))):  # where both axes are one unit, the first goes
            codes[:, axis] = self.mean[axis] + places[:, column].to(codes) * self.spread[axis]
        return codes

    def place(self) -> tuple[float, float]:
        """Where the image that is looked at lies itself."""
        x, y = (((self.code - self.mean) / self.spread)[list(self.axes)]).tolist()
        return x, y


class LatentPanels(View):
    """Panels of the code."""

    def code_plane(self, options: ScatterOptions) -> Scatter:
        """The codes of the held-out images, in two dimensions."""
        self.held_out(options.image)
        codes = self.codes()
        if options.view == "pca" and codes.shape[1] > 2:
            centred = codes - codes.mean(0)
            _, sizes, directions = torch.linalg.svd(centred.double(), full_matrices=False)
            signs = directions[:2].gather(1, directions[:2].abs().argmax(1, keepdim=True)).sign()  # a direction has no sign of its own
            points = centred.double() @ (directions[:2] * signs).T
            share = (sizes[:2].square().sum() / sizes.square().sum().clamp(min=1e-30)).item()
            titles, figure = ("component 1", "component 2"), f"{100 * share:.0f} % of the variance"
        else:
            axes = self._axes(options)
            points, titles, figure = codes[:, list(axes)], (f"unit {axes[0]}", f"unit {axes[1]}"), f"{codes.shape[1]} units"
        labels = self.images.test_labels[: len(points)]
        count = f"the first {SEEN:,} of " if len(self.test_images) > SEEN else ""
        return Scatter(
            points=Array.of(points.float().cpu()),
            groups=labels.tolist(),
            names=list(self.images.classes),
            labels=self._letters(points.double().cpu(), options.image),
            x_title=titles[0],
            y_title=titles[1],
            figure=figure,
            caption=f"{count}{len(self.test_images):,} held-out images; one letter for each class, and image {options.image}",
        )

    def _letters(self, points: Tensor, image: int) -> list[str]:
        """The class's name at the point nearest to the middle of each class, and at the image that is looked at."""
        labels = torch.from_numpy(self.images.test_labels[: len(points)])
        letters = [""] * len(points)
        for number, name in enumerate(self.images.classes):
            members = torch.nonzero(labels == number)[:, 0]
            if len(members):
                middle = points[members].mean(0)
                letters[int(members[(points[members] - middle).square().sum(1).argmin()])] = name
        if image < len(letters):
            letters[image] = f"image {image}: {self.class_of(image)}"
        return letters

    def latent_grid(self, options: GridOptions) -> ImageGrid:
        """What the decoder draws at places of the plane that are equally far from each other."""
        plane = self._plane(options)
        steps = torch.linspace(-REACH, REACH, options.images)
        y, x = torch.meshgrid(-steps, steps, indexing="ij")  # the top row has the largest y
        images = self.model.decode(plane.at(torch.stack([x.flatten(), y.flatten()], 1)))
        return ImageGrid(
            images=self.pictures(tiled(images, options.images)),
            figure=f"{options.images}x{options.images}",
            caption=f"{self._axes_words(plane)}, {REACH:g} standard deviations to each side",
        )

    def decoded(self, options: PlaceOptions) -> ImageGrid:
        """What the decoder draws at one place of the plane, and the held-out image whose code is the nearest."""
        plane = self._plane(options)
        x, y = parse_place(options.place)
        code = plane.at(torch.tensor([[x, y]]))
        nearest = int(((plane.codes - code) / plane.spread).square().sum(1).argmin())
        own = plane.place()
        return ImageGrid(
            images=self.pictures(torch.cat([self.model.decode(code), self.held_out(nearest)])),
            labels=["decoded", f"nearest: {self.class_of(nearest)}"],
            ids=[options.image, nearest],
            figure=f"{x:+.2f}, {y:+.2f}",
            caption=f"{self._axes_words(plane)}; image {options.image} ({self.class_of(options.image)}) is at {own[0]:+.2f}, {own[1]:+.2f}",
        )

    def interpolation(self, options: PairOptions) -> ImageGrid:
        """From one image to another: through the code above, and by mixing cells below."""
        one, other = self.held_out(options.image), self.held_out(options.other, "other")
        start, end = (self.model.encode(image).mean for image in (one, other))
        shares = torch.linspace(0, 1, BETWEEN, device=self.device)
        through = self.model.decode(start + shares[:, None] * (end - start))
        mixed = one + shares[:, None, None, None] * (other - one)
        labels = [self.class_of(options.image), *(f"{100 * share:.0f} %" for share in shares[1:-1].tolist()), self.class_of(options.other)]
        return ImageGrid(
            images=self.pictures(stacked(through, mixed)),
            labels=labels,
            figure=f"{options.image} to {options.other}",
            caption="above: decoded on a straight line between the two codes; below: the two images' cells mixed",
        )

    def activity(self, options: Options) -> Bars:
        """What each unit of the code carries."""
        code = self.model.encode(self.cells(self.test_images[:SEEN]))
        spread, mean = code.mean.std(0, correction=0)[:MOST_UNITS], code.mean.abs().mean(0)[:MOST_UNITS]
        labels = [f"unit {number}" for number in range(len(spread))]
        if code.log_variance is not None:
            kl = kl_normal(code).mean(0)
            return Bars(
                labels=labels,
                values=kl[:MOST_UNITS].tolist(),
                second=spread.tolist(),
                names=["KL in nats", "spread of the mean"],
                figure=f"{int((kl > 0.1).sum())} of {len(kl)} in use",
                caption="a unit whose divergence is near 0 tells the decoder nothing",
            )
        overall = code.mean.abs().mean().item()
        return Bars(
            labels=labels,
            values=spread.tolist(),
            second=mean.tolist(),
            names=["spread", "mean size"],
            figure=f"mean {overall:.3g}" + (f", ρ {self.settings.rho:g}" if self.settings.sparsity == "kl" else ""),
        )

    # --- the plane ----------------------------------------------------------------------------------------------------------------

    def _axes(self, options: PlaneOptions) -> tuple[int, int]:
        last = self.settings.latent - 1
        return min(options.x_axis, last), min(options.y_axis, last)

    def _plane(self, options: PlaneOptions) -> Plane:
        code = self.model.encode(self.held_out(options.image)).mean[0]
        codes = self.codes()
        return Plane(code, self._axes(options), codes.mean(0), codes.std(0, correction=0).clamp(min=1e-6), codes)

    def _axes_words(self, plane: Plane) -> str:
        x, y = plane.axes
        others = len(plane.code) - len({x, y})
        return f"→ unit {x}" + (f", ↑ unit {y}" if y != x else "") + (f", {others} held" if others else "")
