"""Data sets that are known by name. Imports neither torch nor numpy: settings and cards list them."""

from __future__ import annotations

IMAGE_SIDES = {"moved-digits": 16, "digits": 8, "mnist": 28, "fashion-mnist": 28, "cifar10": 32}
"""Image data sets, and the side of their square images in pixels."""

GAUSSIANS = ("8-gaussians", "25-gaussians")
"""Point distributions with separate modes."""

POINTS = (*GAUSSIANS, "ring", "moons", "spiral", "drawn")
"""Distributions of points in the plane."""
