"""Episodes in one or several environments, each begun with a seed of its own: seed and actions are all that it takes to repeat one.

An environment's state cannot be saved in general, and nothing may be pickled. So a checkpoint holds the seed of each running episode and
the actions so far; to go on, the episode is begun again with that seed and played to the same place. The same gives replays for nothing.
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from dlplay.architectures.dqn.environments import Environment, Reading, find, make
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.settings import SettingsError

SEEDS = 2**31 - 1
UNKNOWN = -1
"""Seed of an episode that a vector environment began by itself: it cannot be repeated."""
PROVEN = ("CartPole-v1", "CartPole-v0")
"""Native vector environments that were proven to go on to the bit from their arrays and generator."""


@dataclasses.dataclass
class Episode:
    """One episode, running or over."""

    seed: int
    actions: list[int] = dataclasses.field(default_factory=list)
    reward: float = 0.0
    """Undiscounted return so far."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"seed": self.seed, "actions": torch.tensor(self.actions, dtype=torch.uint8), "reward": self.reward}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Episode:
        """Inverse of `state`."""
        return cls(int(state["seed"]), [int(action) for action in state["actions"].tolist()], float(state["reward"]))


class Step(NamedTuple):
    """What one call brought in one environment."""

    env: int
    action: int
    """-1 when nothing was done but to begin another episode: that is no transition."""
    reward: float
    following: NDArray[Any]
    terminated: bool
    truncated: bool
    finished: Episode | None
    """The episode that this step ended."""
    begun: NDArray[Any] | None
    """The first observation of another episode, where one has begun."""


class Episodes(ABC):
    """Environments that are played for training."""

    repeats: ClassVar[bool]
    """Whether a running episode is restored by playing it again, which is worth checking."""
    reading: Reading
    count: int
    observations: NDArray[Any]  # (N, *shape) what is seen now
    running: list[Episode]
    actions: int
    over: NDArray[np.bool_]
    """Where an episode has ended and the next one begins only with the next step."""

    @abstractmethod
    def step(self, actions: NDArray[np.int64] | list[int], chance: np.random.Generator) -> list[Step]:
        """One step in each."""

    @abstractmethod
    def begin(self, chance: np.random.Generator) -> None:
        """Begin an episode in each."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """For a checkpoint."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""


