"""What can be seen of a ConvNet: each panel is a pure function of the task and the options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.convnet.model import Block
from dlplay.architectures.convnet.settings import FeatureMaps, LayerKernels, SaliencyTarget
from dlplay.data.images import evenly_spaced
from dlplay.engine.panels import Array, Bars, HeatMap, ImageGrid, Layer, Layers
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts import forward
from dlplay.parts.image_options import HeldOutImage, InputImage
from dlplay.parts.norms import probe_norms
from dlplay.parts.pictures import held_out_image, input_image, pictures, signed_pictures

if TYPE_CHECKING:
    from dlplay.architectures.convnet.task import ConvNetTask

PAGE = 40
"""Images on one page of a grid."""
MOST = 1000
"""Held-out images that the confusion matrix and the mistakes are taken from, at most: panels must not hold training up."""
PROBED = 64
"""Training images that the gradient norms are computed on."""


class ConvNetPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: ConvNetTask) -> None:
        self.task, self.model, self.data = task, task.model, task.images

    def probabilities(self, options: InputImage) -> Bars:
        image, words = self._input(options)
        probabilities = F.softmax(self.model(image)[0].float(), 0).tolist()
        predicted = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Bars(
            labels=list(self.data.classes),
            values=probabilities,
            high=1.0,
            percent=True,
            chosen=predicted,
            figure=f"{self.data.classes[predicted]} {100 * probabilities[predicted]:.1f} %",
            caption=words,
        )

    def forward(self, options: InputImage) -> Layers:
        """The image, the feature maps of every layer after its activation, and the probabilities."""
        image, words = self._input(options)
        found, logits = self.model.trace(image)
        layers = [forward.maps(f"layer {layer}", found[layer].activation[0], layer=layer) for layer in forward.hidden_layers(len(found))]
        probabilities = F.softmax(logits[0].float(), 0)
        classes = Layer(
            title="softmax",
            labels=list(self.data.classes),
            values=probabilities.tolist(),
            percent=True,
            chosen=int(probabilities.argmax()),
        )
        return Layers(layers=[Layer(title="input", images=pictures(image, self.data.full)), *layers, classes], caption=words)

    def input(self, options: InputImage) -> ImageGrid:
        image, words = self._input(options)
        return ImageGrid(images=pictures(image, self.data.full), caption=words)

    def images(self, options: HeldOutImage) -> ImageGrid:
        """The page with the selected image, misclassified ones marked."""
        held_out_image(options.image, self.data)  # or it is out of range
        first = options.image // PAGE * PAGE
        images, labels = self.task.test_images[first : first + PAGE].float(), self.task.test_labels[first : first + PAGE]
        wrong = self.model(images).argmax(1) != labels
        return ImageGrid(
            images=pictures(images, self.data.full),
            labels=[self.data.classes[label] for label in labels.tolist()],
            ids=list(range(first, first + len(labels))),
            wrong=wrong.tolist(),
            selected=options.image - first,
            figure=f"{first} to {first + len(labels) - 1} of {len(self.data.test_labels):,}",
        )

    def kernels(self, options: LayerKernels) -> ImageGrid:
        """One kernel for each output channel of a layer."""
        weight = self._block(options.layer).convolution.weight.detach()  # (out, in, k, k)
        colour = options.layer == 0 and weight.shape[1] == 3
        if not colour and options.channel >= weight.shape[1]:
            raise SettingsError(
                f"--channel {options.channel} is out of range; layer {options.layer} has input channels 0 to {weight.shape[1] - 1}",
                "channel",
            )
        return ImageGrid(
            images=signed_pictures(weight if colour else weight[:, options.channel : options.channel + 1]),
            labels=[str(channel) for channel in range(len(weight))],
            signed=not colour,
            figure=f"layer {options.layer}, {len(weight)} of {weight.shape[2]}x{weight.shape[3]}",
        )

    def maps(self, options: FeatureMaps) -> ImageGrid:
        """The feature maps of one layer for the image or drawing."""
        self._block(options.layer)
        image, words = self._input(options)
        maps = getattr(self.model.trace(image)[0][options.layer], options.after)[0]  # (C, h, w)
        return ImageGrid(
            images=Array.of(maps.float().cpu()),
            labels=[str(channel) for channel in range(len(maps))],
            signed=bool((maps < 0).any()),
            figure=f"layer {options.layer}, {len(maps)} of {maps.shape[1]}x{maps.shape[2]}",
            caption=words,
        )

    def confusion(self, options: Options) -> HeatMap:
        """Counts of (true class, predicted class)."""
        labels, logits, _, words = self._predictions()
        classes = len(self.data.classes)
        counts = torch.bincount(labels * classes + logits.argmax(1), minlength=classes * classes).view(classes, classes)
        return HeatMap(
            values=Array.of(counts.float()),
            rows=list(self.data.classes),
            columns=list(self.data.classes),
            row_title="true class",
            column_title="predicted class",
            counts=True,
            low=0.0,
            figure=f"accuracy {100 * counts.diagonal().sum().item() / len(labels):.1f} %",
            caption=words,
        )

    def mistakes(self, options: Options) -> ImageGrid:
        """The misclassified images, those with the lowest probability of the true class first."""
        labels, logits, indices, words = self._predictions()
        log_probabilities = F.log_softmax(logits, 1)
        predicted, confidence = logits.argmax(1), log_probabilities.amax(1).exp()
        wrong = torch.nonzero(predicted != labels)[:, 0]
        of_true_class = log_probabilities.gather(1, labels[:, None])[:, 0]
        worst = wrong[torch.argsort(of_true_class[wrong], stable=True)][:PAGE]
        names = self.data.classes
        return ImageGrid(
            images=pictures(self.task.test_images[indices[worst].to(self.task.device)].float(), self.data.full),
            labels=[f"{names[labels[i]]} as {names[predicted[i]]} {100 * confidence[i]:.0f} %" for i in worst.tolist()],
            ids=indices[worst].tolist(),
            wrong=[True] * len(worst),
            figure=f"{len(wrong)} of {len(labels):,}",
            caption=words if len(wrong) else f"no mistakes {words or 'on the held-out images'}",
        )

    def norms(self, options: Options) -> Bars:
        images, labels = self.task.train_images[:PROBED].float(), self.task.train_labels[:PROBED]
        layers = [f"layer {layer}" for layer in range(len(self.model.blocks))]
        return probe_norms(self.model, lambda: F.cross_entropy(self.model(images), labels), [*layers, "classifier"], self.task.optimizer)

    def saliency(self, options: SaliencyTarget) -> HeatMap:
        """Absolute gradient of one logit with respect to every pixel, the largest over the channels."""
        image, words = self._input(options)
        classes = self.data.classes
        if options.target >= len(classes):
            raise SettingsError(
                f"--target {options.target} is out of range; there are {len(classes)} classes, 0 to {len(classes) - 1}, or predicted",
                "target",
            )
        with torch.enable_grad():
            image.requires_grad_()
            logits = self.model(image)[0]
            target = options.target if options.target >= 0 else int(logits.argmax())
            (gradient,) = torch.autograd.grad(logits[target], image)
        return HeatMap(values=Array.of(gradient[0].abs().amax(0).cpu()), low=0.0, figure=f"class {classes[target]}", caption=words)

    def _input(self, options: InputImage) -> tuple[Tensor, str]:
        """The selected image or drawing (1, C, H, W), and a caption."""
        image, words = input_image(options, self.data, self.task.frame)
        return image.to(self.task.device), words

    def _block(self, layer: int) -> Block:
        blocks = self.model.blocks
        if layer >= len(blocks):
            raise SettingsError(f"--layer {layer} is out of range; the layers are 0 to {len(blocks) - 1}", "layer")
        block = blocks[layer]
        assert isinstance(block, Block)
        return block

    def _predictions(self) -> tuple[Tensor, Tensor, Tensor, str]:
        """Labels (n,), logits (n, classes) and indices (n,) of at most `MOST` held-out images, on the CPU, and a caption when not all."""
        count = len(self.data.test_labels)
        indices = torch.from_numpy(evenly_spaced(count, MOST))
        chosen = indices.to(self.task.device)
        logits = self.model(self.task.test_images[chosen].float()).float().cpu()
        words = "" if count <= MOST else f"on {MOST:,} of the {count:,} held-out images"
        return self.task.test_labels[chosen].cpu(), logits, indices, words
