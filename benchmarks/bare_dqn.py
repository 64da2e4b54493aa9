"""The DQN's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import copy
import random
import sys
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import Stopwatch
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.settings import make

SHARED = {
    "double": False,
    "scale": False,
    "loss": "huber",
    "clip": 10.0,
    "target": "hard",
    "schedule": "constant",
    "n_step": 1,
}
"""What stable-baselines3 has as well; everything else is the default."""


def shared(steps: int) -> DQNSettings:
    """The settings of all three loops."""
    return make(DQNSettings, SHARED | {"steps": steps})


def network(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    settings = shared(steps)
    env: gymnasium.Env[Any, Any] = gymnasium.make(settings.env)
    q_network = network(4, settings.hidden, 2)
    target_network = copy.deepcopy(q_network)
    optimizer = torch.optim.Adam(q_network.parameters(), lr=settings.lr)
    replay: deque[tuple[Any, int, float, Any, bool]] = deque(maxlen=settings.buffer)
    loss = torch.zeros(())
    observation, _ = env.reset(seed=0)
    stopwatch = Stopwatch()
    for step in range(1, steps + 1):
        epsilon = max(settings.epsilon_end, 1 - (1 - settings.epsilon_end) * step / settings.epsilon_steps)
        if step <= settings.learning_starts or random.random() < epsilon:
            action = int(env.action_space.sample())
        else:
            with torch.no_grad():
                action = int(q_network(torch.from_numpy(observation)[None]).argmax())
        next_observation, reward, terminated, truncated, _ = env.step(action)
        replay.append((observation, action, float(reward), next_observation, terminated))
        observation = env.reset()[0] if terminated or truncated else next_observation
        if step > settings.learning_starts and step % settings.train_frequency == 0:
            for _ in range(settings.gradient_steps):
                batch = [replay[index] for index in np.random.randint(0, len(replay), settings.batch)]
                observations, actions, rewards, next_observations, terminations = (np.array(column) for column in zip(*batch, strict=True))
                with torch.no_grad():
                    next_values = target_network(torch.from_numpy(next_observations)).max(1).values
                    td_targets = torch.from_numpy(rewards).float() + settings.gamma * next_values * torch.from_numpy(~terminations)
                values = q_network(torch.from_numpy(observations)).gather(1, torch.from_numpy(actions)[:, None]).squeeze(1)
                loss = F.smooth_l1_loss(values, td_targets)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(q_network.parameters(), settings.clip)
                optimizer.step()
        if step % settings.target_every == 0:
            target_network.load_state_dict(q_network.state_dict())
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
