"""Environments by name: found among gymnasium's, made, checked, and described; or refused in words with near matches."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.dqn.model import Observed
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.settings import SettingsError

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # standard output is for the run's own words
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures are drawn in memory; there may be no screen, and none is wanted

import gymnasium
from gymnasium import spaces

USUAL_LIMIT = 500
"""Steps of an episode where neither environment nor settings limit them."""
ATARI_SIDE, ATARI_STACK = 84, 4
ATARI_LIMIT = 27_000
"""Steps of an Atari game, four frames each: half an hour of play."""
NO_ATARI = '--env: Atari games need an extra package; pip install "dlplay[atari]"'
MOST_ACTIONS = 64
LARGEST = 1e4
"""A bound beyond this says nothing about what is usual."""

Environment = gymnasium.Env[Any, Any]


def import_modules(names: str) -> None:
    """Import the modules of `--env-module`, installed ones or files of the current folder, where an installed command's Python does not
    look by itself. Raises `SettingsError` naming the one that is missing."""
    if names.strip() and not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    for name in filter(None, (part.strip() for part in names.split(","))):
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever its own code raises
            why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            raise SettingsError(
                f"--env-module {name}: cannot be imported ({_line(why)}); install it, mend it, or start dlplay in its folder", "env_module"
            ) from None


def find(name: str) -> str:
    """The full id of an environment; a name without version is its newest. Raises `SettingsError` with near matches."""
    if name.startswith("ALE/"):
        _register_atari()
    elif name not in gymnasium.registry:
        with contextlib.suppress(SettingsError):  # Atari games are looked for as well where they are installed
            _register_atari()
    if name in gymnasium.registry:
        return name
    versions = [known for known in gymnasium.registry if re.fullmatch(r"(ALE/)?" + re.escape(name) + r"-v\d+", known)]
    if versions:
        return max(versions, key=lambda known: int(known.rpartition("-v")[2]))
    stem = name.rpartition("-v")[0].lower() or name.lower()
    own = [known for known in gymnasium.registry if known.rpartition("-v")[0].lower() == stem]
    near = own or difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "CartPole-v1 is one"
    raise SettingsError(f"--env {name}: no such environment is registered; {hint} (--env-module imports modules with more)", "env")


def _register_atari() -> None:
    try:
        import ale_py
    except ImportError:
        raise SettingsError(NO_ATARI, "env") from None
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    if not any(known.startswith("ALE/") for known in gymnasium.registry):
        gymnasium.register_envs(ale_py)


def is_atari(name: str) -> bool:
    """Whether this full id is an Atari game, whose agent acts on every fourth frame."""
    return str(gymnasium.spec(name).entry_point).startswith("ale_py")


def make(settings: DQNSettings, render: str | None = None) -> Environment:
    """One environment, its episodes limited, its observations flat numbers, the number of a state, or a picture.

    `render`: `"rgb_array"` or `"ansi"`. Raises `SettingsError` for one that does not exist, cannot be made, or does not fit.
    """
    import_modules(settings.env_module)
    name = find(settings.env)
    atari = is_atari(name)
    limit = settings.time_limit or (ATARI_LIMIT if atari else gymnasium.spec(name).max_episode_steps or USUAL_LIMIT)
    # A game is limited behind its wrappers, in steps of the agent: gymnasium's own limit would count every frame of it.
    more: dict[str, Any] = {"frameskip": 1, "max_episode_steps": -1} if atari else {"max_episode_steps": limit}
    if render is not None:  # an environment that is never drawn need not know of it
        more["render_mode"] = render
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            env: Environment = gymnasium.make(name, disable_env_checker=True, **more)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise SettingsError(f"--env {name} cannot be made: {_way_out(name, str(error))}", "env") from None
        except Exception as error:  # whatever a registered constructor raises
            raise SettingsError(f"--env {name} cannot be made: {type(error).__name__}: {_line(str(error))}", "env") from None
    return _fitted(env, name, limit if atari else 0)


def _way_out(name: str, why: str) -> str:
    if "box2d" in why.lower():
        return 'it needs an extra package; pip install "dlplay[box2d]"'
    return _line(why)


def _line(words: str) -> str:
    return " ".join(words.split())[:200]


def _fitted(env: Environment, name: str, atari_limit: int) -> Environment:
    """Checked and wrapped; `atari_limit`: steps of the agent after which an Atari game is cut, 0 for other environments."""
    if not isinstance(env.action_space, spaces.Discrete):
        raise SettingsError(
            f"--env {name} does not fit: its actions are {_words(env.action_space)}, and DQN compares the values of a few numbered "
            "actions; use one with a discrete action space",
            "env",
        )
    if env.action_space.n > MOST_ACTIONS:
        raise SettingsError(f"--env {name} does not fit: it has {env.action_space.n} actions; use one with at most {MOST_ACTIONS}", "env")
    if atari_limit:
        try:
            env = gymnasium.wrappers.AtariPreprocessing(env, screen_size=ATARI_SIDE)
        except (ImportError, gymnasium.error.DependencyNotInstalled):
            raise SettingsError(NO_ATARI, "env") from None
        return gymnasium.wrappers.FrameStackObservation(gymnasium.wrappers.TimeLimit(env, atari_limit), ATARI_STACK)
    if isinstance(env.observation_space, (spaces.Tuple, spaces.MultiDiscrete, spaces.MultiBinary)):
        try:
            env = gymnasium.wrappers.FlattenObservation(env)
        except (NotImplementedError, ValueError, TypeError):
            raise _misfit(env, name) from None
    observe(env, name)
    return env


def observe(env: Environment, name: str = "it") -> Observed:
    """What the environment lets its agent see. Raises `SettingsError` when no net here can read it."""
    space = env.observation_space
    if isinstance(space, spaces.Discrete):
        return Observed("state", (), int(space.n))
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8 and len(space.shape) in (2, 3):
            height_last = len(space.shape) == 3 and space.shape[2] in (1, 3, 4)  # (H, W, C)
            shape = (space.shape[2], *space.shape[:2]) if height_last else (1, *space.shape) if len(space.shape) == 2 else space.shape
            return Observed("image", tuple(int(side) for side in shape))
        if int(np.prod(space.shape)) <= 65_536:
            return Observed("vector", (int(np.prod(space.shape)),))
    raise _misfit(env, name)


def _misfit(env: Environment, name: str) -> SettingsError:
    return SettingsError(
        f"--env {name} does not fit: its observations are {_words(env.observation_space)}; use one with a box of numbers, numbered states "
        "or pictures",
        "env",
    )


def _words(space: Any) -> str:
    kinds = {spaces.Dict: "a dictionary", spaces.Box: f"a box of shape {space.shape}", spaces.Text: "text", spaces.Graph: "a graph"}
    return next((words for kind, words in kinds.items() if isinstance(space, kind)), f"of the kind {type(space).__name__}")


class Reading:
    """Turns what an environment returns into what the net and the buffer hold."""

    def __init__(self, env: Environment) -> None:
        self.observed = observe(env)
        self.space = env.observation_space
        self.dtype: Any = {"state": np.int32, "image": np.uint8, "vector": np.float32}[self.observed.kind]
        shape = self.space.shape or ()
        self._channels_last = self.observed.kind == "image" and len(shape) == 3 and shape[2] in (1, 3, 4)
        self._first = int(getattr(self.space, "start", 0))
        self.plain = self.observed.kind == "vector" and self.space.dtype == np.float32 and len(shape) == 1
        """True when nothing needs to be changed."""
        self.stack = self.observed.shape[0] if isinstance(env, gymnasium.wrappers.FrameStackObservation) else 1

    def scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centre and reach (n,) of each observed number by the environment's bounds; 0 and 1 where it has none."""
        space: Any = self.space
        low, high = np.ravel(space.low).astype(np.float64), np.ravel(space.high).astype(np.float64)
        bounded = (np.abs(low) < LARGEST) & (np.abs(high) < LARGEST) & (high > low)
        centre, reach = np.zeros(len(low)), np.ones(len(low))
        centre[bounded], reach[bounded] = (low[bounded] + high[bounded]) / 2, (high[bounded] - low[bounded]) / 2
        return centre.astype(np.float32), reach.astype(np.float32)

    def __call__(self, observation: Any) -> NDArray[Any]:
        """One observation as an array of the observed shape."""
        if self.plain:
            array: NDArray[Any] = observation
            return array
        if self.observed.kind == "state":
            return np.asarray(int(observation) - self._first, np.int32)
        array = np.asarray(observation, self.dtype)
        if self._channels_last:
            return np.ascontiguousarray(array.transpose(2, 0, 1))
        return array.reshape(self.observed.shape)
