"""What all of an autoencoder's panels share: the image that is looked at, noise, codes, and pictures of them."""

from __future__ import annotations

import torch
from torch import Tensor

from dlplay.architectures.autoencoder.model import Autoencoder
from dlplay.architectures.autoencoder.noise import corrupt
from dlplay.architectures.autoencoder.options import InputOptions, PageOptions
from dlplay.architectures.autoencoder.settings import AutoencoderSettings
from dlplay.data.images import ImageData
from dlplay.engine.panels import Array
from dlplay.engine.settings import SettingsError
from dlplay.parts.image_options import ImageOptions
from dlplay.parts.ink import Frame, has_ink, parse_drawing, place
from dlplay.parts.pictures import pictures

SEEN = 1000
"""Held-out images whose codes a panel looks at, the first ones, at the most: panels must not hold training up."""
NOISE_SEED = 5
"""Start of a panel's noise: the same question has the same answer."""


class View:
    """Attributes that a `Task` brings, and the questions that panels begin with."""

    model: Autoencoder
    images: ImageData
    frame: Frame
    train_images: Tensor
    test_images: Tensor
    device: torch.device
    settings: AutoencoderSettings

    def cells(self, images: Tensor) -> Tensor:
        """Images as they are kept, with cells from 0 to 1."""
        return images.float().div_(self.images.full)

    def class_of(self, image: int) -> str:
        """The true class of a held-out image."""
        return self.images.classes[int(self.images.test_labels[image])]

    def held_out(self, image: int, option: str = "image") -> Tensor:
        """A held-out image (1, C, H, W). Raises `SettingsError`."""
        if image >= len(self.test_images):
            raise SettingsError(f"--{option} {image} is not there; the held-out images are 0 to {len(self.test_images) - 1}", option)
        return self.cells(self.test_images[image : image + 1])

    def looked_at(self, options: ImageOptions) -> tuple[Tensor, str]:
        """The image or drawing (1, C, H, W) that is looked at, and what it is in words."""
        if options.drawing:
            ink = parse_drawing(options.drawing)
            if has_ink(options.drawing):
                placed = place(ink, self.images.shape, self.frame, self.images.full)
                return placed.to(self.device) / self.images.full, "your drawing"
        return self.held_out(options.image), f"held-out image {options.image}, {self.class_of(options.image)}"

    def noisy(self, images: Tensor, options: InputOptions | PageOptions) -> Tensor:
        """Images as the options want them, or the same tensor when nothing is done to them."""
        kind = self.settings.noise if options.input_noise == "as trained" else options.input_noise
        return corrupt(images, kind, options.input_noise_level, torch.Generator().manual_seed(NOISE_SEED))

    def silenced(self, code: Tensor, unit: int) -> Tensor:
        """A code (B, k) with one unit set to 0. Raises `SettingsError`."""
        if unit >= code.shape[1]:
            raise SettingsError(f"--silence {unit} is not there; the code has units 0 to {code.shape[1] - 1}, -1 for none", "silence")
        if unit < 0:
            return code
        code = code.clone()
        code[:, unit] = 0
        return code

    def codes(self) -> Tensor:
        """Codes (n, k) of the first held-out images."""
        return self.model.encode(self.cells(self.test_images[:SEEN])).mean

    def pictures(self, images: Tensor) -> Array:
        """Images with cells from 0 to 1, as panels hold them."""
        return pictures(images.clamp(0, 1), 1.0)


def stacked(*rows: Tensor) -> Tensor:
    """Images (B, C, H, W) of each row above those of the next, an empty line between them: (B, C, rows (H+1) - 1, W)."""
    line = torch.zeros_like(rows[0][:, :, :1])
    parts = [part for row in rows for part in (row, line)]
    return torch.cat(parts[:-1], dim=2)


def tiled(images: Tensor, columns: int) -> Tensor:
    """Images (rows * columns, C, H, W) as one picture (1, C, rows H, columns W)."""
    count, channels, height, width = images.shape
    rows = count // columns
    return images.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4).reshape(1, channels, rows * height, columns * width)


def signed_pictures(images: Tensor) -> Array:
    """Signed images (N, C, H, W): grey ones as numbers (N, H, W), in colour with grey as 0 and each image's own scale."""
    images = images.detach().float().cpu()
    if images.shape[1] != 3:
        return Array.of(images[:, 0])
    size = images.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return Array.of(((images / size + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
