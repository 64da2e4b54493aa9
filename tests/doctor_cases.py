"""Runs for the doctor: settings that are known to be ill, each with what is wrong, and healthy ones. Short enough for a CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """A run, and the diagnoses of which one at least must be found: none for a healthy run."""

    architecture: str
    settings: Mapping[str, Any]
    ill: frozenset[str] = frozenset()
    """Names of the diagnoses that say what is planted."""
    also: frozenset[str] = frozenset()
    """Others that hold as well, as a consequence."""

    @property
    def name(self) -> str:
        words = [f"{key}={value}" for key, value in self.settings.items()]
        return f"{self.architecture} {' '.join(words)}"


def ill(architecture: str, diagnoses: str, also: str = "", **settings: Any) -> Case:
    return Case(architecture, settings, frozenset(diagnoses.split()), frozenset(also.split()))


HIGH = "rate-too-high not-finite"
FAILED = (
    "hardly-learnt rate-too-high not-finite dead-units saturated saturated-softmax exploding-gradients vanishing-gradients not-trained-out"
)
"""What else a run that learns nothing shows."""

DIGITS: Any = {"data": "digits", "eval_every": 50}
PLANTED = [
    ill("convnet", HIGH, FAILED, **DIGITS, optimizer="sgd", lr=5.0, schedule="constant", norm="none", steps=300),
    ill("convnet", "rate-too-low", "not-trained-out hardly-learnt", **DIGITS, lr=3e-6, schedule="constant", steps=400),
    ill("convnet", "dead-units", FAILED, **DIGITS, norm="none", optimizer="adam", lr=0.1, schedule="constant", steps=300),
    ill("convnet", "saturated", FAILED, **DIGITS, norm="none", activation="tanh", optimizer="adam", lr=0.3, schedule="constant", steps=300),
    ill(
        "convnet",
        "batch-too-small",
        FAILED,
        **DIGITS,
        batch=1,
        norm="none",
        optimizer="sgd",
        lr=0.003,
        momentum=0.9,
        schedule="constant",
        steps=1000,
    ),
    ill("recurrent", "overfitting", "", tokens="word", dropout=0.0, weight_decay=0.0, lr=0.01, width=128, steps=800, eval_every=80),
    ill(
        "autoencoder",
        "vanishing-gradients",
        FAILED,
        activation="sigmoid",
        hidden=(64, 64, 64, 64, 64, 64),
        lr=1e-3,
        steps=600,
        eval_every=100,
    ),
    ill("autoencoder", HIGH, FAILED, optimizer="adam", lr=1.0, schedule="constant", steps=400, eval_every=100),
    ill("autoencoder", "rate-too-low", "not-trained-out hardly-learnt", lr=3e-6, schedule="constant", steps=600, eval_every=100),
    ill("autoencoder", "dead-units", FAILED, activation="relu", optimizer="adam", lr=0.3, schedule="constant", steps=400, eval_every=100),
    ill("autoencoder", "saturated", FAILED, activation="tanh", optimizer="adam", lr=0.3, schedule="constant", steps=400, eval_every=100),
    ill("gpt", "overfitting", "", dropout=0.0, weight_decay=0.0, layers=2, steps=2500),
    ill("gpt", HIGH, FAILED, lr=1.0, layers=1, width=32, steps=300),
    ill("gpt", "rate-too-low", "not-trained-out hardly-learnt", lr=3e-6, layers=1, width=32, steps=300),
    ill("gpt", "saturated-softmax", f"{FAILED} over-confident", init_std=1.0, layers=2, width=128, steps=300),
    ill("gpt", "over-confident", FAILED, init_std=0.5, layers=1, width=64, steps=300),
    ill("gpt", "vocabulary-too-small", "not-trained-out", vocab_size=300, layers=1, width=32, steps=300),
    ill(
        "recurrent",
        "exploding-gradients not-finite dead-units",
        FAILED,
        task="adding",
        cell="rnn-relu",
        length=100,
        clip=1.0,
        lr=0.05,
        steps=500,
        eval_every=50,
    ),
    ill("recurrent", HIGH, FAILED, lr=1.0, width=64, steps=300, eval_every=50),
    ill("recurrent", "rate-too-low", "not-trained-out hardly-learnt", lr=3e-6, width=64, steps=300, eval_every=50),
    ill("bert", HIGH, FAILED, lr=1.0, layers=1, width=32, steps=400, eval_every=100, warmup=10),
    ill("bert", "rate-too-low", "not-trained-out hardly-learnt", lr=3e-6, layers=1, width=32, steps=400, eval_every=100, warmup=10),
    ill("seq2seq", HIGH, FAILED, lr=0.5, layers=1, width=32, length=5, steps=300, eval_every=50),
    ill("seq2seq", "not-trained-out", "hardly-learnt", length=5, steps=120, eval_every=20, warmup=10),
    ill("transformer-xl", "memory-unused", FAILED, memory=0, steps=300),
    ill("transformer-xl", HIGH, f"{FAILED} memory-unused", lr=0.5, steps=300),
    ill("gan", "saturated-minimax discriminator-too-strong", "collapse hardly-learnt", loss="minimax", critic_steps=1, steps=1000),
    ill(
        "gan",
        "collapse",
        "discriminator-too-strong hardly-learnt",
        loss="non-saturating",
        critic_steps=1,
        critic_lr=2e-5,
        steps=800,
    ),
    ill(
        "gan",
        "discriminator-too-strong",
        "collapse hardly-learnt",
        loss="non-saturating",
        critic_steps=5,
        lr=2e-5,
        critic_lr=5e-3,
        steps=800,
    ),
    ill("dqn", "over-estimation", "buffer-too-small hardly-learnt", target="none", double=False, n_step=1, steps=20_000),
    ill("dqn", "buffer-too-small", "over-estimation hardly-learnt", buffer=64, steps=8_000),
    ill(
        "dqn",
        "no-exploration-left",
        "hardly-learnt",
        env="MountainCar-v0",
        scale=False,
        epsilon_end=0.0,
        epsilon_steps=500,
        steps=8_000,
    ),
]
"""At least two of each tab."""

HEALTHY = [
    Case("convnet", {}),
    Case("convnet", {"data": "digits", "channels": (16, 32), "steps": 2000}),
    Case("convnet", {"augment": True, "steps": 4000}),
    Case("autoencoder", {}),
    Case("autoencoder", {"latent": 2, "hidden": (256, 128)}),
    Case("autoencoder", {"noise": "gaussian", "latent": 32}),
    Case("autoencoder", {"noise": "masking", "latent": 32}),
    Case("autoencoder", {"encoder": "conv", "hidden": (32, 64)}),
    Case("autoencoder", {"variational": True, "loss": "cross-entropy", "hidden": (256, 128)}),
    Case("autoencoder", {"encoder": "linear", "output": "linear", "weight_decay": 0.0, "lr": 0.01, "batch": 256, "steps": 3000}),
    Case("gan", {}),
    Case("gan", {"loss": "non-saturating", "r1": 0.05}),
    Case(
        "gan",
        {"data": "digits", "latent": 32, "penalty": 1.0, "critic_steps": 1, "beta1": 0.0, "batch": 64, "average": 0.99, "width": 256}
        | {"steps": 2500, "eval_every": 250, "lr": 1e-3, "critic_lr": 1e-3},
    ),
    Case("dqn", {"steps": 50_000}),
    Case("recurrent", {"task": "adding", "length": 50}),
    Case("recurrent", {"task": "series"}),
    Case("recurrent", {}),
    Case("seq2seq", {}),
    Case("transformer-xl", {}),
    Case("gpt", {}),
    Case("bert", {}),
]
"""Presets, of their full length."""
