"""Training a DQN (Mnih et al., 2015): act, store the transition, sample a batch of them, and move the Q-values towards the TD targets."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dlplay.architectures.dqn.env.preprocessing import centre_and_reach
from dlplay.architectures.dqn.env.registry import find, time_limit
from dlplay.architectures.dqn.env.vector import MAX_SEED, Episode, load_rng_state, make_vector_env, rng_state
from dlplay.architectures.dqn.evaluation.baselines import measure_baselines
from dlplay.architectures.dqn.evaluation.evaluator import Evaluator
from dlplay.architectures.dqn.model import ObservationSpec, QNetwork
from dlplay.architectures.dqn.panels import DQNPanels
from dlplay.architectures.dqn.player.actions import DQNActions
from dlplay.architectures.dqn.player.player import Player
from dlplay.architectures.dqn.player.policy import GreedyPolicy
from dlplay.architectures.dqn.replay.buffer import ReplayBuffer, Transitions, row_bytes
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.dataset import Generated
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.settings import SettingsError, code, to_dict
from dlplay.engine.task import Probe, Task
from dlplay.parts.optimizers import schedule, set_one_cycle, set_rates

FINAL_EPISODES, FINAL_IMAGE_EPISODES = 100, 10
"""Greedy episodes of the final evaluation; fewer from images, where each step renders a frame and episodes last thousands of steps."""
MAX_BUFFER_BYTES = 400_000_000
"""A checkpoint holds the replay buffer, and can be read back up to this size."""
SPEED_SECONDS = 1.0
PROBED_STEPS, PROBED_EPISODES = 500, 4
"""`probe` plays episodes only where each is this short, and so many of them."""
AT_ONCE = 16 << 20
"""Bytes of batches that go to a card in one copy, unless a single one is larger."""
PASSED = 256
"""Replayed observations that `pass_through` reads, at most."""


class Replayed(NamedTuple):
    """What an update learns from."""

    rows: NDArray[np.int64]
    """Where it lies in the replay buffer, (B,)."""
    tensors: tuple[Tensor, ...]
    """The `Transitions` and, with prioritised replay, the weight of each, (B,)."""

    @property
    def batch(self) -> Transitions:
        return Transitions(*self.tensors[: len(Transitions._fields)])

    @property
    def weights(self) -> Tensor | None:
        rest = self.tensors[len(Transitions._fields) :]
        return rest[0] if rest else None


class DQNTask(Task[DQNSettings]):
    """A training step is one step in every environment, and the updates that are due then."""

    thorough_at_end = True
    baselines_version = 3

    def __init__(self, settings: DQNSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.envs = make_vector_env(settings)
        self.name = find(settings.env)
        self.obs_spec, self.action_count = self.envs.obs_spec, self.envs.action_count
        _check_size(settings, self.obs_spec)
        self.dataset = Generated(
            f"{self.name}: {_describe(self.obs_spec)}, {self.action_count} actions",
            assets={"env": self.name, "observed": _shape(self.obs_spec), "actions": self.action_count},
        )
        if assets is not None and assets.get("observed") != self.dataset.assets["observed"]:
            raise DataError(f"{self.name} has other observations than {assets.get('env')}, which these weights were trained on")
        scale: list[Tensor] = []
        if settings.scale and self.obs_spec.kind == "vector":
            scale = [torch.from_numpy(array) for array in centre_and_reach(self.envs.single_env.observation_space)]
        self.q_network = QNetwork(self.obs_spec, self.action_count, settings.hidden, settings.dueling, *scale).to(device)
        self.target_network = copy.deepcopy(self.q_network).requires_grad_(False)
        self.models = {"net": self.q_network}
        self.optimizer = torch.optim.AdamW(self.q_network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
        self.optimizers = {"net": self.optimizer}
        self._parameters: list[Tensor] = list(self.q_network.parameters())
        self._target_parameters: list[Tensor] = list(self.target_network.parameters())
        self.policy = GreedyPolicy(self.q_network, device)
        alpha = settings.alpha if settings.prioritised else None
        self.replay = ReplayBuffer(settings.buffer, settings.envs, self.obs_spec, alpha)
        self.rng = np.random.Generator(np.random.PCG64([settings.seed, 0]))
        """For exploration, and the seed of every episode."""
        self.replay_rng = np.random.Generator(np.random.PCG64([settings.seed, 1]))
        """For sampling from the replay buffer."""
        self.updates = 0
        self.episodes_played = 0
        self.last_episode: Episode | None = None
        self.best_episode: Episode | None = None
        self.last_evaluation: dict[str, float] = {}
        self.speed = (0.0, 0.0)
        """Environment steps and updates a second."""
        self._speed_since = (time.perf_counter(), 0, 0)
        self._evaluator: Evaluator | None = None
        self._player: Player | None = None
        self.envs.reset(self.rng)
        for env, observation in enumerate(self.envs.observations):
            self.replay.add_first(env, observation)

    # --- training -----------------------------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor]:
        """One step in every environment. Returns metrics of updates, and of episodes that ended, in the steps that have any."""
        settings, step = self.settings, self.step + 1
        metrics: dict[str, Tensor] = {}
        finished: list[Episode] = []
        for taken in self.envs.step(self._choose_actions(), self.rng):
            if taken.action >= 0:
                reward = float(np.sign(taken.reward)) if settings.clip_rewards else taken.reward
                self.replay.add(taken.env, taken.action, reward, taken.next_observation, taken.terminated, taken.truncated, settings.n_step)
                if taken.finished is not None:
                    finished.append(taken.finished)
            if taken.first_observation is not None:
                self.replay.add_first(taken.env, taken.first_observation)
        if finished:
            metrics = self._record(finished)
        if step > settings.learning_starts and step % settings.train_frequency == 0 and self.replay.count:
            metrics |= self._learn()
        if settings.target == "hard" and step % settings.target_every == 0:
            polyak_update(self._target_parameters, self._parameters, 1.0)
        if time.perf_counter() - self._speed_since[0] >= SPEED_SECONDS:
            self._measure_speed(step)
        return metrics

    @property
    def epsilon(self) -> float:
        """The probability of a random action in the next step."""
        settings = self.settings
        if self.step < settings.learning_starts:
            return 1.0
        progress = min(1.0, self.step / settings.epsilon_steps)
        return settings.epsilon_start + progress * (settings.epsilon_end - settings.epsilon_start)

    def _choose_actions(self) -> list[int] | NDArray[np.int64]:
        """Epsilon-greedy: the best action in each environment, or with probability epsilon any."""
        epsilon, rng, observations = self.epsilon, self.rng, self.envs.observations
        if len(observations) == 1:
            return [int(rng.integers(self.action_count)) if rng.random() < epsilon else self.policy.action(observations[0])]
        explores = rng.random(len(observations)) < epsilon
        actions = rng.integers(0, self.action_count, len(observations))
        if not explores.all():
            actions = np.where(explores, actions, self.policy.actions(observations))
        return actions

    def _learn(self) -> dict[str, Tensor]:
        """One round of updates; the loss is their mean, the other metrics are the last one's."""
        settings = self.settings
        if settings.schedule == "one-cycle":
            set_one_cycle(self.optimizer, self.step / settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            lr = settings.lr * max(0.01, schedule(settings.schedule, self.step / settings.steps))
            set_rates(self.optimizer, lr=lr, weight_decay=settings.weight_decay)
        losses: list[Tensor] = []
        metrics: dict[str, Tensor] = {}
        for replayed in self._replay():
            loss, measured = self._update(replayed, len(losses) + 1 == settings.gradient_steps)
            losses.append(loss)
            metrics |= measured
        metrics["loss"] = torch.stack(losses).mean() if len(losses) > 1 else losses[0]
        return metrics

    def _replay(self) -> Iterator[Replayed]:
        """What each of this round's updates learns from, on the device. A card gets several in one copy, and with them the observations
        that the next actions are chosen by. With priorities an update's errors decide on the next batch, so there they go one by one."""
        settings = self.settings
        left = settings.gradient_steps
        while left:
            drawn = [self._sample()]
            if self.device.type != "cpu" and self.replay.priorities is None:
                bytes_each = sum(tensor.nbytes for tensor in drawn[0].tensors)
                drawn += [self._sample() for _ in range(min(left, AT_ONCE // bytes_each) - 1)]
            left -= len(drawn)
            if self.device.type != "cpu":
                observations, *tensors = self.on_device(
                    [torch.from_numpy(self.envs.observations), *(tensor for each in drawn for tensor in each.tensors)]
                )
                self.policy.has(self.envs.observations, observations)
                count = len(drawn[0].tensors)
                drawn = [Replayed(each.rows, tuple(tensors[count * n : count * (n + 1)])) for n, each in enumerate(drawn)]
            yield from drawn

    def _sample(self) -> Replayed:
        """Draw a batch from the replay buffer."""
        settings, replay = self.settings, self.replay
        if replay.priorities is None:
            rows = replay.sample(settings.batch, self.replay_rng)
            return Replayed(rows, replay.gather(rows, settings.n_step, settings.gamma))
        rows = replay.priorities.sample(settings.batch, self.replay_rng)
        beta = settings.beta + (1 - settings.beta) * min(1.0, self.step / settings.steps)
        weights = torch.from_numpy(replay.priorities.weights(rows, replay.count, beta))
        return Replayed(rows, (*replay.gather(rows, settings.n_step, settings.gamma), weights))

    def _update(self, replayed: Replayed, measure: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """One gradient step on a batch. Returns its loss, and if `measure` its metrics."""
        settings, replay = self.settings, self.replay
        batch, weights = replayed.batch, replayed.weights
        targets = self._td_targets(batch)
        with self.autocast():
            q_values = self.q_network(batch.observations).float()  # (B, A)
        chosen = q_values.gather(1, batch.actions[:, None])[:, 0]  # (B,)
        loss = td_loss(chosen, targets, settings.loss, weights)
        metrics = self.minimise(loss, self.optimizer, settings.clip)
        self.updates += 1
        if settings.target == "soft":
            polyak_update(self._target_parameters, self._parameters, settings.tau)
        if measure or replay.priorities is not None:
            td_errors = targets - chosen.detach()
            if replay.priorities is not None:
                replay.priorities.update(replayed.rows, td_errors.cpu().numpy())
            metrics["td_error"] = td_errors.abs().mean()
            metrics["max_q"] = q_values.detach().amax(1).mean()
        return loss.detach(), metrics

    def _td_targets(self, batch: Transitions) -> Tensor:
        target_network = self.q_network if self.settings.target == "none" else self.target_network
        return td_targets(batch, self.q_network, target_network, self.settings.double)

    def _record(self, finished: list[Episode]) -> dict[str, Tensor]:
        """Metrics of the episodes that ended; the last and the best one are kept for replay."""
        self.episodes_played += len(finished)
        for episode in finished:
            self.last_episode = episode
            if self.best_episode is None or episode.total_reward > self.best_episode.total_reward:
                self.best_episode = episode
        return {
            "episode_return": torch.tensor(float(np.mean([episode.total_reward for episode in finished]))),
            "episode_length": torch.tensor(float(np.mean([len(episode.actions) for episode in finished]))),
            "epsilon": torch.tensor(self.epsilon),
            "buffer_fill": torch.tensor(self.replay.count / self.replay.capacity),
        }

    def _measure_speed(self, step: int) -> None:
        now = time.perf_counter()
        since, steps, updates = self._speed_since
        self.speed = ((step - steps) * self.settings.envs / (now - since), (self.updates - updates) / (now - since))
        self._speed_since = (now, step, self.updates)

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def panels(self) -> DQNPanels:
        return DQNPanels(self)

    def actions(self) -> DQNActions:
        return DQNActions(self)

    @property
    def player(self) -> Player:
        """The watched episode, started when somebody first looks."""
        if self._player is None:
            self._player = Player(self.settings, self.policy)
        return self._player

    def td_errors(self, rows: NDArray[np.int64]) -> Tensor:
        """TD errors (B,) of the transitions at these rows (B,) of the replay buffer."""
        batch = Transitions(*self.on_device(self.replay.gather(rows, self.settings.n_step, self.settings.gamma)))
        chosen: Tensor = self.q_network(batch.observations).gather(1, batch.actions[:, None])[:, 0]
        return self._td_targets(batch) - chosen

    # --- evaluation ---------------------------------------------------------------------------------------------------------------

    @property
    def evaluator(self) -> Evaluator:
        """Made when first needed."""
        if self._evaluator is None:
            self._evaluator = Evaluator(self.settings)
        return self._evaluator

    def final_seeds(self) -> list[int]:
        """The seeds of the final evaluation, which no episode had before."""
        count = FINAL_IMAGE_EPISODES if self.obs_spec.kind == "image" else FINAL_EPISODES
        return episode_seeds(self.settings.seed, 3, count)

    def evaluate(self) -> dict[str, float]:
        """Greedy episodes in environments of their own: the same few during training, 100 fresh ones once all steps are done.

        `start_q` is the value predicted for the first states, `discounted_return` what was obtained from them: a prediction above it is
        overestimation.
        """
        settings = self.settings
        final = self.finishing or self.step >= settings.steps
        seeds = self.final_seeds() if final else episode_seeds(settings.seed, 2, settings.eval_episodes)
        rollouts = self.evaluator.run(seeds, self.policy.actions, settings.gamma)
        found = {
            "eval_return": float(rollouts.returns.mean()),
            "eval_length": float(rollouts.lengths.mean()),
            "start_q": float(self.policy.q_values(rollouts.first_observations).max(1).mean()),
            "discounted_return": float(rollouts.discounted_returns.mean()),
        }
        if self.name.startswith("FrozenLake"):
            found["success_rate"] = float((rollouts.returns > 0).mean())
        self.last_evaluation = found
        return found

    def probe(self) -> Probe | None:
        """The returns of a few greedy episodes, where their limit makes them quick; others are left to `evaluate`."""
        if self.obs_spec.kind == "image" or time_limit(self.settings, self.name) > PROBED_STEPS:
            return None
        seeds = episode_seeds(self.settings.seed, 2, PROBED_EPISODES)
        rollouts = self.evaluator.run(seeds, self.policy.actions, self.settings.gamma)
        return Probe(torch.from_numpy(rollouts.returns).float().to(self.device), "return", "higher")

    def copies(self) -> list[dict[str, nn.Module]]:
        return [{"net": self.target_network}]

    def pass_through(self) -> None:
        """The newest observations of the replay buffer, or those of now where it is empty."""
        rows = np.asarray(self.replay.latest(PASSED), np.int64)
        observations = torch.from_numpy(self.envs.observations)
        if len(rows):
            observations = self.replay.gather(rows, self.settings.n_step, self.settings.gamma).observations
        self.q_network(observations.to(self.device))

    def baselines(self) -> dict[str, dict[str, float]]:
        """A random policy; a heuristic for CartPole; the optimal policy where the transition probabilities are known."""
        return measure_baselines(self.settings, self.name, self.evaluator, self.final_seeds())

    def baselines_key(self) -> str:
        """The environment and the episodes; an environment of one's own may change without a sign."""
        settings = self.settings
        key = f"{self.baselines_version} {self.name} {settings.time_limit} {settings.gamma} {settings.seed}"
        return "" if code(type(settings), to_dict(settings)) else key

    def graphs(self) -> dict[str, Graph]:
        """Observations to Q-values."""
        kind = {"vector": torch.float32, "state": torch.int64, "image": torch.uint8}[self.obs_spec.kind]
        observations = torch.zeros(2, *self.obs_spec.shape, dtype=kind)
        return {"net": Graph(self.q_network, {"observations": observations}, ("values",), {"observations": {0: "batch"}})}

    # --- state --------------------------------------------------------------------------------------------------------------------

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """The target network starts as a copy. Raises `SettingsError`, among others for the dueling networks of version 0.1."""
        if "net/state_value.weight" in weights:
            raise SettingsError(
                "this dueling network is of dlplay 0.1 and has no hidden layer in its two streams; train a new one with --dueling",
                "dueling",
            )
        super().load_weights(weights)
        polyak_update(self._target_parameters, self._parameters, 1.0)

    def extra_state(self) -> dict[str, Any]:
        """Environments, replay buffer, target network, random generators, and the episodes that can be replayed."""
        records = (("last", self.last_episode), ("best", self.best_episode))
        return {
            "episodes": self.envs.state(),
            "replay": self.replay.state(),
            "target": {name: value.clone() for name, value in self.target_network.state_dict().items()},
            "chance": rng_state(self.rng),
            "lots": rng_state(self.replay_rng),
            "counts": {"updates": self.updates, "played": self.episodes_played},
            "records": {name: episode.state() for name, episode in records if episode is not None},
        }

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Raises `DataError` when the environments do not replay their episodes."""
        try:
            self.replay.load_state(extra["replay"])
        except ValueError as error:
            raise DataError(str(error)) from None
        self.envs.load_state(extra["episodes"])
        if self.envs.replayable:
            self._check_replayed()
        self.target_network.load_state_dict(extra["target"])
        load_rng_state(self.rng, extra["chance"])
        load_rng_state(self.replay_rng, extra["lots"])
        self.updates, self.episodes_played = int(extra["counts"]["updates"]), int(extra["counts"]["played"])
        records = extra.get("records", {})
        self.last_episode = Episode.from_state(records["last"]) if "last" in records else None
        self.best_episode = Episode.from_state(records["best"]) if "best" in records else None
        self._speed_since = (time.perf_counter(), self.step, self.updates)

    def _check_replayed(self) -> None:
        """The replayed episodes must end in the observations that the replay buffer ends with."""
        stored, replayed = self.replay.observations[self.replay.newest_rows()], self.envs.observations
        if self.obs_spec.frames > 1:
            replayed = replayed[:, -1]  # earlier frames are not in the buffer when a taught episode was inserted
        if not np.array_equal(stored, replayed, equal_nan=self.obs_spec.kind == "vector"):
            raise DataError(
                f"{self.name} is not deterministic: the same seed and actions lead to another state than before; "
                "start a new run from this one's weights"
            )


@torch.no_grad()
def td_targets(batch: Transitions, q_network: QNetwork, target_network: QNetwork, double: bool) -> Tensor:
    """The rewards plus the discounted value of the next state, (B,).

    The target network evaluates the next action. It also chooses it (Mnih et al., 2015), or with `double` the online network does
    (van Hasselt et al., 2016). After a termination the discount is 0. After a truncation it is not: the episode would have gone on.
    """
    next_values = target_network(batch.next_observations)  # (B, A)
    if double:
        best = q_network(batch.next_observations).argmax(1, keepdim=True)  # (B, 1)
        values = next_values.gather(1, best)[:, 0]
    else:
        values = next_values.amax(1)
    return torch.addcmul(batch.returns, batch.discounts, values)


def td_loss(values: Tensor, targets: Tensor, kind: str, weights: Tensor | None = None) -> Tensor:
    """Mean Huber or squared error between values (B,) and targets (B,), each weighted by `weights` (B,)."""
    loss = F.smooth_l1_loss if kind == "huber" else F.mse_loss
    if weights is None:
        return loss(values, targets)
    return (loss(values, targets, reduction="none") * weights).mean()


def polyak_update(target: list[Tensor], online: list[Tensor], tau: float) -> None:
    """target ← (1 - tau) target + tau online, in place; a `tau` of 1 copies."""
    if tau >= 1:
        torch._foreach_copy_(target, online)
    else:
        torch._foreach_lerp_(target, online, tau)


def episode_seeds(seed: int, purpose: int, count: int) -> list[int]:
    """Seeds of `count` episodes, different for each purpose."""
    return [int(number) for number in np.random.Generator(np.random.PCG64([seed, purpose])).integers(0, MAX_SEED, count)]


def _shape(spec: ObservationSpec) -> list[Any]:
    """What the network's shape depends on, as JSON."""
    return [spec.kind, list(spec.shape), spec.states]


def _describe(spec: ObservationSpec) -> str:
    if spec.kind == "vector":
        return f"{spec.shape[0]} numbers observed"
    return f"{spec.states} states" if spec.kind == "state" else f"images of {'x'.join(map(str, spec.shape))}"


def _check_size(settings: DQNSettings, spec: ObservationSpec) -> None:
    each = row_bytes(spec)
    if each * settings.buffer > MAX_BUFFER_BYTES:
        raise SettingsError(
            f"--buffer {settings.buffer} takes {each * settings.buffer / 1e6:,.0f} MB with these observations, more than a checkpoint can "
            f"hold; use at most {MAX_BUFFER_BYTES // each}",
            "buffer",
        )
