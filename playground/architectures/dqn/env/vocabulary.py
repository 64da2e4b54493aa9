"""Names for the actions and observations of well-known environments, and the keys with which a person plays them."""

from __future__ import annotations

from typing import Any

from dlplay.architectures.dqn.env.checked import Environment
from dlplay.architectures.dqn.env.preprocessing import Preprocess

ACTIONS: dict[str, tuple[str, ...]] = {
    "CartPole": ("push left", "push right"),
    "MountainCar": ("push left", "coast", "push right"),
    "Acrobot": ("torque −1", "no torque", "torque +1"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("down", "up", "right", "left", "pick up", "drop off"),
    "LunarLander": ("no engine", "left engine", "main engine", "right engine"),
    "Blackjack": ("stick", "hit"),
}

CONTROLS: dict[str, dict[str, int]] = {
    "CartPole": {"left": 0, "right": 1},
    "MountainCar": {"left": 0, "down": 1, "right": 2},
    "Acrobot": {"left": 0, "down": 1, "right": 2},
    "FrozenLake": {"left": 0, "down": 1, "right": 2, "up": 3},
    "CliffWalking": {"up": 0, "right": 1, "down": 2, "left": 3},
    "Taxi": {"down": 0, "up": 1, "right": 2, "left": 3, "space": 4},
    "LunarLander": {"down": 0, "left": 1, "up": 2, "right": 3},
    "Blackjack": {"left": 0, "right": 1},
}

OBSERVATIONS: dict[str, tuple[str, ...]] = {
    "CartPole": ("position", "velocity", "angle", "angular velocity"),
    "MountainCar": ("position", "velocity"),
    "Acrobot": ("cos θ1", "sin θ1", "cos θ2", "sin θ2", "θ1 velocity", "θ2 velocity"),
    "LunarLander": ("x", "y", "x velocity", "y velocity", "angle", "angular velocity", "left leg", "right leg"),
    "Blackjack": (),
}

DEFAULT_AXES: dict[str, tuple[int, int]] = {"CartPole": (2, 3), "LunarLander": (0, 1), "Acrobot": (4, 5)}
"""The two numbers of an observation on which the value depends most."""

TAXI_LOCATIONS = ("red", "green", "yellow", "blue", "in the taxi")

IDLE = ("coast", "no torque", "no engine", "noop")
"""Names of actions that do nothing."""

_ATARI_KEYS = {"UP": "up", "DOWN": "down", "LEFT": "left", "RIGHT": "right", "FIRE": "space"}


def family(name: str) -> str:
    """An id without namespace and version: CartPole-v1 is a CartPole."""
    return name.rpartition("/")[2].rpartition("-v")[0] or name


def action_names(name: str, env: Preprocess) -> tuple[str, ...]:
    """A name for each action of the environment with this id."""
    known = ACTIONS.get(_known_family(name), ())
    if len(known) == env.action_count:
        return known
    meanings = _action_meanings(env)
    if len(meanings) == env.action_count:
        return tuple(word.lower() for word in meanings)
    return tuple(f"action {number}" for number in range(env.action_count))


def controls(name: str, env: Preprocess) -> dict[str, int]:
    """The action of each key."""
    known = CONTROLS.get(_known_family(name), {})
    if known and max(known.values()) < env.action_count:
        return dict(known)
    if meanings := _action_meanings(env):
        return {_ATARI_KEYS[word]: number for number, word in enumerate(meanings) if word in _ATARI_KEYS}
    return dict(zip(("left", "right", "up", "down", "space"), range(min(env.action_count, 5)), strict=False))


def observation_names(name: str, count: int) -> tuple[str, ...]:
    """A name for each of the `count` numbers of an observation."""
    known = OBSERVATIONS.get(_known_family(name), ())
    return known if len(known) == count else tuple(f"number {index}" for index in range(count))


def default_axes(name: str, count: int) -> tuple[int, int]:
    """The two numbers of an observation to plot over, unless others are chosen."""
    known = DEFAULT_AXES.get(_known_family(name), (0, 1))
    return known if max(known) < count else (0, min(1, count - 1))


def _action_meanings(env: Environment) -> tuple[str, ...]:
    """What an Atari game calls its actions; empty for others."""
    inner: Any = env.unwrapped
    return tuple(inner.get_action_meanings()) if hasattr(inner, "get_action_meanings") else ()


def _known_family(name: str) -> str:
    own = family(name)
    return next((known for known in ACTIONS if own.startswith(known)), own)
