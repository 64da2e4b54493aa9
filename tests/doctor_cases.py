"""Runs for the doctor: settings that are known to be ill, each with what is wrong, and healthy ones. Short enough for a CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlplay import architectures
from dlplay.data.text import read_text


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


REPEATED = "(repeated)"
"""Stands for a text whose end is its beginning once more."""


def write_repeated(path: Path) -> None:
    path.write_text(3 * read_text("reference").content[:60_000], encoding="utf-8")


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
    ill(
        "convnet",
        "no-normalisation",
        FAILED,
        **DIGITS,
        channels=(8, 8, 8, 8, 8, 8, 8, 8),
        pooling="none",
        norm="none",
        activation="silu",
        optimizer="adam",
        lr=0.1,
        schedule="constant",
        steps=150,
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
    ill("gpt", "held-out-overlaps", "not-trained-out", text=REPEATED, layers=1, width=32, steps=200, eval_every=100),
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
    ill("recurrent", "exploding-gradients", FAILED, cell="rnn-relu", lr=0.003, width=64, batch=16, steps=300, eval_every=50),
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
    ill("dqn", "hardly-learnt", "not-trained-out", lr=1e-6, steps=8_000),
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

LEFT_OUT = {
    "needs a download": {
        "convnet": "mnist fashion-mnist cifar10 cifar10-resnet",
        "autoencoder": "mnist fashion-mnist",
        "gan": "mnist",
    },
    "needs a card, or a quarter of an hour and more": {
        "gpt": "char-gpu gpt2-small",
        "dqn": "pong lunarlander mountaincar acrobot",
    },
    "is there to show what goes wrong": {
        "dqn": "no-target-net no-replay over-estimation",
        "gan": "minimax weight-clipping",
        "recurrent": "adding-rnn",
        "transformer-xl": "recall-no-memory reference-no-memory",
    },
}
"""Presets that are no healthy case, by the reason."""


def left_out() -> set[tuple[str, str]]:
    """Architecture and preset."""
    return {(name, preset) for presets in LEFT_OUT.values() for name, words in presets.items() for preset in words.split()}


def healthy(seed: int = 0) -> list[Case]:
    """All other presets, of their full length; the longest ones of all with fewer steps."""
    cases = []
    for name, card in architectures.cards().items():
        for preset, its in card.presets.items():
            if (name, preset) not in left_out():
                cases.append(Case(name, dict(its.values) | SHORTER.get((name, preset), {}) | ({"seed": seed} if seed else {})))
    return cases


SHORTER: Mapping[tuple[str, str], Mapping[str, Any]] = {("dqn", "cartpole"): {"steps": 50_000}}
HEALTHY = healthy()
