"""The GAN's card: what can be set, asked, done and shown. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.gan.looks import ACTIONS, CHARTS, PANELS, PRESETS, STAGE
from dlplay.architectures.gan.settings import GANSettings
from dlplay.engine.card import Card

card = Card(
    name="gan",
    title="GAN",
    summary="Let two nets train each other: one makes points or images from noise, the other tells them from real ones.",
    settings=GANSettings,
    task="dlplay.architectures.gan.task:GANTask",
    metric="wasserstein_distance",
    better="lower",
    order=40,
    charts=CHARTS,
    panels=PANELS,
    stage=STAGE,
    actions=ACTIONS,
    bounds=("real against real",),
    presets=PRESETS,
)

__all__ = ["GANSettings", "card"]
