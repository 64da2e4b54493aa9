"""Known-good settings for each environment, and three that go wrong on purpose."""

from __future__ import annotations

from playground.engine.card import Preset

PRESETS = {
    "cartpole": Preset({}, "Balances the pole for all 500 steps after 50,000 of training."),
}
