"""Exact solutions of small environments that tell their probabilities: value iteration (Bellman, 1957)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Model = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Transitions (states, actions, states), 0 behind a termination, and expected rewards (states, actions)."""


def transitions(table: dict[int, dict[int, list[tuple[Any, ...]]]]) -> Model:
    """From gymnasium's `P[state][action] = [(probability, following, reward, terminated), …]`."""
    states, actions = len(table), len(table[0])
    moves, rewards = np.zeros((states, actions, states)), np.zeros((states, actions))
    for state, choices in table.items():
        for action, outcomes in choices.items():
            for probability, following, reward, terminated in outcomes:
                rewards[state, action] += probability * reward
                if not terminated:
                    moves[state, action, following] += probability
    return moves, rewards


def solve(model: Model, gamma: float, tolerance: float = 1e-12) -> NDArray[np.float64]:
    """The best possible values (states, actions)."""
    moves, rewards = model
    values: NDArray[np.float64] = np.zeros_like(rewards)
    for _ in range(100_000):
        better: NDArray[np.float64] = rewards + gamma * moves @ values.max(1)
        if np.abs(better - values).max() < tolerance:
            return better
        values = better
    return values


def expected_return(model: Model, policy: NDArray[np.int64], beginning: NDArray[np.float64], limit: int) -> float:
    """Undiscounted return of a policy (states,) over at most `limit` steps, from a distribution (states,) of first states."""
    moves, rewards = model
    states = np.arange(len(policy))
    there, total = beginning, 0.0
    for _ in range(limit):
        total += float(there @ rewards[states, policy])
        there = there @ moves[states, policy]
    return total
