"""Plays whole episodes, a few environments at once, to measure a policy's return."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.dqn.env.preprocessing import Preprocess
from dlplay.architectures.dqn.env.registry import make
from dlplay.architectures.dqn.settings import DQNSettings

MAX_ENVS = 20
"""Environments that are played side by side: one forward pass serves all of them."""

Policy = Callable[[NDArray[Any]], NDArray[np.int64]]
"""Actions (B,) for observations (B, *shape)."""


@dataclasses.dataclass
class Rollouts:
    """Finished episodes, one a row."""

    returns: NDArray[np.float64]  # (episodes,) undiscounted
    discounted_returns: NDArray[np.float64]  # (episodes,)
    lengths: NDArray[np.int64]  # (episodes,)
    first_observations: NDArray[Any]  # (episodes, *shape)


class Evaluator:
    """Environments for evaluation only, apart from those of training."""

    def __init__(self, settings: DQNSettings) -> None:
        self.settings = settings
        self.envs: list[Preprocess] = [make(settings)]

    def run(self, seeds: list[int], policy: Policy, gamma: float) -> Rollouts:
        """One episode from each seed. Results do not depend on how many are played at once, except for rounding in `policy`."""
        while len(self.envs) < min(MAX_ENVS, len(seeds)):
            self.envs.append(make(self.settings))
        count, spec = len(seeds), self.envs[0].obs_spec
        rollouts = Rollouts(np.zeros(count), np.zeros(count), np.zeros(count, np.int64), np.zeros((count, *spec.shape), spec.dtype))
        waiting = iter(range(count))

        def start(env: Preprocess) -> tuple[Preprocess, int, NDArray[Any]] | None:
            """The next episode, in this environment; None when all have been started."""
            if (episode := next(waiting, None)) is None:
                return None
            rollouts.first_observations[episode] = observation = env.reset(seed=seeds[episode])[0]
            return env, episode, observation

        running = [started for env in self.envs if (started := start(env)) is not None]
        while running:
            actions = policy(np.stack([observation for *_, observation in running]))
            after = []
            for (env, episode, _), action in zip(running, actions.tolist(), strict=True):
                observation, reward, terminated, truncated, _ = env.step(action)
                rollouts.returns[episode] += reward
                rollouts.discounted_returns[episode] += reward * gamma ** int(rollouts.lengths[episode])
                rollouts.lengths[episode] += 1
                going_on = start(env) if terminated or truncated else (env, episode, observation)
                if going_on is not None:
                    after.append(going_on)
            running = after
        return rollouts
