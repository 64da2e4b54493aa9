"""Training and judging a DQN: act, remember, replay, and move the values towards what was found (Mnih et al., 2015)."""

from __future__ import annotations

import copy
import time
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlplay.architectures.dqn.acting import Actor
from dlplay.architectures.dqn.baselines import measure_baselines
from dlplay.architectures.dqn.environments import find
from dlplay.architectures.dqn.episodes import Episode, generator_state, load_generator, make_episodes
from dlplay.architectures.dqn.learning import blend, distance, goals, on_device
from dlplay.architectures.dqn.model import QNetwork
from dlplay.architectures.dqn.panels import DQNPanels
from dlplay.architectures.dqn.playing import Ground
from dlplay.architectures.dqn.replay import Replay, row_bytes
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.architectures.dqn.watching import DQNActions
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.settings import SettingsError
from dlplay.engine.task import Task

FINAL_EPISODES, FINAL_PICTURED = 100, 10
"""Fresh greedy episodes at the end of training; fewer where each step draws a picture and episodes last thousands of steps."""
MOST_BYTES = 400_000_000
"""A checkpoint holds the replay buffer, and no more than this can be read again."""
RATE_SECONDS = 1.0


class DQNTask(DQNActions, DQNPanels, Task[DQNSettings]):
    """One step plays one step in every environment, and does the updates that are due."""

    thorough_at_end = True
    questions: ClassVar[dict[str, str]] = DQNPanels.questions

    def __init__(self, settings: DQNSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.episodes = make_episodes(settings)
        self.name = find(settings.env)
        self.reading, self.actions = self.episodes.reading, self.episodes.actions
        self._check_assets(assets)
        self.data = self._describe()
        scale: list[Tensor] = []
        if settings.scale and self.reading.observed.kind == "vector":
            scale = [torch.from_numpy(array) for array in self.reading.scale()]
        self.net = QNetwork(self.reading.observed, self.actions, settings.hidden, settings.dueling, *scale).to(device)
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.models = {"net": self.net}
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
        self.optimizers = {"net": self.optimizer}
        self._weights: list[Tensor] = list(self.net.parameters())
        self._target_weights: list[Tensor] = list(self.target.parameters())
        self.actor = Actor(self.net, device)
        self._check_size()
        self.replay = Replay(
            settings.buffer,
            settings.envs,
            self.reading.observed.shape,
            self.reading.dtype,
            self.reading.stack,
            settings.alpha if settings.prioritised else None,
        )
        self.chance = np.random.Generator(np.random.PCG64([settings.seed, 0]))
        """Exploration, and the seed of every episode."""
        self.lots = np.random.Generator(np.random.PCG64([settings.seed, 1]))
        """What is replayed."""
        self.updates = 0
        self.played = 0
        """Episodes that ended."""
        self.last: Episode | None = None
        self.best: Episode | None = None
        self.judged: dict[str, float] = {}
        """The last evaluation, for show."""
        self.rates = (0.0, 0.0)
        self._rate_mark = (time.perf_counter(), 0, 0)
        self._ground: Ground | None = None
        self.episodes.begin(self.chance)
        for env in range(settings.envs):
            self.replay.begin(env, self.episodes.observations[env])

    # --- training -----------------------------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor]:
        """One step in every environment; the metrics of updates, and of episodes that ended, where there are any."""
        settings, step = self.settings, self.step + 1
        metrics: dict[str, Tensor] = {}
        finished: list[Episode] = []
        for item in self.episodes.step(self._choose(), self.chance):
            if item.action >= 0:
                reward = float(np.sign(item.reward)) if settings.clip_rewards else item.reward
                self.replay.add(item.env, item.action, reward, item.following, item.terminated, item.truncated, settings.n_step)
                if item.finished is not None:
                    finished.append(item.finished)
            if item.begun is not None:
                self.replay.begin(item.env, item.begun)
        if finished:
            metrics = self._note(finished)
        if step > settings.learning_starts and step % settings.train_frequency == 0 and self.replay.count:
            metrics |= self._learn()
        if settings.target == "hard" and step % settings.target_every == 0:
            blend(self._target_weights, self._weights, 1.0)
        if time.perf_counter() - self._rate_mark[0] >= RATE_SECONDS:
            self._measure_rates(step)
        return metrics

    @property
    def epsilon(self) -> float:
        """Share of random actions in the next step."""
        settings = self.settings
        if self.step < settings.learning_starts:
            return 1.0
        progress = min(1.0, self.step / settings.epsilon_steps)
        return settings.epsilon_start + progress * (settings.epsilon_end - settings.epsilon_start)

    def _choose(self) -> list[int] | NDArray[np.int64]:
        """An action for each environment: the best one, or with probability epsilon any."""
        epsilon, chance, observations = self.epsilon, self.chance, self.episodes.observations
        if len(observations) == 1:
            return [int(chance.integers(self.actions)) if chance.random() < epsilon else self.actor.greedy(observations[0])]
        explores = chance.random(len(observations)) < epsilon
        actions = chance.integers(0, self.actions, len(observations))
        if not explores.all():
            actions = np.where(explores, actions, self.actor.values(observations).argmax(1))
        return actions

    def _learn(self) -> dict[str, Tensor]:
        """One round of updates."""
        settings = self.settings
        self._set_rate()
        losses: list[Tensor] = []
        metrics: dict[str, Tensor] = {}
        for number in range(settings.gradient_steps):
            loss, found = self._update(number + 1 == settings.gradient_steps)
            losses.append(loss)
            metrics |= found
        metrics["loss"] = torch.stack(losses).mean() if len(losses) > 1 else losses[0]
        return metrics

    def _set_rate(self) -> None:
        settings = self.settings
        share = 1.0 if settings.schedule == "constant" else max(0.01, 1 - self.step / settings.steps)
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = settings.lr * share, settings.weight_decay

    def _update(self, measured: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """One step down the gradient of the TD errors of one batch; its loss, and if `measured` its metrics."""
        settings, replay = self.settings, self.replay
        weights = None
        if replay.priorities is None:
            rows = replay.draw(settings.batch, self.lots)
        else:
            rows = replay.priorities.draw(settings.batch, self.lots)
            beta = settings.beta + (1 - settings.beta) * min(1.0, self.step / settings.steps)
            weights = torch.from_numpy(replay.priorities.weights(rows, replay.count, beta)).to(self.device)
        batch = on_device(replay.gather(rows, settings.n_step, settings.gamma), self.device)
        wanted = goals(batch, self.net, self.net if settings.target == "none" else self.target, settings.double)
        values = self.net(batch.observations)  # (B, actions)
        chosen = values.gather(1, batch.actions[:, None])[:, 0]  # (B,)
        loss = distance(chosen, wanted, settings.loss, weights)
        metrics = self.minimise(loss, self.optimizer, settings.clip)
        self.updates += 1
        if settings.target == "soft":
            blend(self._target_weights, self._weights, settings.tau)
        if measured or replay.priorities is not None:
            errors = wanted - chosen.detach()
            if replay.priorities is not None:
                replay.priorities.update(rows, errors.cpu().numpy())
            metrics["td_error"] = errors.abs().mean()
            metrics["max_q"] = values.detach().amax(1).mean()
        return loss.detach(), metrics

    def _note(self, finished: list[Episode]) -> dict[str, Tensor]:
        """Metrics of episodes that ended, and the records of the last and the best one."""
        self.played += len(finished)
        for episode in finished:
            self.last = episode
            if self.best is None or episode.reward > self.best.reward:
                self.best = episode
        return {
            "episode_return": torch.tensor(float(np.mean([episode.reward for episode in finished]))),
            "episode_length": torch.tensor(float(np.mean([len(episode.actions) for episode in finished]))),
            "epsilon": torch.tensor(self.epsilon),
            "buffer_fill": torch.tensor(self.replay.count / (self.replay.rows * self.replay.envs)),
        }

    def _measure_rates(self, step: int) -> None:
        now = time.perf_counter()
        then, steps, updates = self._rate_mark
        self.rates = ((step - steps) * self.settings.envs / (now - then), (self.updates - updates) / (now - then))
        self._rate_mark = (now, step, self.updates)

    # --- judging ------------------------------------------------------------------------------------------------------------------

    @property
    def ground(self) -> Ground:
        """The environments of evaluations, made when first needed."""
        if self._ground is None:
            self._ground = Ground(self.settings)
        return self._ground

    def final_seeds(self) -> list[int]:
        """The seeds of the last evaluation: fresh ones, neither trained nor evaluated on before."""
        count = FINAL_PICTURED if self.reading.observed.kind == "image" else FINAL_EPISODES
        return seeds(self.settings.seed, 3, count)

    def evaluate(self) -> dict[str, float]:
        """Greedy episodes in environments of their own: always the same few in mid-run, 100 fresh ones once all steps are done.

        `start_q` is the value that the net promises in the first states, `discounted_return` what was really obtained from there: a
        promise that is higher is over-estimation.
        """
        settings = self.settings
        final = self.finishing or self.step >= settings.steps
        chosen = self.final_seeds() if final else seeds(settings.seed, 2, settings.eval_episodes)
        played = self.ground.play(chosen, lambda observations: self.actor.values(observations).argmax(1), settings.gamma)
        found = {
            "eval_return": float(played.returns.mean()),
            "eval_length": float(played.lengths.mean()),
            "start_q": float(self.actor.values(played.beginnings).max(1).mean()),
            "discounted_return": float(played.discounted.mean()),
        }
        if self.name.startswith("FrozenLake"):
            found["success_rate"] = float((played.returns > 0).mean())
        self.judged = found
        return found

    def baselines(self) -> dict[str, dict[str, float]]:
        """A random policy, a one-line controller where one is known, the exact solution where the environment tells its probabilities."""
        return measure_baselines(self.settings, self.name, self.ground, self.final_seeds())

    def baselines_key(self) -> str:
        """The environment and the episodes."""
        settings = self.settings
        own = settings.env_module and "own"
        return "" if own else f"dqn-2-{self.name}-{settings.time_limit}-{settings.gamma}-{settings.seed}"

    # --- state --------------------------------------------------------------------------------------------------------------------

    def assets(self) -> dict[str, Any]:
        """What the environment decided about the net."""
        observed = self.reading.observed
        return {"env": self.name, "observed": [observed.kind, list(observed.shape), observed.states], "actions": self.actions}

    def graphs(self) -> dict[str, Graph]:
        """Observations to the values of all actions."""
        observed = self.reading.observed
        kind = {"vector": torch.float32, "state": torch.int64, "image": torch.uint8}[observed.kind]
        observations = torch.zeros(2, *observed.shape, dtype=kind)
        return {"net": Graph(self.net, {"observations": observations}, ("values",), {"observations": {0: "batch"}})}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """As for any task; the target net begins as a copy."""
        super().load_weights(weights)
        blend(self._target_weights, self._weights, 1.0)

    def extra_state(self) -> dict[str, Any]:
        """Environments, replay buffer, target net, generators, and the records that can be watched again."""
        records = {name: episode.state() for name, episode in (("last", self.last), ("best", self.best)) if episode is not None}
        return {
            "episodes": self.episodes.state(),
            "replay": self.replay.state(),
            "target": {name: value.clone() for name, value in self.target.state_dict().items()},
            "chance": generator_state(self.chance),
            "lots": generator_state(self.lots),
            "counts": {"updates": self.updates, "played": self.played},
            "records": records,
        }

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`. Raises `DataError` when the environments are no longer what they were."""
        try:
            self.replay.load_state(extra["replay"])
        except ValueError as error:
            raise DataError(str(error)) from None
        self.episodes.load_state(extra["episodes"])
        rows = np.array([env * self.replay.rows + head for env, head in enumerate(self.replay.heads)])
        seen = self.episodes.observations
        newest = seen[:, -1] if self.reading.stack > 1 else seen  # earlier pictures are not in the buffer where a lesson came between
        if self.episodes.repeats and not np.array_equal(self.replay.observations[rows], newest, equal_nan=self.reading.dtype == np.float32):
            raise DataError(
                f"{self.name} does not repeat its episodes: with the same seed and actions it is somewhere else than it was; "
                "begin a new run from this one's weights"
            )
        self.target.load_state_dict(extra["target"])
        load_generator(self.chance, extra["chance"])
        load_generator(self.lots, extra["lots"])
        self.updates, self.played = int(extra["counts"]["updates"]), int(extra["counts"]["played"])
        records = extra.get("records", {})
        self.last = Episode.from_state(records["last"]) if "last" in records else None
        self.best = Episode.from_state(records["best"]) if "best" in records else None
        self._rate_mark = (time.perf_counter(), self.step, self.updates)

    def _check_assets(self, assets: dict[str, Any] | None) -> None:
        observed = self.reading.observed
        if assets is not None and assets.get("observed") != [observed.kind, list(observed.shape), observed.states]:
            raise DataError(f"{self.name} shows its agent something else than {assets.get('env')}, which these weights were trained on")

    def _check_size(self) -> None:
        observed, buffer = self.reading.observed, self.settings.buffer
        each = row_bytes(observed.shape, self.reading.dtype, self.reading.stack)
        if each * buffer > MOST_BYTES:
            raise SettingsError(
                f"--buffer {buffer} takes {each * buffer / 1e6:,.0f} MB with these observations, more than a checkpoint can hold; "
                f"use at most {MOST_BYTES // each}",
                "buffer",
            )

    def _describe(self) -> str:
        kind, shape, states = self.reading.observed
        what = {
            "vector": f"{shape[0] if shape else 0} numbers",
            "state": f"one of {states} states",
            "image": "pictures of " + "x".join(map(str, shape)),
        }
        return f"{self.name}: {what[kind]} observed, {self.actions} actions"


def seeds(seed: int, purpose: int, count: int) -> list[int]:
    """Seeds of episodes, others for each purpose."""
    return [int(number) for number in np.random.Generator(np.random.PCG64([seed, purpose])).integers(0, 2**31 - 1, count)]
