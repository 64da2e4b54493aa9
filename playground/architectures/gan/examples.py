"""What is learnt, points or images alike: examples on the device with the mode each belongs to, and what a person changed about them."""

from __future__ import annotations

import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlplay.data.catalogue import IMAGE_SIDES, POINTS
from dlplay.data.images import ImageData, load_images
from dlplay.data.points import PointData, load_points
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError

PLACED_SIGMA = 0.02 / 1.414
"""Spread of the points that a person places: that of a mode of the 8 Gaussians."""
USUAL_MODES = 8
"""Where the data has no modes, a placed point weighs as much as an eighth of it."""
REACH = 0.35
"""Where the data has no modes, what lies this near to the place is removed."""

Cells = NDArray[np.float64]


def load(data: str, drawing: str, image_size: int) -> PointData | ImageData:
    """Points or images, by name or from a path: a file holds points, a folder images. Raises `DataError`."""
    if data in IMAGE_SIDES or (data not in POINTS and Path(data).is_dir()):
        return load_images(data, image_size)
    if data not in POINTS and not Path(data).exists():
        near = get_close_matches(data, (*POINTS, *IMAGE_SIDES), n=1)
        if near and near[0] in IMAGE_SIDES:
            return load_images(data, image_size)  # says what is wrong
    return load_points(data, drawing)


