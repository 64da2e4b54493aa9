"""The replay buffer (Lin, 1992): the latest transitions in a ring buffer for each environment, every observation stored once.

A row holds an observation, the action taken on it, and its reward. The next observation is in the next row, so that an episode of k steps
takes k + 1 rows; on the last one no action was taken. A transition is *ready* to be sampled once its n rewards are known, and stops being
so when a row that it needs is overwritten.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlplay.architectures.dqn.model import ObservationSpec
from dlplay.architectures.dqn.replay.priorities import Priorities

OPEN, STEP, TERMINATED, TRUNCATED, END = range(5)
"""What a row is: the newest one, without an action yet; a step; the last step of an episode, terminated or truncated; the observation
after that."""


class Transitions(NamedTuple):
    """A batch of n-step transitions."""

    observations: Tensor  # (B, *shape)
    actions: Tensor  # (B,) int64
    returns: Tensor  # (B,) discounted sum of up to n rewards
    next_observations: Tensor  # (B, *shape), after those rewards
    discounts: Tensor  # (B,) of the value of `next_observations`: gamma^n, or 0 where the episode terminated


def row_bytes(spec: ObservationSpec) -> int:
    """Bytes of one row in a checkpoint."""
    return int(math.prod(spec.shape) // spec.frames * np.dtype(spec.dtype).itemsize + 22)


class ReplayBuffer:
    """A ring of `rows` rows for each of `num_envs` environments.

    `alpha`: prioritised replay. Of observations that stack the last frames only the newest frame is stored.
    """

    def __init__(self, capacity: int, num_envs: int, spec: ObservationSpec, alpha: float | None = None) -> None:
        self.num_envs, self.rows = num_envs, max(4, capacity // num_envs)
        self.capacity = self.rows * num_envs
        self.frames = spec.frames
        shape = spec.shape[1:] if spec.frames > 1 else spec.shape
        self.observations = np.zeros((self.capacity, *shape), spec.dtype)
        self.actions = np.zeros(self.capacity, np.int32)
        self.rewards = np.zeros(self.capacity, np.float32)
        self.kinds = np.zeros(self.capacity, np.uint8)
        self.ages = np.zeros(self.capacity, np.int32)
        """Rows since the start of the episode."""
        self.ready = np.zeros(self.capacity, np.bool_)
        self.heads = [0] * num_envs
        """The place of each environment's newest row in its ring."""
        self.written = 0
        """Rows of the fullest ring that were ever written, at most `rows`."""
        self.count = 0
        """Transitions that are ready to be sampled."""
        self.priorities = Priorities(self.capacity, alpha) if alpha is not None else None

    # --- writing ------------------------------------------------------------------------------------------------------------------

    def add_first(self, env: int, observation: NDArray[Any]) -> None:
        """The first observation of an episode, or of the rest of one after `truncate`."""
        self._open(env, self.heads[env], observation, 0)

    def add(
        self, env: int, action: int, reward: float, next_observation: NDArray[Any], terminated: bool, truncated: bool, n_step: int
    ) -> None:
        """One step from the newest row; a transition takes `n_step` of them. After the end of an episode `add_first` must follow."""
        head = self.heads[env]
        row = env * self.rows + head
        self.actions[row], self.rewards[row] = action, reward
        self.kinds[row] = TERMINATED if terminated else TRUNCATED if truncated else STEP
        age = int(self.ages[row])
        head = head + 1 if head + 1 < self.rows else 0
        self._open(env, head, next_observation, age + 1)
        if terminated or truncated:
            self.kinds[env * self.rows + head] = END
            for back in range(min(n_step, age + 1)):
                self._make_ready(env, row, back)
            head = head + 1 if head + 1 < self.rows else 0
        elif age + 1 >= n_step:
            self._make_ready(env, row, n_step - 1)
        self.heads[env] = head

    def truncate(self, env: int, n_step: int) -> None:
        """Cut the running episode off here, in the buffer only, so that another one can be inserted."""
        row = env * self.rows + self.heads[env]
        age = int(self.ages[row])
        self.kinds[row] = END
        if age:
            last = env * self.rows + (self.heads[env] - 1) % self.rows
            self.kinds[last] = TRUNCATED
            for back in range(min(n_step, age)):
                self._make_ready(env, last, back)
        self.heads[env] = (self.heads[env] + 1) % self.rows

    def _open(self, env: int, head: int, observation: NDArray[Any], age: int) -> None:
        row = env * self.rows + head
        self.observations[row] = observation[-1] if self.frames > 1 else observation
        self.kinds[row], self.ages[row] = OPEN, age
        self._forget(row)
        for ahead in range(1, self.frames):  # they stack the frame that is overwritten here
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

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of `count` ready transitions, each equally likely, with replacement."""
        if self.count * 4 < self.written * self.num_envs:  # few rows are ready: rejection sampling would take long
            ready = np.flatnonzero(self.ready)
            return ready[rng.integers(0, len(ready), count)]
        rows = self._sample_written(count, rng)
        while len(rejected := np.flatnonzero(~self.ready[rows])):
            rows[rejected] = self._sample_written(len(rejected), rng)
        return rows

    def _sample_written(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = rng.integers(0, self.written * self.num_envs, count)
        return drawn if self.num_envs == 1 else drawn // self.written * self.rows + drawn % self.written

    def gather(self, rows: NDArray[np.int64], n_step: int, gamma: float) -> Transitions:
        """The transitions at these rows (B,), over `n_step` steps or to the end of their episode, on the CPU."""
        after, kinds = self._next(rows), self.kinds[rows]
        returns = self.rewards[rows]
        if n_step == 1:
            discounts = np.where(kinds == TERMINATED, np.float32(0), np.float32(gamma))
        else:
            discounts = np.full(len(rows), gamma, np.float32)
            for _ in range(n_step - 1):
                continues = (kinds == STEP) & (self.kinds[after] != OPEN)
                kinds = np.where(continues, self.kinds[after], kinds)
                returns = returns + np.where(continues, discounts * self.rewards[after], np.float32(0))
                discounts = np.where(continues, discounts * np.float32(gamma), discounts)
                after = np.where(continues, self._next(after), after)
            discounts = np.where(kinds == TERMINATED, np.float32(0), discounts)
        arrays = self.observations_at(rows), self.actions[rows].astype(np.int64), returns, self.observations_at(after), discounts
        return Transitions(*map(torch.from_numpy, arrays))

    def observations_at(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The observations (B, *shape) of these rows (B,), frames stacked again."""
        if self.frames == 1:
            return self.observations.take(rows, 0)
        first = rows // self.rows * self.rows
        frames = []
        for back in range(self.frames - 1, -1, -1):
            back_rows = np.minimum(back, self.ages[rows])  # the first frame of an episode stands for those before it
            frames.append(self.observations.take(first + (rows - first - back_rows) % self.rows, 0))
        return np.stack(frames, 1)

    def visited(self) -> NDArray[Any]:
        """All observations (N, *shape) that are stored, those at the end of an episode too; of stacked frames the newest."""
        rings = self.observations.reshape(self.num_envs, self.rows, *self.observations.shape[1:])
        return rings[:, : self.written].reshape(-1, *self.observations.shape[1:])

    def _next(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        after = rows + 1
        if self.num_envs == 1:
            return np.where(after == self.rows, 0, after)
        return np.where(after % self.rows == 0, after - self.rows, after)

    def newest_rows(self) -> NDArray[np.int64]:
        """The row of each environment's newest observation, (num_envs,)."""
        return np.array([env * self.rows + head for env, head in enumerate(self.heads)])

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
        """The rows that were written."""
        used = {
            name: torch.from_numpy(array.reshape(self.num_envs, self.rows, *array.shape[1:])[:, : self.written].copy())
            for name, array in self._arrays().items()
        }
        return {"rows": used, "heads": list(self.heads), "priorities": self.priorities.state() if self.priorities else {}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned. Raises `ValueError` when the buffer had another size."""
        used = state["rows"]
        written = used["kinds"].shape[1]
        if len(state["heads"]) != self.num_envs or written > self.rows:
            raise ValueError("the replay buffer of the checkpoint has another size")
        for name, array in self._arrays().items():
            array[:] = 0
            array.reshape(self.num_envs, self.rows, *array.shape[1:])[:, :written] = used[name].numpy()
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
