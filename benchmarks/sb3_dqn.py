"""The DQN's training by stable-baselines3, with the settings that both have. Prints how long it took; steps are environment steps."""

from __future__ import annotations

import sys

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.bare_dqn import shared
from benchmarks.timing import Stopwatch


class Watch(BaseCallback):
    """Starts the watch at the first step, as it starts for the others."""

    stopwatch: Stopwatch

    def _on_training_start(self) -> None:
        self.stopwatch = Stopwatch()

    def _on_step(self) -> bool:
        return True


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    settings = shared(steps)
    learner = DQN(
        "MlpPolicy",
        settings.env,
        learning_rate=settings.lr,
        buffer_size=settings.buffer,
        learning_starts=settings.learning_starts,
        batch_size=settings.batch,
        gamma=settings.gamma,
        train_freq=settings.train_frequency,
        gradient_steps=settings.gradient_steps,
        n_steps=settings.n_step,
        target_update_interval=settings.target_every,
        exploration_fraction=min(1.0, settings.epsilon_steps / steps),
        exploration_initial_eps=settings.epsilon_start,
        exploration_final_eps=settings.epsilon_end,
        max_grad_norm=settings.clip,
        policy_kwargs={"net_arch": list(settings.hidden)},
        seed=settings.seed,
        device="cpu",
    )
    watch = Watch()
    learner.learn(steps, callback=watch, log_interval=None)  # type: ignore[arg-type]
    watch.stopwatch.report(steps, float(learner.logger.name_to_value.get("train/loss", 0.0)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