def start(env: Environment, seed: int) -> Any:
    """Begin an episode with this seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return env.reset(seed=seed)[0]


class ListedEpisodes(Episodes):
    """One environment after the other; a finished one begins again at once, so that no step is lost."""

    repeats: ClassVar[bool] = True

    def __init__(self, settings: DQNSettings) -> None:
        self.environments = [make(settings) for _ in range(settings.envs)]
        self.reading = Reading(self.environments[0])
        self.count = settings.envs
        space: Any = self.environments[0].action_space
        self.actions, self.first_action = int(space.n), int(space.start)
        self.running = [Episode(0) for _ in self.environments]
        self.over = np.zeros(self.count, np.bool_)
        self.observations = np.zeros((self.count, *self.reading.observed.shape), self.reading.dtype)

    def begin(self, chance: np.random.Generator) -> None:
        """As `Episodes.begin`."""
        for number in range(self.count):
            self._begin(number, chance)

    def _begin(self, number: int, chance: np.random.Generator) -> NDArray[Any]:
        self.running[number] = Episode(int(chance.integers(SEEDS)))
        self.observations[number] = self.reading(start(self.environments[number], self.running[number].seed))
        beginning: NDArray[Any] = self.observations[number]
        return beginning

    def step(self, actions: NDArray[np.int64] | list[int], chance: np.random.Generator) -> list[Step]:
        """As `Episodes.step`."""
        steps = []
        for number, env in enumerate(self.environments):
            action = int(actions[number])
            seen, reward, terminated, truncated, _ = env.step(action + self.first_action)
            following = self.reading(seen)
            episode = self.running[number]
            episode.actions.append(action)
            episode.reward += float(reward)
            if terminated or truncated:
                begun = self._begin(number, chance)
                steps.append(Step(number, action, float(reward), following, bool(terminated), bool(truncated), episode, begun))
            else:
                self.observations[number] = following
                steps.append(Step(number, action, float(reward), following, False, False, None, None))
        return steps

    def state(self) -> dict[str, Any]:
        """As `Episodes.state`."""
        return {str(number): episode.state() for number, episode in enumerate(self.running)}

    def load_state(self, state: dict[str, Any]) -> None:
        """As `Episodes.load_state`."""
        self.running = [Episode.from_state(state[str(number)]) for number in range(self.count)]
        for number, (env, episode) in enumerate(zip(self.environments, self.running, strict=True)):
            seen = start(env, episode.seed)
            for action in episode.actions:
                seen = env.step(action + self.first_action)[0]
            self.observations[number] = self.reading(seen)


class NativeEpisodes(Episodes):
    """The environment's own vector form, all at once in numpy. After an episode's end its next step ignores the action and returns the
    beginning of another (gymnasium's NEXT_STEP): that step is no transition, and none is made of it."""

    repeats: ClassVar[bool] = False

    def __init__(self, settings: DQNSettings) -> None:
        self.count = settings.envs
        one = make(settings)
        self.reading = Reading(one)
        space: Any = one.action_space
        self.actions, self.first_action = int(space.n), int(space.start)
        more: Any = {"max_episode_steps": settings.time_limit} if settings.time_limit else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.vector: Any = gymnasium.make_vec(find(settings.env), num_envs=self.count, vectorization_mode="vector_entry_point", **more)
        self.over = np.zeros(self.count, np.bool_)
        self.running = [Episode(UNKNOWN) for _ in range(self.count)]
        self.observations = np.zeros((self.count, *self.reading.observed.shape), self.reading.dtype)

    def begin(self, chance: np.random.Generator) -> None:
        """As `Episodes.begin`."""
        self.observations = self.vector.reset(seed=int(chance.integers(SEEDS)))[0].astype(self.reading.dtype)
        self.over[:] = False
        self.running = [Episode(UNKNOWN) for _ in range(self.count)]

    def step(self, actions: NDArray[np.int64] | list[int], chance: np.random.Generator) -> list[Step]:
        """As `Episodes.step`."""
        seen, rewards, terminated, truncated, _ = self.vector.step(np.asarray(actions) + self.first_action)
        steps = []
        for number in range(self.count):
            if self.over[number]:
                self.running[number] = Episode(UNKNOWN)
                steps.append(Step(number, -1, 0.0, seen[number], False, False, None, seen[number]))
                continue
            episode, action, reward = self.running[number], int(actions[number]), float(rewards[number])
            episode.actions.append(action)
            episode.reward += reward
            ends, cut = bool(terminated[number]), bool(truncated[number])
            steps.append(Step(number, action, reward, seen[number], ends, cut, episode if ends or cut else None, None))
        self.over = terminated | truncated
        self.observations = seen
        return steps

    def state(self) -> dict[str, Any]:
        """The arrays that the vector environment holds, and its generator."""
        arrays = {
            name: torch.from_numpy(value.copy()) for name, value in vars(self.vector.unwrapped).items() if isinstance(value, np.ndarray)
        }
        episodes = {str(number): episode.state() for number, episode in enumerate(self.running)}
        return {
            "arrays": arrays,
            "episodes": episodes,
            "over": torch.from_numpy(self.over.copy()),
            "observations": torch.from_numpy(np.ascontiguousarray(self.observations)),
            "generator": generator_state(self.vector.unwrapped.np_random),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """As `Episodes.load_state`."""
        self.vector.reset(seed=0)
        for name, value in state["arrays"].items():
            setattr(self.vector.unwrapped, name, value.numpy().copy())
        load_generator(self.vector.unwrapped.np_random, state["generator"])
        self.over = state["over"].numpy().copy()
        self.observations = state["observations"].numpy().copy()
        self.running = [Episode.from_state(state["episodes"][str(number)]) for number in range(self.count)]


def make_episodes(settings: DQNSettings) -> Episodes:
    """The environments of a training. Raises `SettingsError` for those that do not exist or do not fit."""
    one = make(settings)
    name = find(settings.env)
    native = name in PROVEN and gymnasium.spec(name).vector_entry_point is not None
    if settings.vector == "native" and not native:
        raise SettingsError(
            f"--vector native: {name} has no vector form that can be resumed exactly; {', '.join(PROVEN)} has; use --vector list", "vector"
        )
    one.close()
    if native and settings.envs > 1 and settings.vector != "list":
        return NativeEpisodes(settings)
    return ListedEpisodes(settings)


def generator_state(chance: np.random.Generator) -> dict[str, Any]:
    """A numpy generator (PCG64) as JSON values: its numbers have 128 bits, so they are written as text."""
    state: Any = chance.bit_generator.state
    return {
        "state": str(state["state"]["state"]),
        "inc": str(state["state"]["inc"]),
        "has": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def load_generator(chance: np.random.Generator, state: dict[str, Any]) -> None:
    """Inverse of `generator_state`."""
    chance.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(state["state"]), "inc": int(state["inc"])},
        "has_uint32": int(state["has"]),
        "uinteger": int(state["uinteger"]),
    }
