"""The replay buffer against one that forgets nothing: which transitions it holds, their n-step returns, and how often each is sampled."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from dlplay.architectures.dqn.model import ObservationSpec
from dlplay.architectures.dqn.replay.buffer import ReplayBuffer
from dlplay.architectures.dqn.replay.priorities import EPSILON, Priorities

NUMBER, STATE = ObservationSpec("vector", (1,)), ObservationSpec("state", ())
CPU = torch.device("cpu")


@dataclasses.dataclass
class Whole:
    """A whole episode."""

    observations: list[float]
    rewards: list[float] = dataclasses.field(default_factory=list)
    terminated: bool = False
    over: bool = False

    def expected(self, at: int, n: int, gamma: float) -> tuple[float, float, float]:
        """By definition: n-step return, next observation and its discount, of the step `at`."""
        end = min(at + n, len(self.rewards))
        reward = sum(gamma ** (k - at) * self.rewards[k] for k in range(at, end))
        return reward, self.observations[end], 0.0 if self.terminated and end == len(self.rewards) else gamma ** (end - at)


def play(replay: ReplayBuffer, steps: int, n: int, rng: random.Random, width: int = 1) -> list[list[Whole]]:
    """Random episodes in every environment; each observation is a number that comes once."""
    episodes: list[list[Whole]] = [[] for _ in range(replay.num_envs)]
    numbers = iter(range(1, 10**6))
    for _ in range(steps):
        for env in range(replay.num_envs):
            if not episodes[env] or episodes[env][-1].over:
                episodes[env].append(Whole([float(next(numbers))]))
                replay.add_first(env, np.full(width, episodes[env][-1].observations[0], np.float32))
            episode = episodes[env][-1]
            episode.observations.append(float(next(numbers)))
            episode.rewards.append(rng.choice([-1.0, 0.5, 2.0]))
            episode.over = rng.random() < 0.2
            episode.terminated = episode.over and rng.random() < 0.5
            replay.add(
                env,
                1,
                episode.rewards[-1],
                np.full(width, episode.observations[-1], np.float32),
                episode.terminated,
                episode.over and not episode.terminated,
                n,
            )
    return episodes


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_it_holds_the_latest_transitions(n: int, envs: int) -> None:
    replay = ReplayBuffer(60 * envs, envs, NUMBER)
    episodes = play(replay, 400, n, random.Random(n), 1)
    places = {observation: (episode, at) for own in episodes for episode in own for at, observation in enumerate(episode.observations[:-1])}
    rows = np.flatnonzero(replay.ready)
    assert len(rows) == replay.count > 40 * envs
    batch = replay.gather(rows, n, 0.9)
    found = []
    for observation, reward, next_observation, discount in zip(
        batch.observations, batch.returns, batch.next_observations, batch.discounts, strict=True
    ):
        episode, at = places[observation.item()]
        assert episode.over or at + n <= len(episode.rewards)  # nothing whose rewards are not all known
        assert (reward.item(), next_observation.item(), discount.item()) == pytest.approx(episode.expected(at, n, 0.9), abs=1e-5)
        found.append(observation.item())
    assert len(set(found)) == len(found)
    for own in episodes:
        steps = [observation for episode in own for observation in episode.observations[:-1]]
        assert set(steps[-n - 30 : -n - 1]) <= set(found)


def test_three_steps_by_hand() -> None:
    replay = ReplayBuffer(20, 1, STATE)
    replay.add_first(0, np.array(0))
    for number, reward in enumerate((1.0, 10.0, 100.0, 1000.0)):
        replay.add(0, number, reward, np.array(number + 1), number == 3, False, 3)
    batch = replay.gather(np.array([0, 1, 2, 3]), 3, 0.5)
    assert batch.returns.tolist() == [1 + 5 + 25, 10 + 50 + 250, 100 + 500, 1000]
    assert batch.discounts.tolist() == [0.125, 0, 0, 0]
    assert batch.next_observations.tolist() == [3, 4, 4, 4]
    assert batch.actions.tolist() == [0, 1, 2, 3]
    assert replay.ready[:6].tolist() == [True, True, True, True, False, False]


def test_every_ready_transition_is_sampled_equally_often() -> None:
    replay = ReplayBuffer(150, 3, NUMBER)
    play(replay, 200, 2, random.Random(0))
    drawn = replay.sample(60_000, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(replay.ready))
    assert set(np.flatnonzero(counts)) == set(np.flatnonzero(replay.ready))
    usual = 60_000 / replay.count
    assert np.abs(counts[replay.ready] - usual).max() < 6 * usual**0.5


def test_an_interrupted_episode_is_truncated() -> None:
    replay = ReplayBuffer(20, 1, STATE)
    replay.add_first(0, np.array(1))
    replay.add(0, 0, 1.0, np.array(2), False, False, 3)
    replay.truncate(0, 3)
    replay.add_first(0, np.array(7))
    replay.add(0, 1, 5.0, np.array(8), True, False, 3)
    replay.add_first(0, np.array(2))
    batch = replay.gather(np.flatnonzero(replay.ready), 3, 0.5)
    assert (batch.observations.tolist(), batch.next_observations.tolist(), batch.discounts.tolist()) == ([1, 7], [2, 8], [0.5, 0])


def test_the_newest_come_first() -> None:
    replay = ReplayBuffer(30, 1, NUMBER)
    episodes = play(replay, 100, 1, random.Random(3))
    steps = [observation for episode in episodes[0] for observation in episode.observations[:-1]]
    assert replay.observations_at(replay.latest(5)).ravel().tolist() == steps[:-6:-1]


class Walk(gymnasium.Env[Any, Any]):
    """Images of 3 x 3 equal pixels that count up."""

    observation_space = gymnasium.spaces.Box(0, 255, (3, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    at = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.at, self.left = self.at + 1, 2 + self.at % 9
        return np.full((3, 3), self.at % 256, np.uint8), {}

    def step(self, action: int) -> Any:
        self.at, self.left = self.at + 1, self.left - 1
        return np.full((3, 3), self.at % 256, np.uint8), 1.0, self.left == 0, False, {}


def test_stacked_frames_are_restored_from_single_ones() -> None:
    env = gymnasium.wrappers.FrameStackObservation(Walk(), 4)
    replay = ReplayBuffer(40, 1, ObservationSpec("image", (4, 3, 3), frames=4))
    assert replay.observations.shape == (40, 3, 3)
    remembered: dict[int, tuple[Any, Any]] = {}
    observation, _ = env.reset()
    replay.add_first(0, observation)
    for _ in range(150):
        next_observation, reward, over, _, _ = env.step(0)
        replay.add(0, 0, reward, next_observation, over, False, 1)
        remembered[int(observation[-1, 0, 0])] = (observation.copy(), next_observation.copy())
        observation = next_observation
        if over:
            observation, _ = env.reset()
            replay.add_first(0, observation)
    rows = np.flatnonzero(replay.ready)
    batch = replay.gather(rows, 1, 0.9)
    assert len(rows) > 20
    for one, two in zip(batch.observations.numpy(), batch.next_observations.numpy(), strict=True):
        expected = remembered[int(one[-1, 0, 0])]
        assert np.array_equal(one, expected[0])
        assert np.array_equal(two, expected[1])


def test_a_transition_is_sampled_in_proportion_to_its_priority() -> None:
    priorities = Priorities(1000, alpha=0.5)
    rows = np.arange(0, 1000, 7)
    for row in rows:
        priorities.add(int(row))
    errors = np.linspace(0.1, 10, len(rows))
    priorities.update(rows, errors)
    priorities.remove(0)
    expected = (errors + EPSILON) ** 0.5
    expected[0] = 0
    expected /= expected.sum()
    rng = np.random.default_rng(0)
    drawn = np.concatenate([priorities.sample(64, rng) for _ in range(2000)])
    counts = np.bincount(drawn, minlength=1000)
    assert counts.sum() == counts[rows].sum()
    assert counts[0] == 0
    assert np.abs(counts[rows] / len(drawn) - expected).max() < 0.1 * expected.max()
    assert priorities.probabilities(rows) == pytest.approx(expected)
    weights = priorities.weights(rows[1:], 142, 0.4)
    assert weights == pytest.approx((142 * expected[1:]) ** -0.4 / ((142 * expected[1:]) ** -0.4).max(), rel=1e-5)
    assert weights.max() == 1


def test_a_new_transition_has_the_highest_priority_so_far() -> None:
    priorities = Priorities(10, alpha=1.0)
    priorities.add(1)
    priorities.update(np.array([1]), np.array([-5.0]))
    priorities.add(2)
    assert priorities.probabilities(np.array([1, 2])).tolist() == [0.5, 0.5]


def test_priorities_go_with_the_rows_of_a_buffer() -> None:
    replay = ReplayBuffer(50, 1, NUMBER, alpha=0.6)
    play(replay, 300, 2, random.Random(1))
    assert replay.priorities is not None
    assert np.array_equal(replay.priorities.values.ravel()[:50] > 0, replay.ready)
    assert replay.priorities.sums.sum() == pytest.approx(replay.priorities.values.sum())
    drawn = replay.priorities.sample(500, np.random.default_rng(0))
    assert replay.ready[drawn].all()
