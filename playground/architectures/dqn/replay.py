"""The replay buffer (Lin, 1992): the latest transitions in a ring for each environment, every observation stored once.

A row holds an observation, the action taken on it, and its reward. The observation that followed is the next row's, so that an episode
of k steps takes k + 1 rows: the last one, where nothing was done any more, ends the episode. A transition is *ready* once its n rewards
are known; until then, and where it would reach over an end, it cannot be drawn.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dlplay.architectures.dqn.priorities import Priorities

OPEN, STEP, TERMINATED, TRUNCATED, END = range(5)
"""What a row is: not acted on yet; a step; the last step of an episode, by its own end or cut off; what was seen behind that."""


class Batch(NamedTuple):
    """Transitions as arrays, B of them."""

    observations: NDArray[Any]  # (B, *shape)
    actions: NDArray[np.int64]  # (B,)
    returns: NDArray[np.float32]  # (B,) discounted sum of up to n rewards
    following: NDArray[Any]  # (B, *shape) what was seen after them
    discounts: NDArray[np.float32]  # (B,) what the value of `following` is worth: gamma^n, or 0 behind a termination


def row_bytes(shape: tuple[int, ...], dtype: Any, stack: int) -> int:
    """What one row takes in a checkpoint."""
    return int(math.prod(shape) // stack * np.dtype(dtype).itemsize + 22)


class Replay:
    """Rings of `rows` rows for each of `envs` environments.

    `stack`: observations are the last so many pictures, of which only the newest is stored.
    """

    def __init__(self, capacity: int, envs: int, shape: tuple[int, ...], dtype: Any, stack: int = 1, alpha: float | None = None) -> None:
        self.envs, self.stack = envs, stack
        self.rows = max(4, capacity // envs)
        total = self.rows * envs
        self.shape = shape[1:] if stack > 1 else shape
        self.observations = np.zeros((total, *self.shape), dtype)
        self.actions = np.zeros(total, np.int32)
        self.rewards = np.zeros(total, np.float32)
        self.kinds = np.zeros(total, np.uint8)
        self.ages = np.zeros(total, np.int32)
        """Rows since the beginning of the episode."""
        self.ready = np.zeros(total, np.bool_)
        self.heads = [0] * envs
        """Where each environment's open row is, in its own ring."""
        self.written = 0
        """Rows of the fullest ring that were ever written, at most `rows`."""
        self.count = 0
        """Transitions that can be drawn."""
        self.priorities = Priorities(total, alpha) if alpha is not None else None

    # --- writing ------------------------------------------------------------------------------------------------------------------

    def begin(self, env: int, observation: NDArray[Any]) -> None:
        """An episode begins (or goes on behind a break) with what is observed."""
        self._open(env, self.heads[env], observation, 0)

    def add(self, env: int, action: int, reward: float, following: NDArray[Any], terminated: bool, truncated: bool, n: int) -> None:
        """The step from the open row on. Behind the end of an episode, `begin` must come next."""
        head = self.heads[env]
        row = env * self.rows + head
        self.actions[row], self.rewards[row] = action, reward
        self.kinds[row] = TERMINATED if terminated else TRUNCATED if truncated else STEP
        age = int(self.ages[row])
        head = head + 1 if head + 1 < self.rows else 0
        self._open(env, head, following, age + 1)
        if terminated or truncated:
            self.kinds[env * self.rows + head] = END
            for back in range(min(n, age + 1)):
                self._make_ready(env, row, back)
            head = head + 1 if head + 1 < self.rows else 0
        elif age + 1 >= n:
            self._make_ready(env, row, n - 1)
        self.heads[env] = head

    def interrupt(self, env: int, n: int) -> None:
        """End the running episode here for the buffer alone, as if it had been cut off: something else comes between."""
        row = env * self.rows + self.heads[env]
        age = int(self.ages[row])
        self.kinds[row] = END
        if age:
            last = env * self.rows + (self.heads[env] - 1) % self.rows
            self.kinds[last] = TRUNCATED
            for back in range(min(n, age)):
                self._make_ready(env, last, back)
        self.heads[env] = (self.heads[env] + 1) % self.rows

    def _open(self, env: int, head: int, observation: NDArray[Any], age: int) -> None:
        row = env * self.rows + head
        self.observations[row] = observation[-1] if self.stack > 1 else observation
        self.kinds[row], self.ages[row] = OPEN, age
        self._forget(row)
        for ahead in range(1, self.stack):  # the pictures before them are lost with this row
            self._forget(env * self.rows + (head + ahead) % self.rows)
        self.heads[env] = head
        if self.written <= head:
            self.written = head + 1

    def _make_ready(self, env: int, row: int, back: int) -> None:
        row = env * self.rows + (row - env * self.rows - back) % self.rows
        if not self.ready[row]:
            self.ready[row] = True
            self.count += 1
            if self.priorities is not None:
                self.priorities.add(row)

    def _forget(self, row: int) -> None:
        if self.ready[row]:
            self.ready[row] = False
            self.count -= 1
            if self.priorities is not None:
                self.priorities.remove(row)

    # --- reading ------------------------------------------------------------------------------------------------------------------

    def draw(self, count: int, chance: np.random.Generator) -> NDArray[np.int64]:
        """Rows of `count` ready transitions, each equally likely, with replacement."""
        if self.count * 4 < self.written * self.envs:  # a ring of which little is ready would be drawn from in vain
            ready = np.flatnonzero(self.ready)
            return ready[chance.integers(0, len(ready), count)]
        rows = self._any(count, chance)
        while len(bad := np.flatnonzero(~self.ready[rows])):
            rows[bad] = self._any(len(bad), chance)
        return rows

    def _any(self, count: int, chance: np.random.Generator) -> NDArray[np.int64]:
        drawn = chance.integers(0, self.written * self.envs, count)
        return drawn if self.envs == 1 else drawn // self.written * self.rows + drawn % self.written

    def gather(self, rows: NDArray[np.int64], n: int, gamma: float) -> Batch:
        """The transitions at these rows, over `n` steps or to the end of their episode."""
        following, kinds = self._after(rows), self.kinds[rows]
        returns = self.rewards[rows]
        if n == 1:
            discounts = np.where(kinds == TERMINATED, np.float32(0), np.float32(gamma))
        else:
            factor = np.full(len(rows), gamma, np.float32)
            for _ in range(n - 1):
                going = (kinds == STEP) & (self.kinds[following] != OPEN)
                kinds = np.where(going, self.kinds[following], kinds)
                returns = returns + np.where(going, factor * self.rewards[following], np.float32(0))
                factor = np.where(going, factor * np.float32(gamma), factor)
                following = np.where(going, self._after(following), following)
            discounts = np.where(kinds == TERMINATED, np.float32(0), factor)
        return Batch(self.seen(rows), self.actions[rows].astype(np.int64), returns, self.seen(following), discounts)

    def seen(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The observations (B, *shape) of these rows."""
        if self.stack == 1:
            return self.observations.take(rows, 0)
        first = rows // self.rows * self.rows
        pictures = []
        for back in range(self.stack - 1, -1, -1):
            back_rows = np.minimum(back, self.ages[rows])  # before the first picture of an episode stands that picture
            pictures.append(self.observations.take(first + (rows - first - back_rows) % self.rows, 0))
        return np.stack(pictures, 1)

    def _after(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        following = rows + 1
        if self.envs == 1:
            return np.where(following == self.rows, 0, following)
        return np.where(following % self.rows == 0, following - self.rows, following)

    def latest(self, count: int) -> NDArray[np.int64]:
        """Rows of up to `count` transitions, newest first."""
        found: list[int] = []
        for back in range(1, self.written + 1):
            for env, head in enumerate(self.heads):
                row = env * self.rows + (head - back) % self.rows
                if self.ready[row]:
                    found.append(row)
            if len(found) >= count:
                break
        return np.array(found[:count], np.int64)

    # --- state --------------------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The rows that were written, as tensors."""
        used = {
            name: torch.from_numpy(array.reshape(self.envs, self.rows, *array.shape[1:])[:, : self.written].copy())
            for name, array in self._arrays().items()
        }
        return {"rows": used, "heads": list(self.heads), "priorities": self.priorities.state() if self.priorities else {}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`. Raises `ValueError` when it is of another buffer."""
        used = state["rows"]
        written = used["kinds"].shape[1]
        if len(state["heads"]) != self.envs or written > self.rows:
            raise ValueError("the replay buffer of the checkpoint has another size")
        for name, array in self._arrays().items():
            array[:] = 0
            array.reshape(self.envs, self.rows, *array.shape[1:])[:, :written] = used[name].numpy()
        self.heads, self.written = [int(head) for head in state["heads"]], written
        self.count = int(self.ready.sum())
        if self.priorities is not None:
            self.priorities.load_state(state["priorities"])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "observations": self.observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "kinds": self.kinds,
            "ages": self.ages,
            "ready": self.ready,
        }
