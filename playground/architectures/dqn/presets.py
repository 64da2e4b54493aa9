"""Known-good settings for each environment, and three that leave out what makes them good."""

from __future__ import annotations

from playground.engine.card import Preset

TABLE = {"hidden": [0], "double": False, "n_step": 1}
"""Of a few numbered states: a table of values, which plain Q-learning fills."""

PRESETS = {
    "cartpole": Preset({}, "50,000 steps balance the pole for all 500 steps of an episode."),
    "frozenlake": Preset(
        TABLE
        | {
            "env": "FrozenLake-v1",
            "lr": 0.01,
            "batch": 256,
            "learning_starts": 500,
            "train_frequency": 2,
            "gradient_steps": 1,
            "epsilon_steps": 20_000,
            "epsilon_end": 0.2,
            "steps": 40_000,
        },
        "A table of 16 states: large batches average over the slippery ice, and the falling rate lets the values settle.",
    ),
    "cliffwalking": Preset(
        TABLE
        | {
            "env": "CliffWalking-v1",
            "time_limit": 200,
            "lr": 0.05,
            "batch": 128,
            "buffer": 10_000,
            "learning_starts": 500,
            "train_frequency": 2,
            "gradient_steps": 1,
            "tau": 0.05,
            "epsilon_steps": 5_000,
            "epsilon_end": 0.1,
            "steps": 15_000,
        },
        "A table of 48 states finds the shortest way along the cliff, 13 steps, in seconds.",
    ),
}
