"""Many episodes in a few environments at once, only to see what return they bring: evaluation, and policies to compare with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.dqn.environments import Environment, Reading, make
from dlplay.architectures.dqn.episodes import start
from dlplay.architectures.dqn.settings import DQNSettings

AT_ONCE = 20
"""Environments that are played side by side: one forward pass serves all of them."""

Choose = Callable[[NDArray[Any]], NDArray[np.int64]]
"""Actions (B,) for observations (B, *shape)."""


@dataclasses.dataclass
class Played:
    """Episodes that were played to their ends."""

    returns: NDArray[np.float64]  # (episodes,) undiscounted
    discounted: NDArray[np.float64]  # (episodes,)
    lengths: NDArray[np.int64]  # (episodes,)
    beginnings: NDArray[Any]  # (episodes, *shape) first observations


class Ground:
    """Environments for evaluation alone: nothing of the training's own is touched."""

    def __init__(self, settings: DQNSettings) -> None:
        self.settings = settings
        self.environments: list[Environment] = [make(settings)]
        self.reading = Reading(self.environments[0])
        space: Any = self.environments[0].action_space
        self.first_action = int(space.start)

    def play(self, seeds: list[int], choose: Choose, gamma: float) -> Played:
        """One episode from each seed. What comes out does not depend on how many are played at once, but for rounding in `choose`."""
        while len(self.environments) < min(AT_ONCE, len(seeds)):
            self.environments.append(make(self.settings))
        shape = self.reading.observed.shape
        count = len(seeds)
        played = Played(np.zeros(count), np.zeros(count), np.zeros(count, np.int64), np.zeros((count, *shape), self.reading.dtype))
        waiting = iter(range(count))
        seats: list[tuple[int, Environment]] = []
        seen: list[NDArray[Any]] = []
        for env in self.environments:
            if (number := next(waiting, None)) is not None:
                seats.append((number, env))
                seen.append(self._begin(played, number, env, seeds))
        while seats:
            actions = choose(np.stack(seen))
            staying: list[tuple[int, Environment]] = []
            going_on: list[NDArray[Any]] = []
            for (number, env), action in zip(seats, actions.tolist(), strict=True):
                observation, reward, terminated, truncated, _ = env.step(action + self.first_action)
                played.returns[number] += float(reward)
                played.discounted[number] += float(reward) * gamma ** int(played.lengths[number])
                played.lengths[number] += 1
                if not (terminated or truncated):
                    staying.append((number, env))
                    going_on.append(self.reading(observation))
                elif (following := next(waiting, None)) is not None:
                    staying.append((following, env))
                    going_on.append(self._begin(played, following, env, seeds))
            seats, seen = staying, going_on
        return played

    def _begin(self, played: Played, number: int, env: Environment, seeds: list[int]) -> NDArray[Any]:
        observation = self.reading(start(env, seeds[number]))
        played.beginnings[number] = observation
        return observation
