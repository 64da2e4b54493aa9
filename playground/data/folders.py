"""A folder of class folders with pictures in them, read with Pillow under caps."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import MIB, clean, named, read_bytes
from dlplay.engine.errors import DataError

MAX_IMAGES = 100_000
MAX_SIDE = 4096
MAX_CLASSES = 1000
MAX_FILE = 32 * MIB
MAX_BYTES = 1024 * MIB
"""Of all pictures together, after resizing."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


def read_folder(folder: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """Pictures (count, channels, side, side), their classes (count,) and the classes' names, taken from the class folders' names.

    Grey pictures stay grey when all are; otherwise all become colour. Whatever the sizes, each picture is cut to its centred square and
    resized. Links and hidden files are passed over. Raises `DataError`.
    """
    found = _list(folder)
    names = _class_names(list(found))
    total = sum(len(paths) for paths in found.values())
    if total * 3 * side * side > MAX_BYTES:
        raise DataError(
            f"{named(folder)}: {total:,} images of {side}x{side} are more than 1 GiB; use a smaller --image-size or fewer images"
        )
    pictures: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, paths in enumerate(found.values()):
        for path in paths:
            pictures.append(read_picture(path, side))
            labels.append(label)
    if any(picture.shape[0] == 3 for picture in pictures):
        pictures = [np.repeat(picture, 3, axis=0) if picture.shape[0] == 1 else picture for picture in pictures]
    return np.stack(pictures), np.array(labels, dtype=np.int64), names


def read_picture(path: Path, side: int) -> NDArray[np.uint8]:
    """One picture as (1 or 3, side, side). Raises `DataError` for what is no picture, is damaged, or is larger than 4096x4096."""
    from PIL import Image  # imported here: only own pictures need it

    data = read_bytes(path, MAX_FILE, follow=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
                if max(width, height) > MAX_SIDE or min(width, height) < 1:
                    raise DataError(f"{named(path)} is {width}x{height} pixels; at most {MAX_SIDE}x{MAX_SIDE} are read, so make it smaller")
                grey = image.mode in ("1", "L", "LA")
                square = min(width, height)
                left, top = (width - square) // 2, (height - square) // 2
                plain = image.convert("L" if grey else "RGB")
                small = plain.resize((side, side), Image.Resampling.BOX, box=(left, top, left + square, top + square))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their libraries do
        raise DataError(f"{named(path)} cannot be read as a picture ({_why(error)}); remove or replace it") from None
    array = np.asarray(small, dtype=np.uint8)
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def _list(folder: Path) -> dict[str, list[Path]]:
    """The picture files of each class folder, in the order of their names. Raises `DataError`."""
    found: dict[str, list[Path]] = {}
    total = 0
    for name in _entries(folder, folders=True):
        paths = []
        for entry in _entries(folder / name, folders=False):
            if entry.lower().endswith(SUFFIXES):
                paths.append(folder / name / entry)
                total += 1
                if total > MAX_IMAGES:
                    raise DataError(f"{named(folder)} holds more than {MAX_IMAGES:,} pictures, the most that are read; use fewer")
        if paths:
            found[name] = paths
    if len(found) < 2:
        raise DataError(
            f"{named(folder)} holds {len(found)} class folders with pictures; make one folder for each class, two or more, "
            "or put IDX files such as train-images-idx3-ubyte there"
        )
    if len(found) > MAX_CLASSES:
        raise DataError(f"{named(folder)} holds {len(found):,} class folders; at most {MAX_CLASSES:,} classes can be used")
    return found


def _entries(folder: Path, *, folders: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and (entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False))
            )
    except OSError as error:
        raise DataError(f"cannot list {named(folder)}: {error.strerror or error}") from None


def _class_names(folders: list[str]) -> tuple[str, ...]:
    """Labels that can be shown and told apart."""
    names: list[str] = []
    for folder in folders:
        name = clean(folder, 40) or "unnamed"
        names.append(name if name not in names else f"{name[:34]} ({len(names)})")
    return tuple(names)


def _why(error: Exception) -> str:
    """A decoder's words, without the name of the buffer it was given."""
    words = clean(str(error), 120)
    return "no picture of a known format" if not words or "<_io" in words else words
