"""IDX files, the format of MNIST: a magic number, big-endian sizes, then bytes (described on LeCun's page on MNIST)."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import MIB, named, open_maybe_gzip, size
from dlplay.engine.errors import DataError

MAX_BYTES = 512 * MIB

_PAIRS = (("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), ("images.idx", "labels.idx"))
_TEST_PAIR = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclasses.dataclass(frozen=True, eq=False)
class IdxImages:
    """The contents of a folder of IDX files."""

    images: NDArray[np.uint8]  # (count, channels, height, width)
    labels: NDArray[np.int64]  # (count,)
    test_images: NDArray[np.uint8] | None
    test_labels: NDArray[np.int64] | None


def read_idx(path: Path, dimensions: tuple[int, ...], limit: int = MAX_BYTES) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, which may be compressed (`.gz`).

    `dimensions`: the allowed numbers of axes. The header is checked, against `limit` bytes as well, before anything is allocated. Raises
    `DataError`.
    """
    with open_maybe_gzip(path) as file:
        header = _exactly(file.read(4), 4, path)
        if header[:2] != b"\0\0" or header[2] != 8 or header[3] not in dimensions:
            wanted = " or ".join(str(count) for count in dimensions)
            raise DataError(f"{named(path)} is not an IDX file of unsigned bytes with {wanted} axes: it begins with {header.hex(' ')}")
        shape = struct.unpack(f">{header[3]}I", _exactly(file.read(4 * header[3]), 4 * header[3], path))
        count = math.prod(shape)
        if count > limit:
            raise DataError(f"{named(path)} says it holds {size(count)}; the limit is {size(limit)}, so use fewer or smaller images")
        if not path.name.endswith(".gz") and os.fstat(file.fileno()).st_size < file.tell() + count:
            raise DataError(f"{named(path)} is truncated: its header says it holds {size(count)}; copy it again")
        data = _exactly(file.read(count), count, path)
        if file.read(1):
            raise DataError(f"{named(path)} holds more than its header says ({size(count)}); it is damaged or not an IDX file")
    return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)  # writable, as torch wants arrays to be


def find_idx(folder: Path) -> bool:
    """Whether the folder holds training images as an IDX file."""
    return any(_present(folder, images) is not None for images, _ in _PAIRS)


def read_idx_folder(folder: Path) -> IdxImages:
    """Training images and labels of a folder, and held-out ones if it has them. Raises `DataError`."""
    for pair in _PAIRS:
        if _present(folder, pair[0]) is not None:
            images, labels = _read_pair(folder, pair)
            break
    else:
        raise DataError(f"{named(folder)} holds no {_PAIRS[0][0]} and no {_PAIRS[1][0]} (both may end in .gz)")
    if _present(folder, _TEST_PAIR[0]) is None:
        return IdxImages(images, labels, None, None)
    test_images, test_labels = _read_pair(folder, _TEST_PAIR)
    if test_images.shape[1:] != images.shape[1:]:
        raise DataError(
            f"{named(folder)}: training images are {images.shape[1:]} and held-out ones {test_images.shape[1:]}; their shapes must be equal"
        )
    return IdxImages(images, labels, test_images, test_labels)


def _read_pair(folder: Path, pair: tuple[str, str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images_path, labels_path = _present(folder, pair[0]), _present(folder, pair[1])
    if images_path is None or labels_path is None:
        raise DataError(f"{named(folder)} lacks {pair[1]} (it may end in .gz), the classes of {pair[0]}")
    images = read_idx(images_path, (3, 4))
    labels = read_idx(labels_path, (1,))
    if len(images) != len(labels) or len(images) == 0:
        raise DataError(
            f"{named(folder)}: {pair[0]} holds {len(images):,} images and {pair[1]} {len(labels):,} labels; each image needs one"
        )
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[3] == 3:  # colour as (count, height, width, 3)
        images = images.transpose(0, 3, 1, 2)
    if images.shape[1] not in (1, 3) or min(images.shape[2:]) < 1 or max(images.shape[2:]) > 256:
        raise DataError(
            f"{named(images_path)}: images of shape {images.shape[1:]} cannot be used; use 1 or 3 channels and at most 256x256 pixels"
        )
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _present(folder: Path, name: str) -> Path | None:
    """The file of that name, or of its variant in torchvision and older copies, compressed or not."""
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if (folder / candidate).exists():
            return folder / candidate
    return None


def _exactly(data: bytes, count: int, path: Path) -> bytes:
    if len(data) != count:
        raise DataError(f"{named(path)} is truncated: {size(count)} were expected and {size(len(data))} are there; copy it again")
    return data
