"""Blobs: a linear classifier of points in the plane."""

from .card import card as card