class Parts(NamedTuple):
    """Examples as they are stored, each with its mode."""

    train: NDArray[Any]  # (N, 2) points, or (N, C, H, W) whole numbers
    train_modes: NDArray[np.int64]  # (N,)
    test: NDArray[Any]
    test_modes: NDArray[np.int64]
    centres: NDArray[np.float32]  # (modes, 2)

    def placed(self, x: float, y: float) -> Parts:
        """With a small cluster of points as heavy as a mode; the same points again whenever the edit is repeated."""
        mode = max(len(self.centres), int(self.train_modes.max()) + 1)
        share = 1 / (len(np.unique(self.train_modes)) if len(self.centres) else USUAL_MODES)
        rng = np.random.default_rng(3)

        def grown(points: NDArray[Any], modes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
            count = max(1, round(share * len(points)))
            cluster = np.array([x, y]) + PLACED_SIGMA * rng.standard_normal((count, 2))
            return np.concatenate([points, cluster.astype(np.float32)]), np.concatenate([modes, np.full(count, mode)])

        train, test = grown(self.train, self.train_modes), grown(self.test, self.test_modes)
        centres = np.concatenate([self.centres, np.array([[x, y]], np.float32)]) if len(self.centres) else self.centres
        return Parts(*train, *test, centres)

    def without_mode(self, mode: int) -> Parts:
        """Without the examples of one mode or class."""
        return self._only(self.train_modes != mode, self.test_modes != mode)

    def without_near(self, x: float, y: float) -> Parts:
        """Without the points around a place."""
        place = np.array([x, y])
        train, test = (np.linalg.norm(points - place, axis=1) > REACH for points in (self.train, self.test))
        return self._only(train, test)

    def _only(self, train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Parts:
        return Parts(self.train[train], self.train_modes[train], self.test[test], self.test_modes[test], self.centres)


class Examples:
    """Training and held-out examples, changed by a list of edits that is all there is to save."""

    def __init__(self, source: PointData | ImageData, device: torch.device) -> None:
        self.source, self.device = source, device
        self.points = source if isinstance(source, PointData) else None
        self.images = source if isinstance(source, ImageData) else None
        self.words, self.digest = source.words, source.digest()
        self.shape: tuple[int, ...] = (2,) if self.images is None else self.images.shape
        self.edits: list[dict[str, Any]] = []
        self.apply([])

    def apply(self, edits: list[dict[str, Any]]) -> None:
        """The data as it was read, with these changes. Raises `SettingsError` and changes nothing when too little would be left."""
        parts = self._as_read()
        for edit in edits:
            if edit["kind"] == "place":
                parts = parts.placed(edit["x"], edit["y"])
            else:
                parts = parts.without_mode(edit["mode"]) if "mode" in edit else parts.without_near(edit["x"], edit["y"])
        if len(parts.train) < 10 or len(parts.test) < 2:
            raise SettingsError(f"only {len(parts.train)} training examples would be left; restore the data first", "point")
        self.edits = edits
        self.train, self.test = torch.from_numpy(parts.train).to(self.device), torch.from_numpy(parts.test).to(self.device)
        self.train_modes, self.test_modes, self.centres = parts.train_modes, parts.test_modes, parts.centres
        self.present = np.unique(self.train_modes)  # modes and classes that are still there

    def _as_read(self) -> Parts:
        if self.points is not None:
            points = self.points
            return Parts(points.train, points.train_modes, points.test, points.test_modes, points.centres)
        assert self.images is not None
        images, none = self.images, np.zeros((0, 2), np.float32)
        return Parts(images.train_images, images.train_labels, images.test_images, images.test_labels, none)

    # --- changes ------------------------------------------------------------------------------------------------------------------

    def place(self, x: float, y: float) -> None:
        """Add a cluster of real points. Raises `SettingsError` for images."""
        if self.points is None:
            raise SettingsError(f"a point cannot be placed among images; use --data {POINTS[0]}, or remove a class", "point")
        self.apply([*self.edits, {"kind": "place", "x": x, "y": y}])

    def remove_near(self, x: float, y: float) -> None:
        """Remove the mode nearest to the place; where there are no modes, all that lies near it. Raises `SettingsError`."""
        if len(self.centres):
            left = [mode for mode in self.present.tolist() if mode < len(self.centres)]
            mode = min(left, key=lambda mode: math.dist(self.centres[mode], (x, y)))
            return self.apply([*self.edits, {"kind": "remove", "mode": mode}])
        count = len(self.train)
        edits = [*self.edits, {"kind": "remove", "x": x, "y": y}]
        before = self.edits
        self.apply(edits)
        if len(self.train) == count:
            self.apply(before)
            raise SettingsError(f"--point {x:g},{y:g} is farther than {REACH} from every real point; choose a place among them", "point")

    def remove_class(self, label: int) -> None:
        """Remove a class of images. Raises `SettingsError`."""
        self.apply([*self.edits, {"kind": "remove", "mode": label}])

    # --- reading ------------------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Names of the modes or classes, by their number; empty where there are none."""
        if self.images is not None:
            return list(self.images.classes)
        return [str(mode) for mode in range(len(self.centres))]

    @property
    def changed(self) -> str:
        """What a person changed, in words."""
        placed = sum(edit["kind"] == "place" for edit in self.edits)
        parts = [f"{placed} placed" if placed else "", f"{len(self.edits) - placed} removed" if len(self.edits) > placed else ""]
        return ", ".join(part for part in parts if part)

    def batch(self, indices: Tensor) -> Tensor:
        """Training examples (B, *shape) as the nets see them: points as they are, images from -1 to 1."""
        return self.scaled(self.train[indices])

    def scaled(self, examples: Tensor) -> Tensor:
        """Stored examples as the nets see them."""
        return examples if self.images is None else examples.float() * (2 / self.images.full) - 1

    def flat(self, examples: Tensor) -> Cells:
        """What the nets see or make as numbers to measure (N, numbers): points as they are, cells from 0 to 1."""
        numbers = examples.detach().float().flatten(1).cpu().numpy().astype(np.float64)
        return numbers if self.images is None else (numbers + 1) / 2

    def stored(self, examples: Tensor) -> Cells:
        """Stored examples in the same numbers."""
        return self.flat(self.scaled(examples))


def check_source(source: PointData | ImageData, assets: dict[str, Any]) -> None:
    """Raises `DataError` unless a checkpoint's nets fit the data."""
    shape = [2] if isinstance(source, PointData) else list(source.shape)
    if shape != list(assets["shape"]):
        raise DataError(
            f"the checkpoint's nets make examples of shape {tuple(assets['shape'])} and {source.name} has {tuple(shape)}; "
            f"use --data {assets['data']}"
        )
