"""Presets for each environment, and three that show what goes wrong without a part. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import Preset

TABLE = {"hidden": [0], "double": False, "n_step": 1}
"""For a few discrete states: a table of Q-values, learned by one-step Q-learning."""

PRESETS = {
    "cartpole": Preset({}, "The defaults: after 50,000 steps the pole stands for all 500 steps of an episode."),
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
        "A table of 16 states. The ice is slippery: large batches and a decaying learning rate average over its randomness.",
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
        "A table of 48 states: it finds the shortest path along the cliff, 13 steps, in seconds.",
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
        "A table of 500 states: pick up the passenger and drop them off, in about 13 steps.",
    ),
    "acrobot": Preset(
        {"env": "Acrobot-v1", "scale": False, "loss": "huber", "clip": 10, "epsilon_steps": 10_000, "steps": 80_000},
        "The two links swing up in about 80 steps. The Huber loss limits the gradients of the large early TD errors.",
    ),
    "mountaincar": Preset(
        {"env": "MountainCar-v0", "hidden": [256, 256], "double": False, "n_step": 1, "gamma": 0.98, "lr": 4e-3, "schedule": "linear"}
        | {"batch": 128, "buffer": 10_000, "train_frequency": 16, "gradient_steps": 8, "target": "hard", "target_every": 600}
        | {"epsilon_steps": 24_000, "epsilon_end": 0.07, "loss": "huber", "clip": 10, "scale": False, "steps": 120_000},
        "Up the hill in about 105 steps. The return stays at −200 for a third of training, until the car first reaches the top.",
    ),
    "lunarlander": Preset(
        {"env": "LunarLander-v3", "hidden": [128, 128], "batch": 128, "loss": "huber", "clip": 10, "buffer": 100_000, "steps": 200_000}
        | {"epsilon_steps": 40_000, "eval_every": 10_000, "save_every": 20_000},
        "Land between the flags, with a wider network and more steps; needs the extra box2d. Not tuned.",
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
        "An Atari game from its screen, with the network of Mnih et al. (2015); needs the extra atari, a GPU and hours. Not tuned.",
    ),
    "no-target-net": Preset(
        {"target": "none", "double": False, "n_step": 1, "steps": 20_000},
        "The network bootstraps from itself: its predicted values rise far above 100, the largest possible return.",
    ),
    "no-replay": Preset(
        {"buffer": 64, "steps": 20_000},
        "It learns from its last 64 transitions only, which are strongly correlated: slower, and it forgets what it has learned.",
    ),
    "over-estimation": Preset(
        {"double": False, "n_step": 1, "loss": "huber", "clip": 10, "scale": False, "hidden": [128, 128]},
        "Plain DQN overestimates: the maximum over noisy values is biased upwards, beyond 100, the largest possible return.",
    ),
}
