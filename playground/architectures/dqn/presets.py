"""Known-good settings for each environment, and three that leave out what makes them good."""

from __future__ import annotations

from dlplay.engine.card import Preset

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
    "taxi": Preset(
        TABLE
        | {
            "env": "Taxi-v4",
            "lr": 0.05,
            "batch": 256,
            "train_frequency": 2,
            "gradient_steps": 1,
            "tau": 0.05,
            "epsilon_steps": 20_000,
            "epsilon_end": 0.1,
            "steps": 40_000,
        },
        "A table of 500 states: fetch the passenger and bring him home, in about 13 steps.",
    ),
    "acrobot": Preset(
        {"env": "Acrobot-v1", "scale": False, "loss": "huber", "clip": 10, "epsilon_steps": 10_000, "steps": 80_000},
        "Two links swing up in about 80 steps; squared errors of −1 a step would be too rough here, Huber's are not.",
    ),
    "mountaincar": Preset(
        {"env": "MountainCar-v0", "hidden": [256, 256], "double": False, "n_step": 1, "gamma": 0.98, "lr": 4e-3, "schedule": "linear"}
        | {"batch": 128, "buffer": 10_000, "train_frequency": 16, "gradient_steps": 8, "target": "hard", "target_every": 600}
        | {"epsilon_steps": 24_000, "epsilon_end": 0.07, "loss": "huber", "clip": 10, "scale": False, "steps": 120_000},
        "Up the hill in about 105 steps; nothing is won until it first gets there: the return stays at −200 for a third of the time.",
    ),
    "lunarlander": Preset(
        {"env": "LunarLander-v3", "hidden": [128, 128], "batch": 128, "loss": "huber", "clip": 10, "buffer": 100_000, "steps": 200_000}
        | {"epsilon_steps": 40_000, "eval_every": 10_000, "save_every": 20_000},
        "Land between the flags (with the extra box2d); a wider net and more steps. Not tuned.",
    ),
    "pong": Preset(
        {"env": "ALE/Pong-v5", "hidden": [512], "batch": 32, "lr": 1e-4, "loss": "huber", "n_step": 3, "clip_rewards": True}
        | {"buffer": 50_000, "learning_starts": 10_000, "train_frequency": 4, "gradient_steps": 1, "target": "hard", "target_every": 2_000}
        | {
            "epsilon_steps": 250_000,
            "epsilon_end": 0.01,
            "steps": 2_000_000,
            "eval_every": 50_000,
            "save_every": 50_000,
            "eval_episodes": 3,
        },
        "The screen of an Atari game (with the extra atari) and the net of Mnih and others; for a GPU and hours. Not tuned.",
    ),
    "no-target-net": Preset(
        {"target": "none", "double": False, "n_step": 1, "steps": 20_000},
        "The net chases its own values: look at the value promised, which rises far above the 100 that is possible.",
    ),
    "no-replay": Preset(
        {"buffer": 64, "steps": 20_000},
        "Learns from the last 64 transitions alone, which are all alike: slower, and it forgets on the way what it could.",
    ),
    "over-estimation": Preset(
        {"double": False, "n_step": 1, "loss": "huber", "clip": 10, "scale": False, "hidden": [128, 128]},
        "The highest of several noisy values is too high: one net that chooses and values promises more than the 100 that is possible.",
    ),
}
