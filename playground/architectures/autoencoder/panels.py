"""What can be seen of an autoencoder: every panel is a pure function of the net and its options."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dlplay.architectures.autoencoder.baselines import Components
from dlplay.architectures.autoencoder.latent_panels import LatentPanels
from dlplay.architectures.autoencoder.objective import reconstruction_loss
from dlplay.architectures.autoencoder.options import FeatureOptions, InputOptions, PageOptions
from dlplay.architectures.autoencoder.view import SEEN, signed_pictures, stacked
from dlplay.engine.panels import Bars, ImageGrid, Lines
from dlplay.engine.settings import Options

PAGE = 20
MOST_FEATURES = 100
PROBED = 64
MOST_CELLS, MOST_IMAGES = 1024, 4000
"""Cells of an image whose principal components a panel works out, and training images that it learns them from."""


class AutoencoderPanels(LatentPanels):
    """The panels; a `Task` mixes them in and brings the attributes."""

    questions: ClassVar[dict[str, str]] = {
        "reconstruction": "reconstruction",
        "reconstructions": "reconstructions",
        "code": "code_plane",
        "features": "features",
        "latent_grid": "latent_grid",
        "decoded": "decoded",
        "interpolation": "interpolation",
        "activity": "activity",
        "components": "components",
        "norms": "norms",
    }

    _components: Components | None = None

    def reconstruction(self, options: InputOptions) -> ImageGrid:
        """The one image or drawing, what the net sees of it, what it makes of it, and where the two differ."""
        image, words = self.looked_at(options)
        inputs = self.noisy(image, options)
        output = self.model.decode(self.silenced(self.model.encode(inputs).mean, options.silence))
        parts = {"image": image, "noisy": inputs, "reconstruction": output, "difference": (output - image).abs()}
        if inputs is image:
            del parts["noisy"]
        return ImageGrid(
            images=self.pictures(torch.cat(list(parts.values()))),
            labels=list(parts),
            figure=f"MSE {(output - image).square().mean().item():.4f}",
            caption=words + (f", unit {options.silence} silenced" if options.silence >= 0 else ""),
        )

    def reconstructions(self, options: PageOptions) -> ImageGrid:
        """The page around the chosen image: originals, noisy inputs, and reconstructions one below the other."""
        self.held_out(options.image)
        first = options.image // PAGE * PAGE
        images = self.cells(self.test_images[first : first + PAGE])
        inputs = self.noisy(images, options)
        outputs = self.model.decode(self.silenced(self.model.encode(inputs).mean, options.silence))
        rows = (images, outputs) if inputs is images else (images, inputs, outputs)
        return ImageGrid(
            images=self.pictures(stacked(*rows)),
            labels=[self.class_of(number) for number in range(first, first + len(images))],
            ids=list(range(first, first + len(images))),
            selected=options.image - first,
            figure=f"{first} to {first + len(images) - 1} of {len(self.test_images):,}",
            caption="from above: " + ("image, reconstruction" if inputs is images else "image, noisy input, reconstruction"),
        )

    def features(self, options: FeatureOptions) -> ImageGrid:
        """What the net has found that images are made of, one picture for each unit."""
        image = self.held_out(options.image)
        if options.of == "encoder":
            features, caption = self._first_weights(), "weights of the first layer: what each of its units looks for"
        elif options.of == "gradient":
            features, caption = self._gradients(image), f"what, added to image {options.image}, would push each unit up"
        else:
            features, caption = self._strokes(), "what the image gains when a unit goes up by a standard deviation from the mean code"
        return ImageGrid(
            images=signed_pictures(features[:MOST_FEATURES]),
            labels=[str(number) for number in range(min(len(features), MOST_FEATURES))],
            signed=True,
            figure=f"{len(features)} units",
            caption=caption,
        )

    def _first_weights(self) -> Tensor:
        """(units, C, H, W), or kernels (channels, C, 3, 3)."""
        layer = next(module for module in self.model.encoder.modules() if isinstance(module, (nn.Linear, nn.Conv2d)))
        weight = layer.weight.detach()
        if isinstance(layer, nn.Conv2d):
            return weight
        units = self.settings.latent if self.settings.encoder == "linear" else len(weight)  # not the log variances
        return weight[:units].view(-1, *self.images.shape)

    def _strokes(self) -> Tensor:
        """(k, C, H, W): what each unit of the code adds to the image of the mean code."""
        codes = self.codes()
        middle, spread = codes.mean(0), codes.std(0, correction=0)
        units = min(len(middle), MOST_FEATURES)
        moved = middle + torch.diag(spread)[:units]
        return self.model.decode(moved) - self.model.decode(middle[None])

    def _gradients(self, image: Tensor) -> Tensor:
        """(k, C, H, W): the slope of each unit of the code at an image (1, C, H, W)."""
        units = min(self.settings.latent, MOST_FEATURES)
        with torch.enable_grad():
            copies = image.repeat(units, 1, 1, 1).requires_grad_()
            code = self.model.encode(copies).mean
            (slopes,) = torch.autograd.grad(code[:, :units].diagonal().sum(), copies)
        return slopes

    def components(self, options: Options) -> Lines:
        """The error that is left with more and more principal components, and the net's own beside it."""
        size = self.train_images[0].numel()
        if size > MOST_CELLS:
            return Lines(x=[0.0], series={"PCA": [None]}, caption=f"images of more than {MOST_CELLS:,} cells have too many components")
        if self._components is None:
            self._components = Components(self.cells(self.train_images[:MOST_IMAGES]).flatten(1).cpu().numpy())
        images = self.cells(self.test_images[:SEEN])
        left = self._components.errors(images.flatten(1).cpu().numpy())
        most = min(size, max(2 * self.settings.latent, 32))
        own = (self.model(images) - images).square().mean().item()
        equal = next((count for count in range(size + 1) if left[count] <= own), size)
        return Lines(
            x=[float(count) for count in range(most + 1)],
            series={
                "PCA": [float(error) for error in left[: most + 1]],
                "this net": [own if count == self.settings.latent else None for count in range(most + 1)],
            },
            x_title="components, or numbers in the code",
            log=True,
            figure=f"{self.settings.latent} numbers are worth {equal} components",
            caption=f"components of the first {MOST_IMAGES:,} training images" if len(self.train_images) > MOST_IMAGES else "",
        )

    def norms(self, options: Options) -> Bars:
        """Norms of the weights and of their gradients, layer by layer."""
        named = [(name, p) for name, p in self.model.named_parameters() if p.ndim >= 2]
        images = self.cells(self.train_images[:PROBED])
        with torch.enable_grad():
            logits = self.model.logits(self.model.encode(images).mean)
            loss = reconstruction_loss(logits, self.model.output_function(logits), images, self.settings.loss)
            gradients = torch.autograd.grad(loss, [p for _, p in named])
        half = len(named) // 2
        return Bars(
            labels=[f"{'encoder' if number < half else 'decoder'} {number % half}" for number in range(len(named))],
            values=[p.norm().item() for _, p in named],
            second=[gradient.norm().item() for gradient in gradients],
            names=["weights", "gradient"],
            log=True,
            figure=f"loss {loss.item():.3g}",
        )
