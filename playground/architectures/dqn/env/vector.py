"""The environments of training, stepped together. Every episode starts from a seed of its own: seed and actions are enough to replay it.

An environment's state cannot be saved in general, and nothing may be pickled. So a checkpoint holds each running episode's seed and the
actions so far; to resume, the episode is reset with that seed and played to the same point. Replays of finished episodes work the same way.
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

from dlplay.architectures.dqn.env.preprocessing import Preprocess
from dlplay.architectures.dqn.env.registry import find, make
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.settings import SettingsError

MAX_SEED = 2**31 - 1
UNKNOWN_SEED = -1
"""Of an episode that a native vector environment started by itself: it cannot be replayed."""
RESUMABLE = ("CartPole-v1", "CartPole-v0")
"""Native vector environments that are known to resume to the bit from their arrays and their generator."""


@dataclasses.dataclass
class Episode:
    """One episode, running or finished."""

    seed: int
    actions: list[int] = dataclasses.field(default_factory=list)
    total_reward: float = 0.0
    """Undiscounted return so far."""

    def state(self) -> dict[str, Any]:
        return {"seed": self.seed, "actions": torch.tensor(self.actions, dtype=torch.uint8), "reward": self.total_reward}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Episode:
        return cls(int(state["seed"]), [int(action) for action in state["actions"].tolist()], float(state["reward"]))


class EnvStep(NamedTuple):
    """The result of a step in one environment."""

    env: int
    action: int
    """-1 when the step only reset the environment: then it is no transition."""
    reward: float
    next_observation: NDArray[Any]
    terminated: bool
    truncated: bool
    finished: Episode | None
    """The episode that this step ended."""
    first_observation: NDArray[Any] | None
    """The first observation of a new episode, where one has started."""


class VectorEnv(ABC):
    """`num_envs` environments of one kind."""

    replayable: ClassVar[bool]
    """Whether seed and actions of an episode are known, and a running one is restored by replaying it."""
    observations: NDArray[Any]  # (num_envs, *shape), the latest ones
    episodes: list[Episode]
    """The running ones."""
    done: NDArray[np.bool_]
    """Where an episode has ended and the next step only resets the environment."""

    def __init__(self, settings: DQNSettings) -> None:
        self.num_envs = settings.envs
        self.single_env = make(settings)
        """One environment, for its spaces."""
        self.obs_spec, self.action_count = self.single_env.obs_spec, self.single_env.action_count
        self.observations = np.zeros((self.num_envs, *self.obs_spec.shape), self.obs_spec.dtype)
        self.episodes = [Episode(UNKNOWN_SEED) for _ in range(self.num_envs)]
        self.done = np.zeros(self.num_envs, np.bool_)

    @abstractmethod
    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode in each environment."""

    @abstractmethod
    def step(self, actions: NDArray[np.int64] | list[int], rng: np.random.Generator) -> list[EnvStep]:
        """One step in each environment; `rng` gives the seeds of new episodes."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """For a checkpoint."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


