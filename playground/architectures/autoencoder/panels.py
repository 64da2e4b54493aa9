"""What can be seen of an autoencoder: each panel is a pure function of the task and the options."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from dlplay.architectures.autoencoder.model import corrupt, reconstruction_loss
from dlplay.architectures.autoencoder.settings import (
    SPARSE,
    CodeScatter,
    FeatureEffect,
    Features,
    ImagePair,
    Intervention,
    LatentGrid,
    LatentPoint,
    OneFeature,
    OneReconstruction,
    PlaneOfUnits,
    ReconstructionPage,
    parse_point,
)
from dlplay.engine.panels import AnyPanel, Array, Bars, ImageGrid, Layer, Layers, Lines, Scatter, Table
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts import forward
from dlplay.parts.image_options import InputImage
from dlplay.parts.norms import probe_norms
from dlplay.parts.pictures import held_out_image, input_image, label, pictures, signed_pictures, stacked, tiled

if TYPE_CHECKING:
    from dlplay.architectures.autoencoder.task import AutoencoderTask

PAGE = 20
"""Images on one page of a grid."""
MOST = 1000
"""Held-out images that a panel encodes, the first ones, at most: panels must not hold training up."""
MOST_FEATURES, MOST_BARS = 100, 256
PROBED = 64
"""Training images that the gradient norms are computed on."""
INTERPOLATED = 9
"""Images from one end of an interpolation to the other."""
REACH = 3.0
"""Standard deviations from the centre of the latent grid to its edges."""
NOISE_SEED = 5
"""The same question has the same answer."""
AT_ONCE = 4096
"""Training images that are compared with one at once."""


class Plane(NamedTuple):
    """A plane in latent space: two units of the code are the axes, the others are those of one image."""

    code: Tensor  # (k,) of the selected image
    axes: tuple[int, int]
    mean: Tensor  # (k,) over the held-out images
    std: Tensor  # (k,)
    codes: Tensor  # (n, k) of the held-out images

    def at(self, points: Tensor) -> Tensor:
        """Codes (n, k) at points (n, 2), in standard deviations from the means."""
        return self.with_last(self.code.repeat(len(points), 1, 1), points)[:, -1]

    def with_last(self, codes: Tensor, points: Tensor) -> Tensor:
        """Sequences of codes (n, T, k), the last one of each at one of the points (n, 2)."""
        codes = codes.clone()
        for column, axis in reversed(list(enumerate(self.axes))):  # where both axes are one unit, the first one counts
            codes[:, -1, axis] = self.mean[axis] + points[:, column].to(codes) * self.std[axis]
        return codes

    def point(self) -> tuple[float, float]:
        """The selected image's own point."""
        x, y = ((self.code - self.mean) / self.std)[list(self.axes)].tolist()
        return x, y

    def words(self) -> str:
        """What the axes are."""
        x, y = self.axes
        others = len(self.code) - len({x, y})
        return f"→ unit {x}" + (f", ↑ unit {y}" if y != x else "") + (f", {others} fixed" if others else "")


class AutoencoderPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: AutoencoderTask) -> None:
        self.task, self.model, self.data, self.settings = task, task.model, task.images, task.settings

    # --- reconstructions ----------------------------------------------------------------------------------------------------------

    def reconstructions(self, options: ReconstructionPage) -> ImageGrid | Bars:
        """The page with the selected image: images, noisy inputs, and reconstructions, one below the other."""
        self._held_out(options.image)
        first = options.image // PAGE * PAGE
        images = self.task.scaled(self.task.test_images[first : first + PAGE])
        inputs, outputs = self._reconstruct(images, options)
        noisy = inputs is not images
        return ImageGrid(
            images=_pictures(stacked(images, inputs, outputs) if noisy else stacked(images, outputs)),
            labels=[label(number, self.data) for number in range(first, first + len(images))],
            ids=list(range(first, first + len(images))),
            selected=options.image - first,
            figure=f"{first} to {first + len(images) - 1} of {len(self.data.test_images):,}",
            caption="from top to bottom: image, " + ("noisy input, " if noisy else "") + "reconstruction",
        )

    def reconstruction(self, options: OneReconstruction) -> ImageGrid | Bars:
        """The selected image or drawing, the noisy input, the reconstruction and the absolute difference."""
        image, words = self._input(options)
        inputs, output = self._reconstruct(image, options)
        noisy = {"noisy": inputs} if inputs is not image else {}
        parts = {"image": image, **noisy, "reconstruction": output, "difference": (output - image).abs()}
        return ImageGrid(
            images=_pictures(torch.cat(list(parts.values()))),
            labels=list(parts),
            figure=f"MSE {(output - image).square().mean().item():.4f}",
            caption=words + (f", unit {options.ablate} ablated" if options.ablate >= 0 else ""),
        )

    def forward(self, options: OneReconstruction) -> Layers | Bars:
        """The image, the encoder's hidden layers, the code, the decoder's hidden layers, and the reconstruction."""
        image, words = self._input(options)
        inputs, output = self._reconstruct(image, options)
        encoded, _ = forward.activations(self.model.encoder, inputs - self.model.mean)
        code = self.model.encode(inputs).mean
        if options.ablate >= 0:
            code = code.index_fill(1, torch.tensor([options.ablate], device=code.device), 0.0)
        decoded, _ = forward.activations(self.model.decoder, code)
        return Layers(
            layers=[
                Layer(title="input", images=_pictures(inputs)),
                *forward.hidden(encoded, "encoder"),
                forward.state("code", code[0]),
                *forward.hidden(decoded, "decoder"),
                Layer(title="reconstruction", images=_pictures(output)),
            ],
            figure=f"MSE {(output - image).square().mean().item():.4f}",
            caption=words,
        )

    def components(self, options: Options) -> Lines:
        """Mean squared error of PCA by the number of components, and the network's own at the size of its code, or at the number of units
        that are not 0 on average."""
        pca = self.task.pca
        if pca is None:
            return Lines(x=[0.0], series={"PCA": [None]}, caption="these images have too many pixels for a panel to compute PCA")
        images = self.task.scaled(self.task.test_images[:MOST])
        errors = pca.errors(images.flatten(1).cpu().numpy())  # (D + 1,)
        pixels = len(errors) - 1
        code = self.model.encode(images).mean
        sparse = self.settings.code in SPARSE
        units = round((code != 0).sum(1).float().mean().item()) if sparse else self.settings.latent
        most = min(pixels, max(2 * units, 32))
        own = (self.model.decode(code) - images).square().mean().item()
        equal = next((count for count in range(pixels + 1) if errors[count] <= own), pixels)
        return Lines(
            x=[float(count) for count in range(most + 1)],
            series={
                "PCA": [float(error) for error in errors[: most + 1]],
                "this network": [own if count == units else None for count in range(most + 1)],
            },
            x_title="components, or " + ("units that are not 0 on average" if sparse else "units of the code"),
            log=True,
            figure=f"{units} units = {equal} components",
            caption=f"components of the first {pca.fitted:,} training images" if pca.fitted < len(self.data.train_images) else "",
        )

    def _most_alike(self, image: Tensor) -> tuple[Tensor, str, float]:
        """The training image (1, C, H, W) with the least mean squared error from an image, its label, and that error."""
        errors = torch.cat(
            [(self.task.scaled(part) - image).square().flatten(1).mean(1) for part in torch.split(self.task.train_images, AT_ONCE)]
        )
        best = int(errors.argmin())
        name = self.data.classes[self.data.train_labels[best]]
        return self.task.scaled(self.task.train_images[best : best + 1]), name, float(errors[best])

    # --- latent space -------------------------------------------------------------------------------------------------------------

    def code(self, options: CodeScatter) -> Scatter | Bars:
        """The codes of held-out images in two dimensions."""
        self._held_out(options.image)
        codes = self._codes()
        if options.view == "pca" and codes.shape[1] > 2:
            centred = (codes - codes.mean(0)).double()
            _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
            signs = directions[:2].gather(1, directions[:2].abs().argmax(1, keepdim=True)).sign()  # a direction has no sign of its own
            points = centred @ (directions[:2] * signs).T
            explained = (singular[:2].square().sum() / singular.square().sum().clamp(min=1e-30)).item()
            titles, figure = ("component 1", "component 2"), f"{100 * explained:.0f} % of the variance"
        else:
            axes = self._axes(options)
            points, titles, figure = codes[:, list(axes)], (f"unit {axes[0]}", f"unit {axes[1]}"), f"{codes.shape[1]} units"
        count = len(self.data.test_images)
        first = f"the first {MOST:,} of " if count > MOST else ""
        return Scatter(
            points=Array.of(points.float().cpu()),
            groups=self.data.test_labels[:MOST].tolist(),
            names=list(self.data.classes),
            labels=self._point_labels(points.double().cpu(), options.image),
            x_title=titles[0],
            y_title=titles[1],
            figure=figure,
            caption=f"{first}{count:,} held-out images; labelled where there is room: one of each class, and image {options.image}",
        )

    def decoded(self, options: LatentPoint) -> ImageGrid | Bars:
        """The output at one point of the plane, the held-out image with the nearest code, and the training image most like the output."""
        plane = self._plane(options)
        x, y = parse_point(options.place)
        code = plane.at(torch.tensor([[x, y]]))
        nearest = int(((plane.codes - code) / plane.std).square().sum(1).argmin())
        own_x, own_y = plane.point()
        output = self.model.decode(code)
        alike, name, error = self._most_alike(output)
        return ImageGrid(
            images=_pictures(torch.cat([output, self._held_out(nearest), alike])),
            labels=["decoded", f"{label(nearest, self.data)} (test)", f"{name} (training)"],
            ids=[options.image, nearest, options.image],
            figure=f"{x:+.2f}, {y:+.2f}",
            caption=f"{plane.words()}; image {options.image} ({label(options.image, self.data)}) at {own_x:+.2f}, {own_y:+.2f}; "
            f"nearest training image: MSE {error:.3f}",
        )

    def latent_grid(self, options: LatentGrid) -> AnyPanel:
        """The outputs on a regular grid in the plane."""
        plane = self._plane(options)
        images = self.model.decode(plane.at(grid(options.images)))
        return ImageGrid(
            images=_pictures(tiled(images, options.images)),
            row_title=f"unit {plane.axes[1]}",
            column_title=f"unit {plane.axes[0]}",
            figure=f"{options.images}x{options.images}",
            caption=f"{plane.words()}, {REACH:g} standard deviations to each side",
        )

    def interpolation(self, options: ImagePair) -> ImageGrid | Bars:
        """From one image to another: through latent space above, by mixing pixels below."""
        start, end = self._held_out(options.image), self._held_out(options.other, "other")
        start_code, end_code = self.model.encode(start).mean, self.model.encode(end).mean
        shares = torch.linspace(0, 1, INTERPOLATED, device=self.task.device)
        decoded = self.model.decode(start_code + shares[:, None] * (end_code - start_code))
        mixed = start + shares[:, None, None, None] * (end - start)
        between = [f"{100 * share:.0f} %" for share in shares[1:-1].tolist()]
        return ImageGrid(
            images=_pictures(stacked(decoded, mixed)),
            labels=[label(options.image, self.data), *between, label(options.other, self.data)],
            figure=f"{options.image} to {options.other}",
            caption="above: decoded between the two codes; below: the pixels of the two images mixed",
        )

    # --- units --------------------------------------------------------------------------------------------------------------------

    def features(self, options: Features) -> ImageGrid | Bars:
        """One signed image for each unit."""
        image = self._held_out(options.image)
        if options.of == "encoder":
            features, caption = self._first_weights(), "the weights of each unit of the first layer"
        elif options.of == "gradient":
            features, caption = self._gradients(image), f"the gradient of each unit of the code with respect to image {options.image}"
        else:
            features, caption = self._effects(), "how the output changes when a unit grows by one standard deviation"
        return ImageGrid(
            images=signed_pictures(features[:MOST_FEATURES]),
            labels=[str(number) for number in range(min(len(features), MOST_FEATURES))],
            signed=True,
            parts=[] if options.of == "encoder" else [self._unit(number) for number in range(min(len(features), MOST_FEATURES))],
            figure=f"{len(features)} units",
            caption=caption,
        )

    def activity(self, options: Options) -> Bars:
        """Standard deviation and mean absolute activation of each unit of the code; in a VAE its KL divergence."""
        code = self.model.encode(self.task.scaled(self.task.test_images[:MOST]))
        std = code.mean.std(0, correction=0)[:MOST_BARS].tolist()
        labels = [f"unit {number}" for number in range(len(std))]
        if self.settings.variational:
            kl = code.kl().mean(0)
            return Bars(
                labels=labels,
                values=kl[:MOST_BARS].tolist(),
                second=std,
                names=["KL in nats", "std of the mean"],
                parts=[self._unit(number) for number in range(len(std))],
                figure=f"{int((kl > 0.1).sum())} of {len(kl)} active",
                caption="a unit with a KL divergence near 0 tells the decoder nothing",
            )
        size = code.mean.abs()
        return Bars(
            labels=labels,
            values=std,
            second=size.mean(0)[:MOST_BARS].tolist(),
            names=["std", "mean |activation|"],
            parts=[self._unit(number) for number in range(len(std))],
            figure=f"mean {size.mean().item():.3g}" + (f", ρ {self.settings.rho:g}" if self.settings.sparsity == "kl" else ""),
        )

    def _unit(self, number: int) -> str:
        """Address of a unit of the code; of a VAE of its mean, which the encoder's first outputs are."""
        return f"{'encoder' if self.settings.variational else 'code_function'}[{number}]"

    def norms(self, options: Options) -> Bars:
        images = self.task.scaled(self.task.train_images[:PROBED])

        def loss() -> Tensor:
            logits = self.model.logits(self.model.encode(images).mean)
            return reconstruction_loss(logits, self.model.output_function(logits), images, self.settings.loss)

        layers = sum(p.ndim >= 2 for p in self.model.parameters()) // 2
        labels = [f"{half} {layer}" for half in ("encoder", "decoder") for layer in range(layers)]
        return probe_norms(self.model, loss, labels, self.task.optimizer)

    # --- activations --------------------------------------------------------------------------------------------------------------

    def feature_words(self, options: OneFeature) -> Table | Bars:
        """Only for activations."""
        return nothing("only activations have words that excite a feature; choose --preset activations")

    def feature_contexts(self, options: OneFeature) -> Table | Bars:
        """Only for activations."""
        return nothing("only activations have words that excite a feature; choose --preset activations")

    def feature_effect(self, options: FeatureEffect) -> Bars:
        """Only for activations."""
        return nothing("of activations alone; choose --preset activations")

    # --- inputs and codes ---------------------------------------------------------------------------------------------------------

    def _held_out(self, index: int, option: str = "image") -> Tensor:
        """A held-out image (1, C, H, W). Raises `SettingsError`."""
        return self.task.scaled(held_out_image(index, self.data, option).to(self.task.device))

    def _input(self, options: InputImage) -> tuple[Tensor, str]:
        """The selected image or drawing (1, C, H, W), and a caption."""
        image, words = input_image(options, self.data, self.task.frame)
        return self.task.scaled(image.to(self.task.device)), words

    def _reconstruct(self, images: Tensor, options: Intervention) -> tuple[Tensor, Tensor]:
        """Inputs (B, C, H, W), which are the same tensor when there is no noise, and outputs, with a unit of the code ablated."""
        noise = self.settings.noise if options.input_noise == "as trained" else options.input_noise
        inputs = corrupt(images, noise, options.input_noise_level, torch.Generator().manual_seed(NOISE_SEED))
        code = self.model.encode(inputs).mean
        if options.ablate >= code.shape[1]:
            raise SettingsError(
                f"--ablate {options.ablate} is out of range; the code has units 0 to {code.shape[1] - 1}, or none", "ablate"
            )
        if options.ablate >= 0:
            code = code.index_fill(1, torch.tensor([options.ablate], device=code.device), 0.0)
        return inputs, self.model.decode(code)

    def _codes(self) -> Tensor:
        """Codes (n, k) of the first held-out images."""
        return self.model.encode(self.task.scaled(self.task.test_images[:MOST])).mean

    def _axes(self, options: PlaneOfUnits) -> tuple[int, int]:
        last = self.settings.latent - 1
        first, second = self._default_axes()
        x, y = (own if own >= 0 else auto for own, auto in ((options.x_axis, first), (options.y_axis, second)))
        return min(x, last), min(y, last)

    def _default_axes(self) -> tuple[int, int]:
        return 0, 1

    def _plane(self, options: PlaneOfUnits) -> Plane:
        code = self.model.encode(self._held_out(options.image)).mean[0]
        codes = self._codes()
        return Plane(code, self._axes(options), codes.mean(0), codes.std(0, correction=0).clamp(min=1e-6), codes)

    def _point_labels(self, points: Tensor, image: int) -> list[str]:
        """Labels of points (n, 2): the class's name for the one nearest to the centre of each class, and the selected image's."""
        classes = torch.from_numpy(self.data.test_labels[: len(points)])
        labels = [""] * len(points)
        for number, name in enumerate(self.data.classes):
            members = torch.nonzero(classes == number)[:, 0]
            if len(members):
                centre = points[members].mean(0)
                labels[int(members[(points[members] - centre).square().sum(1).argmin()])] = name
        if image < len(labels):
            labels[image] = f"image {image}: {label(image, self.data)}"
        return labels

    # --- features -----------------------------------------------------------------------------------------------------------------

    def _first_weights(self) -> Tensor:
        """(units, C, H, W), or kernels (channels, C, 3, 3)."""
        layer = next(module for module in self.model.encoder.modules() if isinstance(module, (nn.Linear, nn.Conv2d)))
        weight = layer.weight.detach()
        if isinstance(layer, nn.Conv2d):
            return weight
        units = self.settings.latent if self.settings.encoder == "linear" else len(weight)  # not those of log variances
        return weight[:units].view(-1, *self.data.shape)

    def _effects(self) -> Tensor:
        """(k, C, H, W): the change in the output when a unit grows by a standard deviation from the mean code."""
        codes = self._codes()
        mean, std = codes.mean(0), codes.std(0, correction=0)
        units = min(len(mean), MOST_FEATURES)
        return self.model.decode(mean + torch.diag(std)[:units]) - self.model.decode(mean[None])

    def _gradients(self, image: Tensor) -> Tensor:
        """(k, C, H, W): the gradient of each unit of the code with respect to an image (1, C, H, W)."""
        units = min(self.settings.latent, MOST_FEATURES)
        with torch.enable_grad():
            copies = image.repeat(units, 1, 1, 1).requires_grad_()
            code = self.model.encode(copies).mean
            (gradients,) = torch.autograd.grad(code[:, :units].diagonal().sum(), copies)
        return gradients


def grid(count: int) -> Tensor:
    """Points (count², 2) of a plane, row by row from the top, each in the middle of the square that it fills."""
    steps = REACH * ((2 * torch.arange(count) + 1) / count - 1)
    y, x = torch.meshgrid(-steps, steps, indexing="ij")  # the top row has the largest y
    return torch.stack([x.flatten(), y.flatten()], 1)


def nothing(why: str) -> Bars:
    """A panel that has nothing to show."""
    return Bars(labels=[], values=[], caption=why)


def _pictures(images: Tensor) -> Array:
    """Images with pixels from 0 to 1, clipped."""
    return pictures(images.clamp(0, 1), 1.0)
