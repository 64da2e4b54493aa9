"""What a random policy, a hand-written one and the optimal one reach in the episodes that the agent is evaluated in.

The optimal one is computed by value iteration (Bellman, 1957), for small environments that tell their transition probabilities.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.dqn.env.registry import DEFAULT_TIME_LIMIT
from dlplay.architectures.dqn.evaluation.evaluator import Evaluator
from dlplay.architectures.dqn.settings import DQNSettings

MAX_STATES = 2_000
HEURISTIC = "heuristic (θ + ω > 0)"


def measure_baselines(settings: DQNSettings, name: str, evaluator: Evaluator, seeds: list[int]) -> dict[str, dict[str, float]]:
    """`{metric: {method: value}}` for the environment with the id `name`."""
    rng = np.random.default_rng(0)
    env = evaluator.envs[0]
    few = env.obs_spec.kind == "image"
    random = evaluator.run(seeds[:3] if few else seeds, lambda seen: rng.integers(0, env.action_count, len(seen)), settings.gamma)
    found = {"eval_return": {"random": float(random.returns.mean())}}
    if name.startswith("CartPole"):
        found["eval_return"][HEURISTIC] = float(evaluator.run(seeds, cartpole_heuristic, settings.gamma).returns.mean())
    optimum = solve_exactly(settings, evaluator)
    if optimum is not None:
        found["eval_return"]["value iteration"], found["discounted_return"] = optimum[0], {"value iteration": optimum[1]}
    if name.startswith("FrozenLake"):
        found["success_rate"] = dict(found["eval_return"])
    return found


def cartpole_heuristic(observations: NDArray[Any]) -> NDArray[np.int64]:
    """Push to where the pole falls: right where angle + angular velocity > 0. Actions (B,) for observations (B, 4)."""
    right: NDArray[np.int64] = (observations[:, 2] + observations[:, 3] > 0).astype(np.int64)
    return right


def solve_exactly(settings: DQNSettings, evaluator: Evaluator) -> tuple[float, float] | None:
    """Expected return within the time limit and expected value of the first state, of the optimal policy; None without a known model."""
    env = evaluator.envs[0]
    inner: Any = env.unwrapped
    table, first = getattr(inner, "P", None), getattr(inner, "initial_state_distrib", None)
    if not isinstance(table, dict) or first is None or len(table) > MAX_STATES:
        return None
    mdp, first = tabular_mdp(table), np.asarray(first, np.float64)
    q_values = value_iteration(mdp, min(settings.gamma, 0.9999))
    limit = int((env.spec.max_episode_steps if env.spec else 0) or DEFAULT_TIME_LIMIT)
    return expected_return(mdp, q_values.argmax(1), first, limit), float(first @ q_values.max(1))


class TabularMDP(NamedTuple):
    """A Markov decision process with S states and A actions."""

    transitions: NDArray[np.float64]  # (S, A, S) probabilities; all 0 where the episode terminates
    rewards: NDArray[np.float64]  # (S, A) expected


def tabular_mdp(table: dict[int, dict[int, list[tuple[Any, ...]]]]) -> TabularMDP:
    """From gymnasium's `P[state][action] = [(probability, next_state, reward, terminated), …]`."""
    states, actions = len(table), len(table[0])
    transitions, rewards = np.zeros((states, actions, states)), np.zeros((states, actions))
    for state, choices in table.items():
        for action, outcomes in choices.items():
            for probability, next_state, reward, terminated in outcomes:
                rewards[state, action] += probability * reward
                if not terminated:
                    transitions[state, action, next_state] += probability
    return TabularMDP(transitions, rewards)


def value_iteration(mdp: TabularMDP, gamma: float, tolerance: float = 1e-12) -> NDArray[np.float64]:
    """The optimal Q-values (S, A)."""
    q_values: NDArray[np.float64] = np.zeros_like(mdp.rewards)
    for _ in range(100_000):
        updated: NDArray[np.float64] = mdp.rewards + gamma * mdp.transitions @ q_values.max(1)
        if np.abs(updated - q_values).max() < tolerance:
            return updated
        q_values = updated
    return q_values


def expected_return(mdp: TabularMDP, policy: NDArray[np.int64], first: NDArray[np.float64], limit: int) -> float:
    """Undiscounted return of a policy (S,) over at most `limit` steps, from a distribution (S,) of first states."""
    states = np.arange(len(policy))
    probabilities, total = first, 0.0
    for _ in range(limit):
        total += float(probabilities @ mdp.rewards[states, policy])
        probabilities = probabilities @ mdp.transitions[states, policy]
    return total