class SerialVectorEnv(VectorEnv):
    """One environment after the other. A finished one is reset in the same step, so that none is wasted."""

    replayable: ClassVar[bool] = True

    def __init__(self, settings: DQNSettings) -> None:
        super().__init__(settings)
        self.envs: list[Preprocess] = [self.single_env, *(make(settings) for _ in range(self.num_envs - 1))]

    def reset(self, rng: np.random.Generator) -> None:
        for number in range(self.num_envs):
            self._reset(number, rng)

    def _reset(self, number: int, rng: np.random.Generator) -> NDArray[Any]:
        self.episodes[number] = Episode(int(rng.integers(MAX_SEED)))
        self.observations[number] = self.envs[number].reset(seed=self.episodes[number].seed)[0]
        first: NDArray[Any] = self.observations[number]
        return first

    def step(self, actions: NDArray[np.int64] | list[int], rng: np.random.Generator) -> list[EnvStep]:
        steps = []
        for number, env in enumerate(self.envs):
            action = int(actions[number])
            observation, reward, terminated, truncated, _ = env.step(action)
            episode = self.episodes[number]
            episode.actions.append(action)
            episode.total_reward += reward
            if terminated or truncated:
                first = self._reset(number, rng)
                steps.append(EnvStep(number, action, reward, observation, terminated, truncated, episode, first))
            else:
                self.observations[number] = observation
                steps.append(EnvStep(number, action, reward, observation, False, False, None, None))
        return steps

    def state(self) -> dict[str, Any]:
        return {str(number): episode.state() for number, episode in enumerate(self.episodes)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.episodes = [Episode.from_state(state[str(number)]) for number in range(self.num_envs)]
        for number, (env, episode) in enumerate(zip(self.envs, self.episodes, strict=True)):
            observation = env.reset(seed=episode.seed)[0]
            for action in episode.actions:
                observation = env.step(action)[0]
            self.observations[number] = observation


class NativeVectorEnv(VectorEnv):
    """The environment's own vectorised form, all at once in numpy. The step after an episode's end ignores the action and returns the
    first observation of the next episode (gymnasium's `AutoresetMode.NEXT_STEP`): it is no transition."""

    replayable: ClassVar[bool] = False

    def __init__(self, settings: DQNSettings) -> None:
        super().__init__(settings)
        more: Any = {"max_episode_steps": settings.time_limit} if settings.time_limit else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.vector: Any = gymnasium.make_vec(
                find(settings.env), num_envs=self.num_envs, vectorization_mode="vector_entry_point", **more
            )

    def reset(self, rng: np.random.Generator) -> None:
        self.observations = self.vector.reset(seed=int(rng.integers(MAX_SEED)))[0].astype(self.obs_spec.dtype)
        self.done[:] = False
        self.episodes = [Episode(UNKNOWN_SEED) for _ in range(self.num_envs)]

    def step(self, actions: NDArray[np.int64] | list[int], rng: np.random.Generator) -> list[EnvStep]:
        observations, rewards, terminated, truncated, _ = self.vector.step(np.asarray(actions))
        steps = []
        for number, observation in enumerate(observations):
            if self.done[number]:
                self.episodes[number] = Episode(UNKNOWN_SEED)
                steps.append(EnvStep(number, -1, 0.0, observation, False, False, None, observation))
                continue
            episode, action, reward = self.episodes[number], int(actions[number]), float(rewards[number])
            episode.actions.append(action)
            episode.total_reward += reward
            ends, cut = bool(terminated[number]), bool(truncated[number])
            steps.append(EnvStep(number, action, reward, observation, ends, cut, episode if ends or cut else None, None))
        self.done = terminated | truncated
        self.observations = observations
        return steps

    def state(self) -> dict[str, Any]:
        """The arrays that the vector environment holds, and its generator."""
        arrays = {
            name: torch.from_numpy(value.copy()) for name, value in vars(self.vector.unwrapped).items() if isinstance(value, np.ndarray)
        }
        return {
            "arrays": arrays,
            "episodes": {str(number): episode.state() for number, episode in enumerate(self.episodes)},
            "over": torch.from_numpy(self.done.copy()),
            "observations": torch.from_numpy(np.ascontiguousarray(self.observations)),
            "generator": rng_state(self.vector.unwrapped.np_random),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.vector.reset(seed=0)
        for name, value in state["arrays"].items():
            setattr(self.vector.unwrapped, name, value.numpy().copy())
        load_rng_state(self.vector.unwrapped.np_random, state["generator"])
        self.done = state["over"].numpy().copy()
        self.observations = state["observations"].numpy().copy()
        self.episodes = [Episode.from_state(state["episodes"][str(number)]) for number in range(self.num_envs)]


def make_vector_env(settings: DQNSettings) -> VectorEnv:
    """The environments of training. Raises `SettingsError` for those that do not exist or do not fit."""
    make(settings).close()  # before anything else: it registers those of `--env-module`, and refuses what does not fit
    name = find(settings.env)
    native = name in RESUMABLE and gymnasium.spec(name).vector_entry_point is not None
    if settings.vector == "native" and not native:
        raise SettingsError(
            f"--vector native: {name} has no vectorised form that resumes exactly; {', '.join(RESUMABLE)} have one; use --vector list",
            "vector",
        )
    if native and settings.envs > 1 and settings.vector != "list":
        return NativeVectorEnv(settings)
    return SerialVectorEnv(settings)


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """A numpy generator (PCG64) as JSON values; its 128-bit integers as text."""
    state: Any = rng.bit_generator.state
    return {
        "state": str(state["state"]["state"]),
        "inc": str(state["state"]["inc"]),
        "has": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def load_rng_state(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Restore what `rng_state` returned."""
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(state["state"]), "inc": int(state["inc"])},
        "has_uint32": int(state["has"]),
        "uinteger": int(state["uinteger"]),
    }
