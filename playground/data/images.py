"""Labelled images from any source, split into a training and a held-out part."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import clean, named
from dlplay.data.catalogue import IMAGE_SIDES
from dlplay.data.digits import COPIES, least_examples, load_digits, move, stratified_split
from dlplay.data.download import SETS, download_set
from dlplay.data.folders import find_split, links_in, passed_over, read_folder
from dlplay.data.idx import find_idx, read_idx_folder
from dlplay.engine.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Images as bytes from 0 to `full`, with the held-out ones apart."""

    name: str
    classes: tuple[str, ...]
    full: int
    """Largest value of a pixel: full ink, or full light."""
    train_images: NDArray[np.uint8]  # (count, channels, height, width)
    train_labels: NDArray[np.int64]  # (count,)
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    note: str = ""
    """What was left out, in words."""
    spread: float = 0.0
    """How far from the middle of the canvas the digits stand, at most, in pixels: a drawing keeps its place as far."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def words(self) -> str:
        """The data in words, with sizes."""
        channels, height, width = self.shape
        kind = "greyscale" if channels == 1 else "colour"
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} held-out images"
        return f"{self.name}: {counts}, {height}x{width} {kind}, {len(self.classes)} classes" + (f"; {self.note}" if self.note else "")

    @functools.cached_property
    def key(self) -> str:
        """A digest of the images, their labels and the split."""
        digest = hashlib.sha256(repr((self.classes, self.full, self.train_images.shape, self.test_images.shape)).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]

    @property
    def assets(self) -> dict[str, Any]:
        """What the data decide about a network."""
        return {"data": self.name, "classes": list(self.classes), "shape": list(self.shape), "full": self.full}

    def check(self, assets: Mapping[str, Any], *, classes: bool = False) -> None:
        """Raises `DataError` unless a network trained on images with these `assets` can take these images, and tell as many `classes`."""
        theirs, own = f"images of shape {tuple(assets['shape'])}", f"{self.shape}"
        if classes:
            theirs, own = f"{theirs} in {len(assets['classes'])} classes", f"{own} in {len(self.classes)}"
        if self.shape != tuple(assets["shape"]) or (classes and len(self.classes) != len(assets["classes"])):
            raise DataError(f"the checkpoint's network takes {theirs}, and {self.name} has {own}; use --data {assets['data']}")


def load_images(data: str, image_size: int = 32) -> ImageData:
    """The data set called `data`, or the images in the folder of that path. Raises `DataError`.

    The folder holds IDX files, or a folder of images for each class, which are cropped and resized to `image_size` pixels a side, or
    folders `train` and `test` that hold one for each class.
    """
    if data == "digits":
        return _digits()
    if data == "moved-digits":
        return _moved_digits(IMAGE_SIDES[data])
    if data in SETS:
        train_images, train_labels, test_images, test_labels = download_set(data)
        return ImageData(data, SETS[data].classes, 255, train_images, train_labels, test_images, test_labels)
    path = Path(data)
    if not path.is_dir():
        near = difflib.get_close_matches(path.name, IMAGE_SIDES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(IMAGE_SIDES)} or the path of a folder"
        found = "is not a folder" if path.exists() else "is neither a known data set nor a folder"
        raise DataError(f"--data {named(path)} {found}; {hint}")
    name = clean(path.resolve().name) or "own images"
    if find_idx(path):
        idx = read_idx_folder(path)
        if idx.test_images is None or idx.test_labels is None:
            labels, classes = _classes(idx.labels)
            return _split(name, idx.images, labels, classes, full=255)
        labels, classes = _classes(np.concatenate([idx.labels, idx.test_labels]))
        count = len(idx.labels)
        return ImageData(name, classes, 255, idx.images, labels[:count], idx.test_images, labels[count:])
    if split := find_split(path):
        read, links = _read_split(name, *split, image_size), [*links_in(path), *links_in(split[0]), *links_in(split[1])]
    else:
        images, labels, names = read_folder(path, image_size)
        read, links = _split(name, images, labels, names, full=255), links_in(path)
    return dataclasses.replace(read, note=passed_over(links)) if links else read


def _read_split(name: str, train: Path, test: Path, image_size: int) -> ImageData:
    """The images of both folders, which hold the same class folders. Raises `DataError`."""
    images, labels, classes = read_folder(train, image_size)
    test_images, test_labels, test_classes = read_folder(test, image_size)
    if test_classes != classes:
        odd = sorted(set(classes) ^ set(test_classes))[:4]
        raise DataError(f"{named(train)} and {named(test)} hold different classes ({', '.join(odd)}); put the same folders into both")
    channels = max(images.shape[1], test_images.shape[1])
    images, test_images = (part if part.shape[1] == channels else np.repeat(part, channels, axis=1) for part in (images, test_images))
    return ImageData(name, classes, 255, images, labels, test_images, test_labels)


@functools.cache
def _digits() -> ImageData:
    images, labels = load_digits()
    return _split("digits", images[:, None], labels, tuple("0123456789"), full=16)


@functools.cache
def _moved_digits(side: int) -> ImageData:
    """Each digit drawn several times, shifted and rotated; a held-out digit is never drawn for training."""
    digits = _digits()
    return dataclasses.replace(
        digits,
        name="moved-digits",
        train_images=move(digits.train_images, side, seed=0),
        train_labels=np.repeat(digits.train_labels, COPIES),
        test_images=move(digits.test_images, side, seed=1),
        test_labels=np.repeat(digits.test_labels, COPIES),
        spread=(side - digits.shape[1]) / 2,
    )


def evenly_spaced(count: int, most: int) -> NDArray[np.int64]:
    """Indices of all of `count` examples, or of `most` evenly spaced ones."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def _classes(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels renumbered from 0 without gaps, and the original labels as names."""
    numbers, positions = np.unique(labels, return_inverse=True)
    return positions.astype(np.int64), tuple(str(number) for number in numbers)


def _split(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...], full: int) -> ImageData:
    counts = np.bincount(labels, minlength=len(classes))
    need = least_examples(len(classes))
    if counts.min() < 2 or len(labels) < need:
        rarest = int(counts.argmin())
        raise DataError(
            f"{name} holds {len(labels):,} images of {len(classes)} classes, {counts[rarest]} of class {classes[rarest]}; give 2 or more "
            f"of each class and {need} or more in all, so that one of each is held out"
        )
    train, test = stratified_split(labels)
    return ImageData(name, classes, full, images[train], labels[train], images[test], labels[test])
