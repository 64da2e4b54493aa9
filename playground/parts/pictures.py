"""The image that a panel looks at, and images as panels hold them."""

from __future__ import annotations

import torch
from torch import Tensor

from dlplay.data.images import ImageData
from dlplay.engine.panels import Array
from dlplay.engine.settings import SettingsError
from dlplay.parts.image_options import InputImage
from dlplay.parts.ink import Frame, fit_to_frame, parse_drawing


def input_image(options: InputImage, data: ImageData, frame: Frame) -> tuple[Tensor, str]:
    """The drawing, or the held-out image when nothing is drawn, (1, C, H, W) with pixels from 0 to `data.full` on the CPU, and a caption.

    Raises `SettingsError` for a drawing that cannot be read and for an index out of range.
    """
    if options.drawing and (ink := parse_drawing(options.drawing)).any():
        return fit_to_frame(ink, data.shape, frame, data.full, data.spread), "your drawing"
    moved = " (moved at random)" if data.spread else ""
    return held_out_image(options.image, data), f"held-out image {options.image}, label {label(options.image, data)}{moved}"


def held_out_image(index: int, data: ImageData, option: str = "image") -> Tensor:
    """A held-out image (1, C, H, W) with pixels from 0 to `data.full`, on the CPU. Raises `SettingsError`, which names the option."""
    if index >= len(data.test_images):
        raise SettingsError(f"--{option} {index} is out of range; the held-out images are 0 to {len(data.test_images) - 1}", option)
    return torch.from_numpy(data.test_images[index : index + 1]).float()


def label(index: int, data: ImageData) -> str:
    """Name of the true class of a held-out image."""
    return data.classes[int(data.test_labels[index])]


def pictures(images: Tensor, full: float) -> Array:
    """Images (N, C, H, W) with pixels from 0 to `full` as bytes: (N, H, W) for grey ones, (N, H, W, 3) for colour."""
    light = (images * (255 / full)).round().clamp(0, 255).byte().cpu()
    return Array.of(light[:, 0] if light.shape[1] == 1 else light.permute(0, 2, 3, 1))


def signed_pictures(images: Tensor) -> Array:
    """Signed images (N, C, H, W): grey ones as numbers (N, H, W), colour ones as bytes (N, H, W, 3), each scaled to its largest value, with
    zero as mid-grey."""
    images = images.detach().float().cpu()
    if images.shape[1] != 3:
        return Array.of(images[:, 0])
    size = images.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return Array.of(((images / size + 1) * 127.5).round().byte().permute(0, 2, 3, 1))


def stacked(*rows: Tensor) -> Tensor:
    """Images (B, C, H, W) of each row above those of the next, an empty line between them: (B, C, rows (H+1) - 1, W)."""
    line = torch.zeros_like(rows[0][:, :, :1])
    parts = [part for row in rows for part in (row, line)]
    return torch.cat(parts[:-1], dim=2)


def tiled(images: Tensor, columns: int) -> Tensor:
    """Images (rows * columns, C, H, W) as one image (1, C, rows H, columns W)."""
    count, channels, height, width = images.shape
    rows = count // columns
    return images.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4).reshape(1, channels, rows * height, columns * width)
