"""A folder with one folder of images per class, read with Pillow within limits."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import MIB, clean, named, read_bytes
from dlplay.engine.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_IMAGES = 100_000
MAX_SIDE = 4096
MAX_CLASSES = 1000
MAX_FILE = 32 * MIB
MAX_BYTES = 1024 * MIB
"""Of all images together, after resizing."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


HELD_OUT_FOLDERS = ("test", "val", "valid", "validation")
"""Names of a folder beside `train` that holds the held-out images, the first that is there."""


def find_split(folder: Path) -> tuple[Path, Path] | None:
    """The folders of training and of held-out images, when `train` and `test` (or `val`) hold class folders. Raises `DataError`."""
    names = {name.lower(): name for name in reversed(_entries(folder, folders=True))}
    held_out = next((name for name in HELD_OUT_FOLDERS if name in names), None)
    if "train" not in names or held_out is None:
        return None
    train, test = folder / names["train"], folder / names[held_out]
    if any(_images(train / name) for name in _entries(train, folders=True)):
        return train, test
    if set(names) <= {"train", *HELD_OUT_FOLDERS} and not _entries(train, folders=True):
        raise DataError(f"{named(train)} holds no class folders; put the images of each class into a folder of its own there")
    return None


def links_in(folder: Path) -> list[str]:
    """The symbolic links in the folder and in its class folders, as paths from there; `read_folder` passes over them."""
    found: list[str] = []
    for inside in (folder, *(folder / name for name in _entries(folder, folders=True))):
        links = _scan(inside, os.DirEntry.is_symlink)
        found += [clean(str((inside / name).relative_to(folder))) for name in links]
    return found


def passed_over(links: list[str]) -> str:
    """The links in words."""
    more = f" and {len(links) - 3:,} more" if len(links) > 3 else ""
    return f"{len(links):,} link{'s' * (len(links) > 1)} passed over ({', '.join(links[:3])}{more})"


def read_folder(folder: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """Images (count, channels, side, side), their classes (count,), and the names of the classes, which are those of the folders.

    Images stay greyscale when all of them are; otherwise all become RGB. Each is cropped to its central square and resized. Links and
    hidden files are skipped. Raises `DataError`.
    """
    found = _list(folder)
    names = _class_names(list(found))
    total = sum(len(paths) for paths in found.values())
    if total * 3 * side * side > MAX_BYTES:
        raise DataError(
            f"{named(folder)}: {total:,} images of {side}x{side} are more than 1 GiB; use a smaller --image-size or fewer images"
        )
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, paths in enumerate(found.values()):
        for path in paths:
            images.append(read_image(path, side))
            labels.append(label)
    if any(image.shape[0] == 3 for image in images):
        images = [np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image for image in images]
    return np.stack(images), np.array(labels, dtype=np.int64), names


def read_image(path: Path, side: int) -> NDArray[np.uint8]:
    """An image as (1 or 3, side, side).

    It is turned as its EXIF orientation says, 16 bits become 8, and what is transparent shows white. Raises `DataError` when it is not an
    image, damaged, larger than 4096x4096, or of numbers whose black and white are not known.
    """
    from PIL import Image, ImageOps  # imported here: only a user's own images need it

    data = read_bytes(path, MAX_FILE, follow=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
                if max(width, height) > MAX_SIDE or min(width, height) < 1:
                    raise DataError(f"{named(path)} is {width}x{height} pixels; the limit is {MAX_SIDE}x{MAX_SIDE}, so make it smaller")
                image.load()
                plain = _eight_bits(image, path)
                with contextlib.suppress(Exception):  # damaged EXIF data are no reason to refuse a picture
                    plain = ImageOps.exif_transpose(plain)
                square = min(plain.size)
                left, top = (plain.width - square) // 2, (plain.height - square) // 2
                small = plain.resize((side, side), Image.Resampling.BOX, box=(left, top, left + square, top + square))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their libraries do
        raise DataError(f"{named(path)} cannot be read as an image ({_reason(error)}); remove or replace it") from None
    array = np.asarray(small, dtype=np.uint8)
    return array[None] if plain.mode == "L" else np.ascontiguousarray(array.transpose(2, 0, 1))


def _eight_bits(image: Picture, path: Path) -> Picture:
    """`image` in mode L when it is greyscale, else RGB, over white, with its EXIF data. Raises `DataError`."""
    from PIL import Image

    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{named(path)} has values from {values.min()} to {values.max()}; save it with 8 or 16 bits for each channel")
        plain = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    elif image.mode == "F":
        raise DataError(f"{named(path)} holds floating-point numbers, of which black and white are not known; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        ink = image.convert("RGBA")
        plain = Image.alpha_composite(Image.new("RGBA", ink.size, "white"), ink).convert(mode)
    else:
        plain = image.convert(mode)
    plain.info = image.info
    return plain


def _list(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, sorted by name. Raises `DataError`."""
    found: dict[str, list[Path]] = {}
    total = 0
    for name in _entries(folder, folders=True):
        paths = _images(folder / name)
        total += len(paths)
        if total > MAX_IMAGES:
            raise DataError(f"{named(folder)} holds more than {MAX_IMAGES:,} images, which is the limit; use fewer")
        if paths:
            found[name] = paths
    if len(found) < 2:
        raise DataError(
            f"{named(folder)} holds {len(found)} class folders with images; make one folder for each class, two or more, "
            "or put IDX files such as train-images-idx3-ubyte there"
            + (f"; {passed_over(links)}, so put the folders and files themselves in their place" if (links := links_in(folder)) else "")
        )
    if len(found) > MAX_CLASSES:
        raise DataError(f"{named(folder)} holds {len(found):,} class folders; the limit is {MAX_CLASSES:,} classes")
    return found


def _images(folder: Path) -> list[Path]:
    return [folder / entry for entry in _entries(folder, folders=False) if entry.lower().endswith(SUFFIXES)]


def _entries(folder: Path, *, folders: bool) -> list[str]:
    """Names of the folders, or of the files, that are neither links nor hidden."""
    return _scan(folder, lambda entry: entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False))


def _scan(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    """Sorted names of the entries that are wanted and not hidden. Raises `DataError`."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry))
    except OSError as error:
        raise DataError(f"cannot list {named(folder)}: {error.strerror or error}") from None


def _class_names(folders: list[str]) -> tuple[str, ...]:
    """Names of the classes: printable and distinct."""
    names: list[str] = []
    for folder in folders:
        name = clean(folder, 40) or "unnamed"
        names.append(name if name not in names else f"{name[:34]} ({len(names)})")
    return tuple(names)


def _reason(error: Exception) -> str:
    """A decoder's message, unless it only names the buffer it was given."""
    words = clean(str(error), 120)
    return "not an image of a known format" if not words or "<_io" in words else words
