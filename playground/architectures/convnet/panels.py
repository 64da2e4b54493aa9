"""What can be seen of a ConvNet: each panel is a pure function of the task and the options."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.architectures.convnet.model import Block, Maps
from dlplay.architectures.convnet.settings import Cell, FeatureMaps, LayerKernels, Nudge, SaliencyTarget
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
            parts=[f"blocks.{options.layer}.convolution[{channel}]" for channel in range(len(weight))],
            figure=f"layer {options.layer}, {len(weight)} of {weight.shape[2]}x{weight.shape[3]}",
        )

    def maps(self, options: FeatureMaps) -> ImageGrid:
        """The feature maps of one layer for the image or drawing."""
        plain = self._block(options.layer).residual is None and options.after == "residual"
        image, words = self._input(options)
        maps = getattr(self.model.trace(image)[0][options.layer], options.after)[0]  # (C, h, w)
        shown = "pooling" if plain else options.after
        return ImageGrid(
            images=Array.of(maps.float().cpu()),
            labels=[str(channel) for channel in range(len(maps))],
            signed=bool((maps < 0).any()),
            parts=[f"blocks.{options.layer}.{shown}[{channel}]" for channel in range(len(maps))],
            figure=f"layer {options.layer}, {len(maps)} of {maps.shape[1]}x{maps.shape[2]}",
            caption=words + " · the pooled maps, since this layer has no residual branch" * plain,
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
        layers: list[str] = []
        for number, block in enumerate(self.model.blocks):
            residual = isinstance(block, Block) and block.residual is not None
            layers += [f"layer {number}", *([f"residual {number}, {place}" for place in ("first", "second")] if residual else [])]
        return probe_norms(self.model, lambda: F.cross_entropy(self.model(images), labels), [*layers, "classifier"], self.task.optimizer)

    def saliency(self, options: SaliencyTarget) -> HeatMap:
        """Absolute gradient of one logit with respect to every pixel, the largest over the channels."""
        image, words = self._input(options)
        with torch.enable_grad():
            image.requires_grad_()
            logits = self.model(image)[0]
            target = self._target(options, logits)
            (gradient,) = torch.autograd.grad(logits[target], image)
        name = self.data.classes[target]
        return HeatMap(values=Array.of(gradient[0].abs().amax(0).cpu()), low=0.0, figure=f"class {name}", caption=words)

    def grad_cam(self, options: SaliencyTarget) -> HeatMap:
        """The last layer's activations weighted by their mean gradient, summed, cut at 0, as large as the image."""
        image, words = self._input(options)
        with torch.enable_grad():
            maps, logits = self.model.trace(image.requires_grad_())
            target = self._target(options, logits[0])
            last = maps[-1].activation  # (1, C, h, w)
            (gradient,) = torch.autograd.grad(logits[0, target], last)
        weighted = (gradient.mean((2, 3), keepdim=True) * last.detach()).sum(1, keepdim=True).relu()  # (1, 1, h, w)
        shown = F.interpolate(weighted, size=image.shape[2:], mode="bilinear", align_corners=False)[0, 0]
        return HeatMap(values=Array.of(shown.cpu()), low=0.0, figure=f"class {self.data.classes[target]}", caption=words)

    def adversarial(self, options: Nudge) -> ImageGrid:
        """The image, and the image after one step of the fast gradient sign method."""
        image, words = self._input(options)
        with torch.enable_grad():
            image.requires_grad_()
            logits = self.model(image)
            before = int(logits.argmax())
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(1)), image)
        image = image.detach()
        nudged = (image + options.nudge * self.data.full * gradient.sign()).clamp(0, self.data.full)
        said = [self._said(each) for each in (image, nudged)]
        after = int(self.model(nudged).argmax())
        return ImageGrid(
            images=pictures(torch.cat([image, nudged]), self.data.full),
            labels=said,
            wrong=[False, after != before],
            figure=" → ".join(said),
            caption=f"each pixel by {100 * options.nudge:.3g} % of full ink" + (f" · {words}" if words else ""),
        )

    def cell(self, options: Cell) -> ImageGrid:
        """Window, kernel and product of the input channel that adds most to one cell of a feature map."""
        image, words = self._input(options)
        maps, before, values = self._map(options, image)
        output, row, column = _cell_of(options, values)
        convolution = self._block(options.layer).convolution
        kernel = convolution.weight[output]  # (C, k, k)
        side, (stride, _), (padding, _) = kernel.shape[-1], convolution.stride, _pair(convolution.padding)
        padded = F.pad(before[0], [padding] * 4)
        window = padded[:, row * stride : row * stride + side, column * stride : column * stride + side]  # (C, k, k)
        product, written = window * kernel, float(maps[options.layer].convolution[0, output, row, column])
        channel = int(product.sum((1, 2)).abs().argmax())
        total, bias = float(product.sum()), 0.0 if convolution.bias is None else float(convolution.bias[output])
        summed = f"sum {total:.3f}" + (f" {bias:+.3f} (bias) = {total + bias:.3f}" if convolution.bias is not None else "")
        shown = f"input channel {channel} (0–{len(kernel) - 1})" if len(kernel) > 1 else ""
        # what an intervention on the convolution has made of the sum
        changed = "" if math.isclose(written, total + bias, rel_tol=1e-3, abs_tol=1e-3) else f"in the map stands {written:.3f}"
        return ImageGrid(
            images=Array.of(torch.stack([part[channel] for part in (window, kernel, product)]).float().cpu()),
            parts=[f"blocks.{options.layer}.convolution[{output}]"],
            labels=["window", "kernel", f"product, sum {float(product[channel].sum()):.3f}"],
            signed=True,
            figure=f"layer {options.layer}, map {output}, cell {row},{column}",
            caption=" · ".join(part for part in (summed, shown, changed, options.drawing and words) if part),
        )

    def receptive_field(self, options: Cell) -> HeatMap:
        """Absolute gradient of one cell with respect to every pixel, the largest over the colours; what it cannot see is hatched."""
        image, words = self._input(options)
        with torch.enable_grad():
            maps, _, values = self._map(options, image.requires_grad_())
            output, row, column = _cell_of(options, values)
            (gradient,) = torch.autograd.grad(values[output, row, column], image)
        field = self._field(maps, options.layer, (row, column), image)
        hidden = torch.ones(image.shape[2:], dtype=torch.uint8)
        hidden[field[0].start : field[0].stop, field[1].start : field[1].stop] = 0
        spread = "group normalisation reads whole maps, so that every pixel counts a little"
        grouped = any(isinstance(module, nn.GroupNorm) for block in self.model.blocks[: options.layer] for module in block.modules())
        return HeatMap(
            values=Array.of(gradient[0].abs().amax(0).cpu()),
            low=0.0,
            hatched=Array.of(hidden),
            parts=[f"blocks.{options.layer}.convolution[{output}]"],
            figure=f"layer {options.layer}, map {output}, cell {row},{column}",
            caption=" · ".join(
                [
                    f"{len(field[0])}x{len(field[1])} pixels: rows {field[0][0]}–{field[0][-1]}, columns {field[1][0]}–{field[1][-1]}",
                    *([spread] if grouped else []),
                    *([words] if options.drawing else []),
                ]
            ),
        )

    def _map(self, options: Cell, image: Tensor) -> tuple[list[Maps], Tensor, Tensor]:
        """The feature maps, the input (1, C, h, w) of the layer, and what its convolution makes of that, (C', h', w'), whatever is done
        to it."""
        convolution = self._block(options.layer).convolution
        maps, _ = self.model.trace(image)
        before = (image - self.model.mean) / self.model.std if options.layer == 0 else maps[options.layer - 1].residual
        return maps, before, F.conv2d(before, convolution.weight, convolution.bias, convolution.stride, convolution.padding)[0]

    def _field(self, maps: list[Maps], layer: int, cell: tuple[int, int], image: Tensor) -> list[range]:
        """Rows and columns of the pixels that a cell of a layer's convolution is computed from: back from it through every layer."""
        found = []
        for axis, place in zip((2, 3), cell, strict=True):
            seen = _window(self._block(layer).convolution, range(place, place + 1))
            for below in reversed(range(layer)):
                block = self._block(below)
                seen = _within(seen, maps[below].residual.shape[axis])
                if block.residual is not None:
                    for part in (block.residual.second, block.residual.first):
                        seen = _within(_window(part.convolution, seen), maps[below].pooling.shape[axis])
                if not isinstance(block.pooling, nn.Identity):
                    seen = range(2 * seen.start, 2 * seen.stop)
                seen = _window(block.convolution, _within(seen, maps[below].convolution.shape[axis]))
            found.append(_within(seen, image.shape[axis]))
        return found

    def _target(self, options: SaliencyTarget, logits: Tensor) -> int:
        """The class that is meant. Raises `SettingsError`."""
        if options.target >= len(logits):
            raise SettingsError(
                f"--target {options.target} is out of range; there are {len(logits)} classes, 0 to {len(logits) - 1}, or predicted",
                "target",
            )
        return options.target if options.target >= 0 else int(logits.argmax())

    def _said(self, image: Tensor) -> str:
        probabilities = F.softmax(self.model(image)[0].float(), 0)
        predicted = int(probabilities.argmax())
        return f"{self.data.classes[predicted]} {100 * float(probabilities[predicted]):.0f} %"

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


def _cell_of(options: Cell, values: Tensor) -> tuple[int, int, int]:
    """Map, row and column of the cell that is meant, of maps (C, h, w)."""
    output = min(options.output, len(values) - 1)
    rows, columns = values.shape[1:]
    strongest = int(values[output].argmax())
    row = strongest // columns if options.row < 0 else min(options.row, rows - 1)
    return output, row, strongest % columns if options.column < 0 else min(options.column, columns - 1)


def _window(convolution: nn.Conv2d, cells: range) -> range:
    """The rows (or columns) that a convolution reads for those of its output, beyond the edges too."""
    side, (stride, _), (padding, _) = convolution.kernel_size[0], convolution.stride, _pair(convolution.padding)
    return range(cells.start * stride - padding, (cells.stop - 1) * stride - padding + side)


def _within(cells: range, size: int) -> range:
    return range(max(0, cells.start), min(size, cells.stop))


def _pair(padding: str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(padding, str)
    return padding[0], padding[1]
