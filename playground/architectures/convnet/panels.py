"""What can be seen of a ConvNet: every panel is a pure function of the net and one input."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.convnet.model import ConvNet
from dlplay.architectures.convnet.options import KernelOptions, MapOptions, SaliencyOptions
from dlplay.data.images import ImageData
from dlplay.engine.panels import Array, Bars, HeatMap, ImageGrid
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts.image_options import ImageOptions, PickOptions
from dlplay.parts.ink import Frame, has_ink, parse_drawing, place
from dlplay.parts.pictures import pictures

PAGE = 40
"""Images on one page of a grid."""
SEEN = 1000
"""Held-out images that the confusion and the mistakes are counted over, at the most: panels must not hold training up."""
PROBED = 64


class ConvNetPanels:
    """The panels; a `Task` mixes them in and brings the attributes."""

    questions: ClassVar[dict[str, str]] = {
        "probabilities": "probabilities",
        "input": "input",
        "images": "held_out_images",
        "kernels": "kernels",
        "maps": "feature_maps",
        "confusion": "confusion",
        "mistakes": "mistakes",
        "norms": "norms",
        "saliency": "saliency",
    }

    model: ConvNet
    images: ImageData
    frame: Frame
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    device: torch.device

    def probabilities(self, options: ImageOptions) -> Bars:
        """Softmax over the classes."""
        image, words = self._look_at(options)
        probabilities = F.softmax(self.model(image)[0].float(), 0).tolist()
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Bars(
            labels=list(self.images.classes),
            values=probabilities,
            high=1.0,
            percent=True,
            chosen=best,
            figure=f"{self.images.classes[best]} {100 * probabilities[best]:.1f} %",
            caption=words,
        )

    def input(self, options: ImageOptions) -> ImageGrid:
        """The one image or drawing."""
        image, words = self._look_at(options)
        return ImageGrid(images=pictures(image, self.images.full), caption=words)

    def held_out_images(self, options: PickOptions) -> ImageGrid:
        """The page around the chosen image, mistakes marked."""
        self._check_image(options.image)
        first = options.image // PAGE * PAGE
        images, labels = self.test_images[first : first + PAGE].float(), self.test_labels[first : first + PAGE]
        wrong = self.model(images).argmax(1) != labels
        return ImageGrid(
            images=pictures(images, self.images.full),
            labels=[self.images.classes[label] for label in labels.tolist()],
            ids=list(range(first, first + len(labels))),
            wrong=wrong.tolist(),
            selected=options.image - first,
            figure=f"{first} to {first + len(labels) - 1} of {len(self.test_labels):,}",
        )

    def kernels(self, options: KernelOptions) -> ImageGrid:
        """One kernel for each output channel of a layer."""
        weight = self._layer(options.layer).convolution.weight.detach().cpu()  # (out, in, k, k)
        if options.layer == 0 and weight.shape[1] == 3:
            spread = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
            colours = ((weight / spread + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
            return ImageGrid(
                images=Array.of(colours), labels=[str(channel) for channel in range(len(weight))], figure=f"layer 0, {len(weight)}"
            )
        if options.channel >= weight.shape[1]:
            raise SettingsError(
                f"--channel {options.channel}: layer {options.layer} has input channels 0 to {weight.shape[1] - 1}", "channel"
            )
        return ImageGrid(
            images=Array.of(weight[:, options.channel]),
            labels=[str(channel) for channel in range(len(weight))],
            signed=True,
            figure=f"layer {options.layer}, {len(weight)} of {weight.shape[2]}x{weight.shape[3]}",
        )

    def feature_maps(self, options: MapOptions) -> ImageGrid:
        """The maps of one layer for the image or drawing."""
        self._layer(options.layer)
        image, words = self._look_at(options)
        maps = getattr(self.model.trace(image)[0][options.layer], options.after)[0]  # (C, h, w)
        return ImageGrid(
            images=Array.of(maps.float().cpu()),
            labels=[str(channel) for channel in range(len(maps))],
            signed=bool((maps < 0).any()),
            figure=f"layer {options.layer}, {len(maps)} of {maps.shape[1]}x{maps.shape[2]}",
            caption=words,
        )

    def confusion(self, options: Options) -> HeatMap:
        """Counts of (true class, decided class)."""
        labels, logits, _, words = self._judged()
        classes = len(self.images.classes)
        counts = torch.bincount(labels * classes + logits.argmax(1), minlength=classes * classes).view(classes, classes)
        return HeatMap(
            values=Array.of(counts.float()),
            rows=list(self.images.classes),
            columns=list(self.images.classes),
            row_title="true class",
            column_title="decided class",
            counts=True,
            low=0.0,
            figure=f"{100 * counts.diagonal().sum().item() / len(labels):.1f} % right",
            caption=words,
        )

    def mistakes(self, options: Options) -> ImageGrid:
        """The wrongly classified images, those with the least probability for their class first."""
        labels, logits, indices, words = self._judged()
        log_probabilities = F.log_softmax(logits, 1)
        own = log_probabilities.gather(1, labels[:, None])[:, 0]
        decided = logits.argmax(1)
        wrong = torch.nonzero(decided != labels)[:, 0]
        worst = wrong[torch.argsort(own[wrong], stable=True)][:PAGE]
        sure = log_probabilities.amax(1).exp()
        names = self.images.classes
        return ImageGrid(
            images=pictures(self.test_images[indices[worst].to(self.device)].float(), self.images.full),
            labels=[f"{names[labels[i]]} as {names[decided[i]]} {100 * sure[i]:.0f} %" for i in worst.tolist()],
            ids=indices[worst].tolist(),
            wrong=[True] * len(worst),
            figure=f"{len(wrong)} of {len(labels):,}",
            caption=words if len(wrong) else "No mistakes" + (f" {words[0].lower()}{words[1:]}" if words else " among the held-out images"),
        )

    def norms(self, options: Options) -> Bars:
        """Norms of the weights and of their gradients, layer by layer."""
        named = [(name, p) for name, p in self.model.named_parameters() if p.ndim >= 2]
        with torch.enable_grad():
            loss = F.cross_entropy(self.model(self.train_images[:PROBED].float()), self.train_labels[:PROBED])
            gradients = torch.autograd.grad(loss, [p for _, p in named])
        names = [f"layer {index}" for index in range(len(named) - 1)] + ["classifier"]
        return Bars(
            labels=names,
            values=[p.norm().item() for _, p in named],
            second=[gradient.norm().item() for gradient in gradients],
            names=["weights", "gradient"],
            log=True,
            figure=f"loss {loss.item():.3g}",
        )

    def saliency(self, options: SaliencyOptions) -> HeatMap:
        """Size of the gradient of one logit with respect to every cell."""
        image, words = self._look_at(options)
        classes = self.images.classes
        if options.target >= len(classes):
            raise SettingsError(
                f"--target {options.target}: there are {len(classes)} classes, 0 to {len(classes) - 1}; -1 is the decided one", "target"
            )
        with torch.enable_grad():
            image.requires_grad_()
            logits = self.model(image)[0]
            target = options.target if options.target >= 0 else int(logits.argmax())
            (gradient,) = torch.autograd.grad(logits[target], image)
        return HeatMap(values=Array.of(gradient[0].abs().amax(0).cpu()), low=0.0, figure=f"for {classes[target]}", caption=words)

    # --- what the panels share ----------------------------------------------------------------------------------------------------

    def _check_image(self, image: int) -> None:
        if image >= len(self.test_labels):
            raise SettingsError(f"--image {image} is not there; the held-out images are 0 to {len(self.test_labels) - 1}", "image")

    def _look_at(self, options: ImageOptions) -> tuple[Tensor, str]:
        """The input (1, C, H, W) that is looked at, and what it is in words."""
        if has_ink(options.drawing):
            return place(parse_drawing(options.drawing), self.images.shape, self.frame, self.images.full).to(self.device), "your drawing"
        if options.drawing:
            parse_drawing(options.drawing)
        self._check_image(options.image)
        label = self.images.classes[int(self.test_labels[options.image])]
        return self.test_images[options.image : options.image + 1].float(), f"held-out image {options.image}, truly {label}"

    def _layer(self, layer: int) -> Any:
        if layer >= len(self.model.blocks):
            raise SettingsError(f"--layer {layer} is not there; the layers are 0 to {len(self.model.blocks) - 1}", "layer")
        return self.model.blocks[layer]

    def _judged(self) -> tuple[Tensor, Tensor, Tensor, str]:
        """Labels, logits and positions of the held-out images, at most `SEEN` evenly chosen ones, on the CPU; and a caption if not all."""
        count = len(self.test_labels)
        indices = torch.arange(count) if count <= SEEN else torch.from_numpy(np.linspace(0, count - 1, SEEN).astype(np.int64))
        chosen = indices.to(self.device)
        logits = self.model(self.test_images[chosen].float()).float().cpu()
        words = "" if count <= SEEN else f"Among {SEEN:,} of the {count:,} held-out images"
        return self.test_labels[chosen].cpu(), logits, indices, words
