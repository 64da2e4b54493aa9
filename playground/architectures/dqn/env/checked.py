"""An environment held to gymnasium's interface. One of a person's own may break it anywhere: what it raises, or returns instead of what it
declares, is a `DataError` with its name, the call, and the step of the episode."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dlplay.engine.errors import DataError, cause

Environment = gymnasium.Env[Any, Any]


class Checked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Passes on what the environment returns. An observation that means what the space declares, such as float64 or a list for a box of
    float32, is converted to it."""

    def __init__(self, env: Environment, name: str) -> None:
        super().__init__(env)
        self._name = name
        self._seed: int | None = None
        self._steps = 0
        space = env.observation_space
        self._box = isinstance(space, spaces.Box)
        self._dtype, self._shape = np.dtype(space.dtype or object), space.shape or ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._seed, self._steps = seed, 0
        try:
            returned: Any = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise self._error("reset()", f"raised {cause(error)}") from error
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)):
            raise self._error("reset()", f"returned {_words(returned)}, not an observation and a dictionary of information")
        return self._observation("reset()", returned[0]), returned[1]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        try:
            returned: Any = self.env.step(action)
        except Exception as error:
            raise self._error(f"step({action})", f"raised {cause(error)}") from error
        if not isinstance(returned, tuple) or len(returned) != 5:
            expected = "observation, reward, terminated, truncated and a dictionary of information"
            raise self._error(f"step({action})", f"returned {_words(returned)}, not {expected}")
        observation, reward, terminated, truncated, info = returned
        try:
            number = float(reward.item() if isinstance(reward, np.ndarray) else reward)
        except (TypeError, ValueError):
            raise self._error(f"step({action})", f"returned {_words(reward)} as the reward, not a number") from None
        if not math.isfinite(number):
            raise self._error(f"step({action})", f"returned {number} as the reward")
        return self._observation(f"step({action})", observation), number, bool(terminated), bool(truncated), info

    def _observation(self, call: str, observation: Any) -> Any:
        """The observation as declared. Raises `DataError`."""
        if not self._box:
            return self._of_other_space(call, observation)
        if type(observation) is not np.ndarray or observation.dtype != self._dtype or observation.shape != self._shape:
            observation = self._converted(call, observation)
        if observation.dtype.kind == "f" and not np.isfinite(observation).all():
            place = int(np.flatnonzero(~np.isfinite(observation.ravel()))[0])
            raise self._error(call, f"returned {observation.ravel()[place]} as number {place} of the observation")
        return observation

    def _converted(self, call: str, observation: Any) -> Any:
        """As an array of the box's dtype and shape; sides of length 1 may differ, numbers may not."""
        try:
            array = np.asarray(observation)
            with np.errstate(all="ignore"):
                found = array.astype(self._dtype, casting="unsafe" if self._dtype.kind in "iu" else "same_kind")
            fits = _sides(array.shape) == _sides(self._shape) and (found.dtype.kind == "f" or np.array_equal(found, array))
        except (TypeError, ValueError, OverflowError):  # no numbers, or lists of unequal lengths
            fits = False
        if not fits:
            raise self._error(call, f"returned {_words(observation)} as the observation")
        return found.reshape(self._shape)

    def _of_other_space(self, call: str, observation: Any) -> Any:
        space = self.env.observation_space
        try:
            if isinstance(space, spaces.Discrete):
                fits = int(observation) == observation and space.start <= observation < space.start + space.n
            else:
                flat: Any = spaces.flatten(space, observation)
                fits = bool(np.isfinite(flat).all())
        except Exception:  # whatever a value of another kind does in gymnasium
            fits = False
        if not fits:
            raise self._error(call, f"returned {_words(observation)} as the observation")
        return observation

    def _error(self, call: str, what: str) -> DataError:
        seed = "" if self._seed is None else f" of the episode with seed {self._seed}"
        when = f"at step {self._steps}{seed}" if self._steps else f"at the beginning{seed}"
        return DataError(f"the environment {self._name}: {call} {what}, {when}; it declares {self.env.observation_space}")


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def _words(value: Any) -> str:
    """A wrong value in a few words: its type, and its shape or itself."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, tuple):
        return f"{len(value)} values ({', '.join(type(item).__name__ for item in value[:6])})"
    return "None" if value is None else f"{kind} {' '.join(repr(value).split())[:80]}"
