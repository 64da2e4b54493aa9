"""Real examples, points or images alike: on the device, each with its mode or class, and with the edits made by hand."""

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
from dlplay.parts.distances import Vectors

PLACED_SIGMA = 0.02 / 1.414
"""Standard deviation of a placed cluster: that of a mode of the 8 Gaussians."""
DEFAULT_MODES = 8
"""Where the data have no modes, a placed cluster weighs as much as if they had this many."""
REMOVAL_RADIUS = 0.35
"""Where the data have no modes, the points within this distance of the chosen place are removed."""


def load(data: str, drawing: str, image_size: int) -> PointData | ImageData:
    """Points or images, by name or from a path: a file holds points, a folder images. Raises `DataError`."""
    if data in IMAGE_SIDES or (data not in POINTS and Path(data).is_dir()):
        return load_images(data, image_size)
    if data not in POINTS and not Path(data).exists():
        near = get_close_matches(data, (*POINTS, *IMAGE_SIDES), n=1)
        if near and near[0] in IMAGE_SIDES:
            return load_images(data, image_size)  # its error suggests the name
    return load_points(data, drawing)


class Arrays(NamedTuple):
    """Examples as they are stored, each with its mode or class."""

    train: NDArray[Any]  # (N, 2) float32 points, or (N, C, H, W) uint8 images
    train_modes: NDArray[np.int64]  # (N,)
    test: NDArray[Any]
    test_modes: NDArray[np.int64]
    centres: NDArray[np.float32]  # (modes, 2); (0, 2) for images and for points without modes

    def with_cluster(self, x: float, y: float) -> Arrays:
        """With a cluster of points around (x, y), a mode of its own; the same points whenever the edit is repeated."""
        mode = max(len(self.centres), int(self.train_modes.max()) + 1)
        share = 1 / (len(np.unique(self.train_modes)) if len(self.centres) else DEFAULT_MODES)
        rng = np.random.default_rng(3)

        def grown(points: NDArray[Any], modes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
            count = max(1, round(share * len(points)))
            cluster = np.array([x, y]) + PLACED_SIGMA * rng.standard_normal((count, 2))
            return np.concatenate([points, cluster.astype(np.float32)]), np.concatenate([modes, np.full(count, mode)])

        train, test = grown(self.train, self.train_modes), grown(self.test, self.test_modes)
        centres = np.concatenate([self.centres, np.array([[x, y]], np.float32)]) if len(self.centres) else self.centres
        return Arrays(*train, *test, centres)

    def without_mode(self, mode: int) -> Arrays:
        """Without the examples of one mode or class."""
        return self._only(self.train_modes != mode, self.test_modes != mode)

    def without_near(self, x: float, y: float) -> Arrays:
        """Without the points within `REMOVAL_RADIUS` of (x, y)."""
        place = np.array([x, y])
        train, test = (np.linalg.norm(points - place, axis=1) > REMOVAL_RADIUS for points in (self.train, self.test))
        return self._only(train, test)

    def _only(self, train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Arrays:
        return Arrays(self.train[train], self.train_modes[train], self.test[test], self.test_modes[test], self.centres)


class Examples:
    """Training and held-out examples, changed by a list of edits; the edits alone are saved. A `Dataset`."""

    def __init__(self, source: PointData | ImageData, device: torch.device) -> None:
        self.source, self.device = source, device
        self.points = source if isinstance(source, PointData) else None
        self.images = source if isinstance(source, ImageData) else None
        self.words = source.words
        self.shape: tuple[int, ...] = (2,) if self.images is None else self.images.shape
        self.edits: list[dict[str, Any]] = []
        self.apply([])

    @property
    def key(self) -> str:
        """Of the examples as they were loaded, without the edits."""
        return self.source.key

    @property
    def assets(self) -> dict[str, Any]:
        """What the data decide about the networks."""
        return {"data": self.source.name, "shape": list(self.shape), "modes": self.names}

    @property
    def names(self) -> list[str]:
        """Names of the modes or classes, by their number; empty where there are none."""
        if self.images is not None:
            return list(self.images.classes)
        return [str(mode) for mode in range(len(self.centres))]

    # --- edits --------------------------------------------------------------------------------------------------------------------

    def apply(self, edits: list[dict[str, Any]]) -> None:
        """The data as they were loaded, with these edits. Raises `SettingsError`, and changes nothing, when too little would be left."""
        arrays = self._loaded()
        for edit in edits:
            if edit["kind"] == "place":
                arrays = arrays.with_cluster(edit["x"], edit["y"])
            else:
                arrays = arrays.without_mode(edit["mode"]) if "mode" in edit else arrays.without_near(edit["x"], edit["y"])
        if len(arrays.train) < 10 or len(arrays.test) < 2:
            raise SettingsError(f"only {len(arrays.train)} training examples would be left; restore the data first", "point")
        self.edits = edits
        self.train, self.test = torch.from_numpy(arrays.train).to(self.device), torch.from_numpy(arrays.test).to(self.device)
        self.train_modes, self.test_modes, self.centres = arrays.train_modes, arrays.test_modes, arrays.centres
        self.present = np.unique(self.train_modes)  # modes or classes that are left

    def _loaded(self) -> Arrays:
        if self.points is not None:
            points = self.points
            return Arrays(points.train, points.train_modes, points.test, points.test_modes, points.centres)
        assert self.images is not None
        images, none = self.images, np.zeros((0, 2), np.float32)
        return Arrays(images.train_images, images.train_labels, images.test_images, images.test_labels, none)

    def place(self, x: float, y: float) -> None:
        """Add a cluster of real points around (x, y)."""
        self.apply([*self.edits, {"kind": "place", "x": x, "y": y}])

    def remove_near(self, x: float, y: float) -> None:
        """Remove the mode nearest to (x, y); where there are no modes, the points near it. Raises `SettingsError`."""
        if len(self.centres):
            left = [mode for mode in self.present.tolist() if mode < len(self.centres)]
            return self.remove_mode(min(left, key=lambda mode: math.dist(self.centres[mode], (x, y))))
        before, count = self.edits, len(self.train)
        self.apply([*before, {"kind": "remove", "x": x, "y": y}])
        if len(self.train) == count:
            self.apply(before)
            raise SettingsError(
                f"--point {x:g},{y:g} is farther than {REMOVAL_RADIUS} from every real point; choose a place among them", "point"
            )

    def remove_mode(self, mode: int) -> None:
        """Remove a mode of the points, or a class of images. Raises `SettingsError`."""
        self.apply([*self.edits, {"kind": "remove", "mode": mode}])

    @property
    def edited(self) -> str:
        """The edits in words: "1 placed, 2 removed"."""
        placed = sum(edit["kind"] == "place" for edit in self.edits)
        parts = [f"{placed} placed" if placed else "", f"{len(self.edits) - placed} removed" if len(self.edits) > placed else ""]
        return ", ".join(part for part in parts if part)

    # --- forms --------------------------------------------------------------------------------------------------------------------

    def batch(self, indices: Tensor) -> Tensor:
        """The training examples (B, *shape) at `indices` (B,), as the discriminator takes them."""
        return self.scaled(self.train[indices])

    def scaled(self, stored: Tensor) -> Tensor:
        """Stored examples (N, *shape) as the discriminator takes them: points as they are, images with pixels from -1 to 1."""
        return stored if self.images is None else stored.float() * (2 / self.images.full) - 1

    def vectors(self, examples: Tensor) -> Vectors:
        """Samples, or scaled examples, (N, *shape) as vectors (N, D) to measure distances of: points as they are, pixels from 0 to 1."""
        flat = examples.detach().float().flatten(1).cpu().numpy().astype(np.float64)
        return flat if self.images is None else (flat + 1) / 2

    def real_vectors(self, stored: Tensor) -> Vectors:
        """Stored examples (N, *shape) as vectors (N, D)."""
        return self.vectors(self.scaled(stored))

    def check_shape(self, assets: dict[str, Any]) -> None:
        """Raises `DataError` unless the networks of a checkpoint with these `assets` fit the data."""
        if list(self.shape) != list(assets["shape"]):
            raise DataError(
                f"the checkpoint's networks take examples of shape {tuple(assets['shape'])}, and {self.source.name} has {self.shape}; "
                f"use --data {assets['data']}"
            )
