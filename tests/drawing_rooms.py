"""What every room that draws its batches on the host can draw: settings that are to differ from its small ones."""

from typing import Any

DRAWING: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt": ("gpt", {"dropout": 0.1}),
    "gpt, accumulated": ("gpt", {"accumulate": 2}),
    "convnet": ("convnet", {"schedule": "cosine"}),
    "convnet, augmented": ("convnet", {"augment": True, "optimizer": "sgd", "momentum": 0.0, "schedule": "cosine"}),
    "autoencoder": ("autoencoder", {"noise": "none", "variational": False, "schedule": "cosine"}),
    "autoencoder, masked": ("autoencoder", {"noise": "masking", "variational": False, "schedule": "constant"}),
    "autoencoder, variational": ("autoencoder", {"noise": "none", "variational": True, "schedule": "cosine"}),
    "bert": ("bert", {"dropout": 0.1}),
    "bert, next sentences": ("bert", {"next_sentence": True}),
    "seq2seq": ("seq2seq", {"dropout": 0.1}),
    "adding": ("recurrent", {"task": "adding", "length": 8}),
    "copy": ("recurrent", {"task": "copy", "length": 4}),
    "last token": ("recurrent", {"predict": "last"}),
    "recall": ("transformer-xl", {"task": "recall", "gap": 12, "facts": 2}),
    "gan": ("gan", {"loss": "non-saturating", "average": 0.9}),
    "gan, penalty": ("gan", {"loss": "wasserstein-gp", "critic_steps": 2}),
    "gan, clipped": ("gan", {"loss": "wasserstein", "critic_steps": 2}),
    "gan, augmented": ("gan", {"data": "digits", "augment": True, "loss": "non-saturating"}),
}
"""By a name that a test is told by: the architecture, and the settings."""

READ_ON: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("recurrent", {"task": "text"}),
    "text, with a memory": ("transformer-xl", {"task": "text"}),
}
"""Those that draw nothing, since a step reads on where the last one ended."""

ACTS: dict[str, Any] = {"learning_starts": 0, "epsilon_start": 0.0, "epsilon_end": 0.0, "gradient_steps": 2}
REPLAYING: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn": ("dqn", ACTS),
    "dqn that explores": ("dqn", ACTS | {"epsilon_start": 1.0, "epsilon_end": 1.0}),
    "dqn that learns in every other step": ("dqn", ACTS | {"train_frequency": 2}),
    "dqn of four environments": ("dqn", ACTS | {"envs": 4, "gradient_steps": 5}),
    "dqn of states": ("dqn", ACTS | {"env": "FrozenLake-v1"}),
    "dqn, prioritised": ("dqn", ACTS | {"prioritised": True}),
}
"""Those that cannot draw ahead: what they learn from follows from the actions that were chosen."""
