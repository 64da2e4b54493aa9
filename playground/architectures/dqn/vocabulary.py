"""What the numbers of well-known environments mean: names of actions and observations, and the keys a person plays with."""

from __future__ import annotations

from typing import Any

from dlplay.architectures.dqn.environments import Environment

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

TELLING: dict[str, tuple[int, int]] = {"CartPole": (2, 3), "LunarLander": (0, 1), "Acrobot": (4, 5)}
"""The two numbers of the observation that say most about the value."""

TAXI_PLACES = ("red", "green", "yellow", "blue", "in the taxi")

_KEYS = {"UP": "up", "DOWN": "down", "LEFT": "left", "RIGHT": "right", "FIRE": "space"}


def family(name: str) -> str:
    """The name without namespace and version: CartPole-v1 is a CartPole."""
    return name.rpartition("/")[2].rpartition("-v")[0] or name


def meanings(env: Environment) -> tuple[str, ...]:
    """What an Atari game calls its actions; empty for others."""
    inner: Any = env.unwrapped
    return tuple(inner.get_action_meanings()) if hasattr(inner, "get_action_meanings") else ()


def action_names(name: str, env: Environment, count: int) -> tuple[str, ...]:
    """A name for each action."""
    known = ACTIONS.get(_kind(name), ())
    if len(known) == count:
        return known
    own = meanings(env)
    return tuple(word.lower() for word in own) if len(own) == count else tuple(f"action {number}" for number in range(count))


def controls(name: str, env: Environment, count: int) -> dict[str, int]:
    """The action of each key that a person plays with."""
    known = CONTROLS.get(_kind(name), {})
    if known and max(known.values()) < count:
        return dict(known)
    if own := meanings(env):
        return {_KEYS[word]: number for number, word in enumerate(own) if word in _KEYS}
    return dict(zip(("left", "right", "up", "down", "space"), range(min(count, 5)), strict=False))


def observation_names(name: str, count: int) -> tuple[str, ...]:
    """A name for each number of an observation."""
    known = OBSERVATIONS.get(_kind(name), ())
    return known if len(known) == count else tuple(f"number {index}" for index in range(count))


def telling(name: str, count: int) -> tuple[int, int]:
    """Two numbers of the observation to begin with."""
    known = TELLING.get(_kind(name), (0, 1))
    return known if max(known) < count else (0, min(1, count - 1))


def _kind(name: str) -> str:
    own = family(name)
    return next((known for known in ACTIONS if own.startswith(known)), own)
