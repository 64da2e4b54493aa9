"""The embedded digits, 1,797 images of 8x8 pixels (Alpaydin and Kaynak, 1998), a fixed stratified split, and digits moved about."""

from __future__ import annotations

import gzip
import itertools
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlplay.engine.errors import DataError

COPIES = 4
"""Times that `move` draws each image."""
ROTATION = 30
"""Degrees to either side."""
_AT_ONCE = 64
"""Canvases drawn in one go: few enough for the processor's cache."""


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (1797, 8, 8) of ink from 0 to 16, and their labels (1797,).

    Read from the file that scikit-learn ships, without importing scikit-learn, which would take a second. Raises `DataError`.
    """
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("the digits come with scikit-learn, which is not installed; run: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        text = gzip.decompress(path.read_bytes())
        table = np.array(text.replace(b"\n", b",").rstrip(b",").split(b","), dtype=np.float64).reshape(1797, 65)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read the digits from {path}: {error}; run: pip install --force-reinstall scikit-learn") from None
    return table[:, :64].astype(np.uint8).reshape(-1, 8, 8), table[:, 64].astype(np.int64)


def move(images: NDArray[np.uint8], side: int, seed: int) -> NDArray[np.uint8]:
    """Each of the images (N, 1, h, w) on `COPIES` empty canvases of `side` pixels, rotated by up to `ROTATION` degrees and shifted to
    anywhere on it: (N * COPIES, 1, side, side), the copies of an image one after the other. The same seed gives the same pictures."""
    count, (height, width) = len(images) * COPIES, images.shape[2:]
    rng = np.random.RandomState(seed)  # its numbers stay the same in every version of numpy
    angle = np.radians(rng.uniform(-ROTATION, ROTATION, count))[:, None, None]
    down, right = (rng.uniform(-free, free, count)[:, None, None] for free in ((side - height) / 2, (side - width) / 2))
    framed = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1))).astype(np.float64)  # nothing but an empty frame is outside
    y, x = np.meshgrid(np.arange(side) - (side - 1) / 2, np.arange(side) - (side - 1) / 2, indexing="ij")  # from the canvas' middle
    pictures = np.empty((count, 1, side, side), np.uint8)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        cos, sin = np.cos(angle[part]), np.sin(angle[part])
        rows = cos * (y - down[part]) - sin * (x - right[part]) + (height - 1) / 2  # in the image, of each pixel of the canvas
        columns = sin * (y - down[part]) + cos * (x - right[part]) + (width - 1) / 2
        rows, columns = np.clip(rows + 1, 0, height + 1), np.clip(columns + 1, 0, width + 1)
        top, left = np.minimum(rows.astype(np.int64), height), np.minimum(columns.astype(np.int64), width)
        lower, further = rows - top, columns - left  # bilinear interpolation between four pixels
        source = np.arange(start, min(start + _AT_ONCE, count))[:, None, None] // COPIES
        drawn = (1 - lower) * ((1 - further) * framed[source, top, left] + further * framed[source, top, left + 1])
        drawn += lower * ((1 - further) * framed[source, top + 1, left] + further * framed[source, top + 1, left + 1])
        pictures[part, 0] = np.rint(drawn)
    return pictures


def stratified_split(labels: NDArray[np.int64], share: float = 0.2, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a training part and of a held-out part with `share` of each class.

    They are those of scikit-learn's `train_test_split(stratify=labels, test_size=share, random_state=seed)` (a test compares the two), so
    that published results can be compared. Raises `DataError` when a class has fewer than two examples.
    """
    rng = np.random.RandomState(seed)
    counts = np.bincount(labels)
    if counts.min() < 2:
        raise DataError(
            f"class {int(counts.argmin())} has {int(counts.min())} example; a class needs 2 or more, so that one can be held out"
        )
    held_out = int(np.ceil(share * len(labels)))
    training = len(labels) - held_out
    if min(training, held_out) < len(counts):
        need = least_examples(len(counts), share)
        raise DataError(
            f"{len(labels)} examples of {len(counts)} classes are too few to hold out one of each; give 2 or more of each class and {need} "
            "or more in all"
        )
    train_counts = _apportion(counts, training, rng)
    test_counts = _apportion(counts - train_counts, held_out, rng)
    train: list[NDArray[np.int64]] = []
    test: list[NDArray[np.int64]] = []
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)[rng.permutation(count)]
        train.append(members[: train_counts[label]])
        test.append(members[train_counts[label] : train_counts[label] + test_counts[label]])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def least_examples(classes: int, share: float = 0.2) -> int:
    """Fewest examples of which `stratified_split` holds out one of each class."""
    return next(count for count in itertools.count(2 * classes) if classes <= math.ceil(share * count) <= count - classes)


def _apportion(counts: NDArray[np.int64], total: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """`total` shared out in proportion to `counts`: whole parts first, then the largest remainders, with ties broken at random."""
    exact = counts / counts.sum() * total
    shares = np.floor(exact)
    remainders = exact - shares
    left = int(total - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if left == 0:
            break
        tied = np.flatnonzero(remainders == remainder)
        rounded_up = rng.choice(tied, size=min(len(tied), left), replace=False)
        shares[rounded_up] += 1
        left -= len(rounded_up)
    whole: NDArray[np.int64] = shares.astype(np.int64)
    return whole
