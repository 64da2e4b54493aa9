"""Presets of the blobs room. Imports no torch."""

from dlplay.engine.card import Preset

PRESETS = {
    "slow": Preset({"lr": 1e-3}, "A small learning rate: the border turns slowly enough to watch."),
}
