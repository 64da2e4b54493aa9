"""Points in the plane: distributions by name, the ink of a drawing, or a file of numbers."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import MIB, clean, named, read_bytes
from dlplay.data.catalogue import POINTS
from dlplay.engine.errors import DataError

TRAINING = 20_000
HELD_OUT = 1000
MAX_FILE = 32 * MIB
MAX_POINTS = 1_000_000
MIN_POINTS = 10
HEX = "0123456789abcdef"
MAX_SIDE = 16
"""Rows and columns of a drawing, at most."""

Points = NDArray[np.float32]
Modes = NDArray[np.int64]
Sample = tuple[NDArray[np.float64], Modes]
"""Points (count, 2), and the mode each was drawn from (count,), all 0 where there are none."""


@dataclasses.dataclass(frozen=True, eq=False)
class PointData:
    """Points of the plane, split into a training and a held-out part. A `Dataset`."""

    name: str
    train: Points  # (N, 2)
    train_modes: Modes  # (N,)
    test: Points  # (M, 2)
    test_modes: Modes  # (M,)
    centres: Points  # (modes, 2); (0, 2) where the distribution has no separate modes
    sigma: float
    """Standard deviation of a mode."""

    @property
    def words(self) -> str:
        """The data in words, with sizes."""
        modes = f", {len(self.centres)} modes" if len(self.centres) else ""
        return f"{self.name}: {len(self.train):,} training and {len(self.test):,} held-out points in the plane{modes}"

    @functools.cached_property
    def key(self) -> str:
        """A digest of the points, their modes and the split."""
        digest = hashlib.sha256(repr((self.train.shape, self.test.shape, self.sigma)).encode())
        for array in (self.train, self.train_modes, self.test, self.test_modes, self.centres):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]

    @property
    def assets(self) -> dict[str, Any]:
        """What the data decide about a net."""
        return {"data": self.name, "shape": [2]}


def gaussians(name: str, centres: NDArray[np.float64], sigma: float, scale: float) -> PointData:
    """A mixture of equally likely Gaussians around `centres` (modes, 2), everything divided by `scale`."""

    def draw(rng: np.random.Generator, count: int) -> Sample:
        modes = rng.integers(0, len(centres), count)
        return (centres[modes] + sigma * rng.standard_normal((count, 2))) / scale, modes

    return _sample(name, draw, (centres / scale).astype(np.float32), sigma / scale)


def _eight(name: str) -> PointData:
    """Radius 2, standard deviation .02, divided by 1.414, as in the toy problems of Gulrajani et al. (2017)."""
    angles = np.arange(8) * np.pi / 4
    return gaussians(name, 2 * np.stack([np.cos(angles), np.sin(angles)], 1), 0.02, 1.414)


def _twenty_five(name: str) -> PointData:
    """A grid with a spacing of 2, standard deviation .05, divided by 2.828, from the same source."""
    side = np.arange(-4.0, 5.0, 2.0)
    return gaussians(name, np.stack(np.meshgrid(side, side), -1).reshape(-1, 2), 0.05, 2.828)


def _ring(rng: np.random.Generator, count: int) -> Sample:
    angles = rng.uniform(0, 2 * np.pi, count)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    return (2 * circle + 0.02 * rng.standard_normal((count, 2))) / 1.414, np.zeros(count, np.int64)


def _moons(rng: np.random.Generator, count: int) -> Sample:
    modes = rng.integers(0, 2, count)
    angles = rng.uniform(0, np.pi, count)
    upper = np.stack([np.cos(angles) - 0.5, np.sin(angles) - 0.25], 1)
    half = np.where(modes[:, None] == 0, upper, -upper)
    return 1.1 * half + 0.05 * rng.standard_normal((count, 2)), modes


def _spiral(rng: np.random.Generator, count: int) -> Sample:
    turn = np.sqrt(rng.uniform(0.02, 1, count)) * 3 * np.pi  # the root spreads the points evenly along the arm
    arm = np.stack([np.cos(turn), np.sin(turn)], 1) * (turn / (3 * np.pi))[:, None]
    return 1.6 * arm + 0.02 * rng.standard_normal((count, 2)), np.zeros(count, np.int64)


CURVES: dict[str, Callable[[np.random.Generator, int], Sample]] = {"ring": _ring, "moons": _moons, "spiral": _spiral}
GAUSSIANS: dict[str, Callable[[str], PointData]] = {"8-gaussians": _eight, "25-gaussians": _twenty_five}


def load_points(data: str, drawing: str = "") -> PointData:
    """The distribution called `data`, `drawing` being that of "drawn", or the points in the file of that path. Raises `DataError`."""
    if data in GAUSSIANS:
        return GAUSSIANS[data](data)
    if data in CURVES:
        return _sample(data, CURVES[data], np.zeros((0, 2), np.float32), 0.0)
    if data == "drawn":
        ink = parse_ink(drawing)
        return _sample("drawn", lambda rng, count: _from_ink(ink, rng, count), np.zeros((0, 2), np.float32), 0.0)
    path = Path(data)
    if not path.exists():
        near = difflib.get_close_matches(path.name, POINTS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(POINTS)} or the path of a file with two numbers a line"
        raise DataError(f"--data {named(path)} is neither a known distribution nor a file; {hint}")
    return _from_file(path)


def parse_ink(drawing: str) -> NDArray[np.float64]:
    """Ink (rows, columns) from 0 to 1, from rows of hexadecimal digits separated by `/`. Raises `DataError`."""
    rows = drawing.strip().lower().split("/")
    form = "write rows of the digits 0 (empty) to f (full ink) separated by /, such as 0ff0/f00f/0ff0"
    if len({len(row) for row in rows}) != 1 or not rows[0] or max(len(rows), len(rows[0])) > MAX_SIDE:
        sides = sorted({len(row) for row in rows})
        raise DataError(f"--drawing has {len(rows)} rows of {sides} pixels; {form}, at most {MAX_SIDE}x{MAX_SIDE}")
    if wrong := sorted(set("".join(rows)) - set(HEX)):
        raise DataError(f"--drawing holds {clean(wrong[0]) or ascii(wrong[0])}; {form}")
    ink = np.array([[HEX.index(digit) for digit in row] for row in rows], np.float64) / 15
    if not ink.any():
        raise DataError(f"--drawing is empty; {form}")
    return ink


def _from_ink(ink: NDArray[np.float64], rng: np.random.Generator, count: int) -> Sample:
    """Points with a density proportional to the ink, the longer side of the drawing from -1.6 to 1.6, its first row on top."""
    rows, columns = ink.shape
    pixels = rng.choice(ink.size, count, p=ink.ravel() / ink.sum())
    place = np.stack([pixels % columns, pixels // columns], 1) + rng.uniform(0, 1, (count, 2))
    centred = (place - np.array([columns, rows]) / 2) * [1, -1]
    return 3.2 * centred / max(rows, columns), np.zeros(count, np.int64)


def read_points(path: Path) -> NDArray[np.float64]:
    """Points (count, 2) of a `.npy` file, or of a text with two numbers a line, separated by a comma, a semicolon or spaces; a line of
    headings is skipped. At most a million points and 32 MiB. Raises `DataError`."""
    data = read_bytes(path, MAX_FILE)
    points = _read_array(data, path) if data[:6] == b"\x93NUMPY" else _read_text(data, path)
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"{named(path)} holds numbers of shape {points.shape}; points of the plane are two numbers each")
    if not MIN_POINTS <= len(points) <= MAX_POINTS:
        raise DataError(f"{named(path)} holds {len(points):,} points; between {MIN_POINTS} and {MAX_POINTS:,} can be used")
    if bad := np.flatnonzero(~np.isfinite(points).all(1)).tolist():
        raise DataError(f"{named(path)}: point {bad[0] + 1:,} is not finite; remove it")
    return points


def _read_array(data: bytes, path: Path) -> NDArray[np.float64]:
    """The header says how much memory the array takes, so it is checked before anything is allocated."""
    from numpy.lib import format as npy

    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
        shape, _, dtype = header
        if dtype.kind not in "fiu" or any(side < 0 for side in shape) or int(np.prod(shape, dtype=object)) * dtype.itemsize > len(data):
            raise ValueError(f"it says it holds {shape} of {dtype}")
        return np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)  # type: ignore[no-any-return]
    except (ValueError, TypeError, OverflowError, EOFError, MemoryError) as error:
        raise DataError(f"{named(path)} is not a valid .npy file of numbers ({clean(str(error), 120)}); save it again") from None


def _read_text(data: bytes, path: Path) -> NDArray[np.float64]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{named(path)} is neither text nor a .npy file; give two numbers per line") from None
    points: list[tuple[float, float]] = []
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            x, y = (float(word) for word in words)
        except ValueError:
            if not points and number == 1:
                continue
            raise DataError(f"{named(path)}, line {number:,}: {clean(line)!r} is not two numbers; give x and y on every line") from None
        points.append((x, y))
    return np.array(points, np.float64).reshape(-1, 2)


def _from_file(path: Path) -> PointData:
    """Shifted, and scaled by the same factor in both directions, to a mean of 0 and a mean square of 1; a random tenth is held out."""
    points = read_points(path)
    points = points - points.mean(0)
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(np.sqrt(np.square(points).mean()))
    if not np.isfinite(spread) or spread <= 0:
        raise DataError(f"{named(path)}: the points have a standard deviation of {spread:g}; give points that differ, and smaller numbers")
    points = (points / spread).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(points))
    held_out = min(HELD_OUT, max(1, len(points) // 10))
    test, train = points[order[:held_out]], points[order[held_out:]]
    none = np.zeros((0, 2), np.float32)
    name = clean(path.resolve().name) or "own points"
    return PointData(name, train, np.zeros(len(train), np.int64), test, np.zeros(len(test), np.int64), none, 0.0)


def _sample(name: str, draw: Callable[[np.random.Generator, int], Sample], centres: Points, sigma: float) -> PointData:
    """A training and a held-out sample, the same in every run: each has a generator of its own."""
    train, train_modes = draw(np.random.default_rng(1), TRAINING)
    test, test_modes = draw(np.random.default_rng(2), HELD_OUT)
    return PointData(name, train.astype(np.float32), train_modes, test.astype(np.float32), test_modes, centres, sigma)
