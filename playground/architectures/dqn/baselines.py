"""What policies without a net reach in the very episodes that the agent is judged by, and what is possible at best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.dqn.planning import expected_return, solve, transitions
from dlplay.architectures.dqn.playing import Ground
from dlplay.architectures.dqn.settings import DQNSettings

MOST_STATES = 2_000
CONTROLLER = "θ + ω > 0"


def measure_baselines(settings: DQNSettings, name: str, ground: Ground, seeds: list[int]) -> dict[str, dict[str, float]]:
    """`{metric: {method: value}}`."""
    chance = np.random.default_rng(0)
    space: Any = ground.environments[0].action_space
    count = int(space.n)
    pictured = ground.reading.observed.kind == "image"
    played = ground.play(seeds[:3] if pictured else seeds, lambda seen: chance.integers(0, count, len(seen)), settings.gamma)
    found = {"eval_return": {"random": float(played.returns.mean())}}
    if name.startswith("CartPole"):
        found["eval_return"][CONTROLLER] = float(ground.play(seeds, lean, settings.gamma).returns.mean())
    exact = solve_exactly(settings, ground)
    if exact is not None:
        found["eval_return"]["value iteration"], found["discounted_return"] = exact[0], {"value iteration": exact[1]}
    if name.startswith("FrozenLake"):
        found["success_rate"] = dict(found["eval_return"])
    return found


def lean(observations: NDArray[Any]) -> NDArray[np.int64]:
    """Push to where the pole falls: right when angle and angular velocity add up to more than 0."""
    right: NDArray[np.int64] = (observations[:, 2] + observations[:, 3] > 0).astype(np.int64)
    return right


def solve_exactly(settings: DQNSettings, ground: Ground) -> tuple[float, float] | None:
    """Expected return within the time limit, and value of the first state, of the best policy; None when there is no table to solve."""
    inner: Any = ground.environments[0].unwrapped
    table, beginning = getattr(inner, "P", None), getattr(inner, "initial_state_distrib", None)
    if not isinstance(table, dict) or beginning is None or len(table) > MOST_STATES:
        return None
    model, first = transitions(table), np.asarray(beginning, np.float64)
    gamma = min(settings.gamma, 0.9999)
    values = solve(model, gamma)
    limit = time_limit(ground)
    return expected_return(model, values.argmax(1), first, limit), float(first @ values.max(1))


def time_limit(ground: Ground) -> int:
    """Steps after which an episode is cut."""
    spec = ground.environments[0].spec
    return int((spec.max_episode_steps if spec else 0) or 500)
