"""The wrapper around every environment: actions from 0, and observations as the arrays that the network and the replay buffer hold."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dlplay.architectures.dqn.env.checked import Environment
from dlplay.architectures.dqn.model import ObservationSpec
from dlplay.engine.settings import SettingsError

MAX_BOUND = 1e4
"""A larger bound of an observation says nothing about its usual values."""
MAX_NUMBERS = 65_536


class Preprocess(gymnasium.Wrapper[Any, int, Any, Any]):
    """Takes actions from 0 to `action_count - 1` and returns observations as `obs_spec` describes them.

    The spaces stay the environment's own. Raises `SettingsError` when no network here can read its observations.
    """

    def __init__(self, env: Environment, name: str = "it") -> None:
        super().__init__(env)
        self.obs_spec = observation_spec(env, name)
        actions: Any = env.action_space
        self.action_count, self._first_action = int(actions.n), int(actions.start)
        shape = env.observation_space.shape or ()
        self._channels_last = self.obs_spec.kind == "image" and _channels_last(shape)
        self._first_state = int(getattr(env.observation_space, "start", 0))
        self._unchanged = self.obs_spec.kind == "vector" and env.observation_space.dtype == np.float32 and len(shape) == 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            observation, info = self.env.reset(seed=seed, options=options)
        return self._convert(observation), info

    def step(self, action: int) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action + self._first_action)
        return self._convert(observation), float(reward), bool(terminated), bool(truncated), info

    def _convert(self, observation: Any) -> NDArray[Any]:
        if self._unchanged:
            array: NDArray[Any] = observation
            return array
        if self.obs_spec.kind == "state":
            return np.asarray(int(observation) - self._first_state, np.int32)
        array = np.asarray(observation, self.obs_spec.dtype)
        if self._channels_last:
            return np.ascontiguousarray(array.transpose(2, 0, 1))
        return array.reshape(self.obs_spec.shape)


def observation_spec(env: Environment, name: str) -> ObservationSpec:
    """What the wrapped environment's observations are. Raises `SettingsError` when no network here can read them."""
    space = env.observation_space
    if isinstance(space, spaces.Discrete):
        return ObservationSpec("state", (), int(space.n))
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8 and len(space.shape) in (2, 3):
            shape = (space.shape[2], *space.shape[:2]) if _channels_last(space.shape) else space.shape
            shape = tuple(int(side) for side in ((1, *shape) if len(shape) == 2 else shape))  # (C, H, W)
            stacked = isinstance(env, gymnasium.wrappers.FrameStackObservation)
            return ObservationSpec("image", shape, frames=shape[0] if stacked else 1)
        if (numbers := int(np.prod(space.shape))) <= MAX_NUMBERS:
            return ObservationSpec("vector", (numbers,))
    raise misfit(env, name)


def centre_and_reach(space: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The middle and half the range (n,) of each number of a box, by its bounds; 0 and 1 where it has none."""
    low, high = np.ravel(space.low).astype(np.float64), np.ravel(space.high).astype(np.float64)
    bounded = (np.abs(low) < MAX_BOUND) & (np.abs(high) < MAX_BOUND) & (high > low)
    centre, reach = np.zeros(len(low)), np.ones(len(low))
    centre[bounded], reach[bounded] = (low[bounded] + high[bounded]) / 2, (high[bounded] - low[bounded]) / 2
    return centre.astype(np.float32), reach.astype(np.float32)


def misfit(env: Environment, name: str) -> SettingsError:
    """The refusal of an environment by its observations."""
    return SettingsError(
        f"--env {name} does not fit: its observations are {describe(env.observation_space)}; use one with a box of numbers, discrete "
        "states or images",
        "env",
    )


def describe(space: Any) -> str:
    """A space in words."""
    kinds = {spaces.Dict: "a dictionary", spaces.Box: f"a box of shape {space.shape}", spaces.Text: "text", spaces.Graph: "a graph"}
    return next((words for kind, words in kinds.items() if isinstance(space, kind)), f"of the kind {type(space).__name__}")


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether an image is (H, W, C), not (C, H, W)."""
    return len(shape) == 3 and shape[2] in (1, 3, 4)
