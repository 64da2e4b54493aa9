"""Small patches of the two photographs that scikit-learn ships, preprocessed as for sparse autoencoders.

Whitening as in Olshausen and Field (1997); scaling as in the UFLDL tutorial (Ng and others, 2011).
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import MIB, read_bytes
from dlplay.data.images import ImageData
from dlplay.engine.errors import DataError

PHOTOGRAPHS = ("china", "flower")
SIDE = 8
TRAINING, HELD_OUT = 10_000, 2_000
BAND, EVERY = 32, 4
"""Photographs are divided into bands of so many columns, and every fourth band is held out: no pixel of a held-out patch is in a
training patch, and both see all of the scene."""
CUTOFF = 0.39
"""Cycles per pixel; that of Olshausen and Field, 200 cycles per 512 pixels."""
LOW, HIGH = 0.1, 0.9
"""Pixels of a patch at minus and plus three standard deviations from its mean."""


def load_patches(whiten: bool = True) -> ImageData:
    """12,000 patches of 8x8 pixels, half of them from each photograph, with those of every fourth band held out. Raises `DataError`.

    The mean of each patch is subtracted, values are clipped at three standard deviations of the training patches, and scaled to
    [0.1, 0.9].
    """
    rng = np.random.default_rng(0)
    training, held_out = [], []
    for name in PHOTOGRAPHS:
        photograph = _photograph(name)
        if whiten:
            photograph = whitened(photograph)
        bands = [photograph[:, left : left + BAND] for left in range(0, photograph.shape[1] - BAND + 1, BAND)]
        apart = [number % EVERY == EVERY - 1 for number in range(len(bands))]
        training.append(_cut([band for band, out in zip(bands, apart, strict=True) if not out], TRAINING // len(PHOTOGRAPHS), rng))
        held_out.append(_cut([band for band, out in zip(bands, apart, strict=True) if out], HELD_OUT // len(PHOTOGRAPHS), rng))
    train, test = np.concatenate(training), np.concatenate(held_out)
    reach = 3 * float(train.std())
    labels = np.arange(len(PHOTOGRAPHS))
    return ImageData(
        "whitened patches" if whiten else "patches",
        PHOTOGRAPHS,
        255,
        _scaled(train, reach),
        labels.repeat(TRAINING // len(PHOTOGRAPHS)),
        _scaled(test, reach),
        labels.repeat(HELD_OUT // len(PHOTOGRAPHS)),
    )


def whitened(photograph: NDArray[np.float64]) -> NDArray[np.float64]:
    """A photograph (H, W) with a flat spectrum up to `CUTOFF`: amplitudes are multiplied by f exp(-(f/CUTOFF)^4), since those of natural
    scenes fall as 1/f and are mostly noise beyond."""
    rows, columns = np.fft.fftfreq(photograph.shape[0])[:, None], np.fft.fftfreq(photograph.shape[1])[None]
    frequency = np.hypot(rows, columns)
    kept = frequency * np.exp(-((frequency / CUTOFF) ** 4))
    white: NDArray[np.float64] = np.fft.ifft2(np.fft.fft2(photograph) * kept).real
    return white


def _photograph(name: str) -> NDArray[np.float64]:
    """Brightness (H, W) from 0 to 1, read without importing scikit-learn, which takes a second."""
    from PIL import Image  # imported here: only patches need it

    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("the photographs come with scikit-learn, which is not installed; run: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets" / "images" / f"{name}.jpg"
    data = read_bytes(path, 4 * MIB)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            light = np.asarray(image.convert("L"), dtype=np.float64) / 255
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"cannot read the photograph {path}: {error}; run: pip install --force-reinstall scikit-learn") from None
    return light


def _cut(bands: list[NDArray[np.float64]], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Patches (count, 1, 8, 8) from random places in bands of equal size, each minus its mean."""
    windows = np.stack([np.lib.stride_tricks.sliding_window_view(band, (SIDE, SIDE)) for band in bands])  # (bands, rows, columns, 8, 8)
    places = tuple(rng.integers(0, size, count) for size in windows.shape[:3])
    patches: NDArray[np.float64] = windows[places]  # (count, 8, 8)
    own: NDArray[np.float64] = patches - patches.mean((1, 2), keepdims=True)
    return own[:, None]


def _scaled(patches: NDArray[np.float64], reach: float) -> NDArray[np.uint8]:
    """Pixels from -reach to reach as bytes from 0.1 to 0.9 of 255."""
    share = (np.clip(patches / reach, -1, 1) + 1) / 2
    scaled: NDArray[np.uint8] = np.rint((LOW + (HIGH - LOW) * share) * 255).astype(np.uint8)
    return scaled
