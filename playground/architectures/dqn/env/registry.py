"""Environments by id: looked up in gymnasium's registry, made, checked and wrapped, or refused with the nearest ids."""

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

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # standard output belongs to the run
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # frames are rendered off screen, and there may be no display

import gymnasium
from gymnasium import spaces

from dlplay.architectures.dqn.env.checked import Checked, Environment
from dlplay.architectures.dqn.env.preprocessing import Preprocess, describe, misfit
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.settings import SettingsError

DEFAULT_TIME_LIMIT = 500
"""Steps of an episode where neither the environment nor the settings limit them."""
ATARI_SIZE, ATARI_STACK = 84, 4
ATARI_TIME_LIMIT = 27_000
"""Steps of an Atari game, of four frames each: half an hour of play."""
NO_ATARI = '--env: Atari games need an extra package; pip install "dlplay[atari]"'
MAX_ACTIONS = 64


_registered: dict[str, set[str]] = {}
"""The ids that each imported module has registered."""


def import_modules(names: str) -> None:
    """Import the modules of `--env-module`: installed ones, or files of the current folder. Raises `SettingsError`."""
    if names.strip() and not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))  # where the Python of an installed command does not look
    for name in _split(names):
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            stem = Path(name).stem
            raise SettingsError(
                f"--env-module {name}: give the name of a module, such as {stem} for {stem}.py in this folder", "env_module"
            )
        before = set(gymnasium.registry)
        try:
            if name not in sys.modules:
                importlib.import_module(name)
                _registered[name] = set(gymnasium.registry) - before
        except Exception as error:  # whatever its own code raises
            why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            raise SettingsError(
                f"--env-module {name}: cannot be imported ({_line(why)}); install it, fix it, or start dlplay in its folder", "env_module"
            ) from None


def _split(names: str) -> list[str]:
    return [part.strip() for part in names.split(",") if part.strip()]


def find(name: str, modules: str = "") -> str:
    """The full id of an environment, without a module before it; a name without a version is its newest.

    Raises `SettingsError` with the nearest ids, or with what the imported `modules` have registered.
    """
    name = name.rpartition(":")[2]
    if name.startswith("ALE/"):
        _register_atari()
    elif name not in gymnasium.registry:
        with contextlib.suppress(SettingsError):  # Atari games are searched as well where they are installed
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
    if imported := [module for module in _split(modules) if module in _registered]:
        ids = sorted(known for module in imported for known in _registered[module])
        hint = f"{' and '.join(imported)} registers {', '.join(ids[:5]) or 'none: call gymnasium.register in it'}"
        raise SettingsError(f"--env {name}: no such environment is registered; {hint}", "env")
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


def time_limit(settings: DQNSettings, name: str) -> int:
    """The agent's steps after which an episode of the environment with this full id is truncated."""
    return settings.time_limit or (ATARI_TIME_LIMIT if is_atari(name) else gymnasium.spec(name).max_episode_steps or DEFAULT_TIME_LIMIT)


def make(settings: DQNSettings, render: str | None = None) -> Preprocess:
    """One environment, its episodes limited in time and its observations preprocessed.

    `render`: `"rgb_array"` or `"ansi"`. Raises `SettingsError` for an environment that does not exist, cannot be made, or does not fit.
    """
    modules = f"{settings.env_module},{settings.env.rpartition(':')[0]}"
    import_modules(modules)
    name = find(settings.env, modules)
    atari = is_atari(name)
    limit = time_limit(settings, name)
    # Limited below: a game in steps of the agent, where gymnasium would count every frame, and others outside of what checks them.
    more: dict[str, Any] = {"max_episode_steps": -1} | ({"frameskip": 1} if atari else {})
    if render is not None:  # an environment that is never rendered need not know of it
        more["render_mode"] = render
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            env: Environment = gymnasium.make(name, disable_env_checker=True, **more)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise SettingsError(f"--env {name} cannot be made: {_remedy(str(error))}", "env") from None
        except Exception as error:  # whatever a registered constructor raises
            raise SettingsError(f"--env {name} cannot be made: {type(error).__name__}: {_line(str(error))}", "env") from None
    _check_spaces(env, name)
    if atari:
        return Preprocess(_wrap_atari(env, limit), name)
    env = gymnasium.wrappers.TimeLimit(Checked(env, name), limit)
    if isinstance(env.observation_space, (spaces.Dict, spaces.Tuple, spaces.MultiDiscrete, spaces.MultiBinary)):
        try:
            env = gymnasium.wrappers.FlattenObservation(env)
        except (NotImplementedError, ValueError, TypeError):
            raise misfit(env, name) from None
    return Preprocess(env, name)


def _check_spaces(env: Environment, name: str) -> None:
    for space in ("observation_space", "action_space"):
        if not isinstance(getattr(env, space, None), spaces.Space):
            raise SettingsError(f"--env {name} does not fit: its {space} is not declared by a space of gymnasium", "env")
    if not isinstance(env.action_space, spaces.Discrete):
        raise SettingsError(
            f"--env {name} does not fit: its actions are {describe(env.action_space)}, and DQN compares the values of a few discrete "
            "actions; use one with a discrete action space",
            "env",
        )
    if env.action_space.n > MAX_ACTIONS:
        raise SettingsError(f"--env {name} does not fit: it has {env.action_space.n} actions; use one with at most {MAX_ACTIONS}", "env")


def _wrap_atari(env: Environment, limit: int) -> Environment:
    """Grey frames of 84 x 84, every fourth one, the last four stacked (Mnih et al., 2015); at most `limit` steps of the agent."""
    try:
        env = gymnasium.wrappers.AtariPreprocessing(env, screen_size=ATARI_SIZE)
    except (ImportError, gymnasium.error.DependencyNotInstalled):
        raise SettingsError(NO_ATARI, "env") from None
    return gymnasium.wrappers.FrameStackObservation(gymnasium.wrappers.TimeLimit(env, limit), ATARI_STACK)


def _remedy(why: str) -> str:
    if "box2d" in why.lower():
        return 'it needs an extra package; pip install "dlplay[box2d]"'
    return _line(why)


def _line(words: str) -> str:
    return " ".join(words.split())[:200]
