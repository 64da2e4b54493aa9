"""An episode that somebody watches, or plays: an environment of its own, which training knows nothing of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlplay.architectures.dqn.environments import Reading, find, is_atari, make
from dlplay.architectures.dqn.episodes import Episode, start
from dlplay.architectures.dqn.settings import DQNSettings

Values = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Values (B, actions) of observations (B, *shape)."""
Policy = Literal["greedy", "explore", "random"]
ATARI_SKIP = 4
USUAL_ROOM, MOST_ROOM = (120, 64), (240, 160)


@dataclasses.dataclass
class Taken:
    """One step that was watched."""

    action: int
    how: str
    """Who chose it: exploit, explore, you, or replay."""
    reward: float
    error: float
    """TD error: reward and discounted value of what followed, less the value that the action had."""


class Player:
    """The watched episode. Draws from its own generator alone."""

    def __init__(self, settings: DQNSettings) -> None:
        self.settings = settings
        self.env = make(settings, render_mode(settings))
        self.name = find(settings.env)
        self.reading = Reading(self.env)
        space: Any = self.env.action_space
        self.count, self._first = int(space.n), int(space.start)
        self.chance = np.random.Generator(np.random.PCG64([settings.seed, 4]))
        self.policy: Policy = "greedy"
        self.ended = self.before = ""
        self.episode = Episode(0)
        self.begin(int(self.chance.integers(2**31 - 1)))

    def begin(self, seed: int, script: list[int] | None = None, what: str = "") -> None:
        """Another episode; what the one before brought stays in `before`.

        `script`: actions that are repeated, from an episode that was played before; `what` says which.
        """
        if self.ended:
            self.before = f"return {self.episode.reward:.4g} in {len(self.episode.actions):,} steps"
        self.episode = Episode(seed)
        self.observation = self.reading(start(self.env, seed))
        self.script, self.what = script, what
        self.taken: Taken | None = None
        self.ended = ""
        """How it ended: terminated or truncated."""
        self.by_hand = False
        """Whether a person took a step of this episode."""
        self.taught = False
        self.plan: tuple[Policy, int, str] | None = None

    def planned(self, policy: Policy, epsilon: float, values: Values) -> tuple[int, str]:
        """What will be done next, and why; asked again it is the same, until the step is taken or the policy changed."""
        if self.script is not None and len(self.episode.actions) < len(self.script):
            return self.script[len(self.episode.actions)], "replay"
        best = int(values(self.observation[None])[0].argmax())
        if self.plan is None or self.plan[0] != policy:
            share = {"greedy": 0.0, "explore": epsilon, "random": 1.0}[policy]
            explores = share > 0 and self.chance.random() < share
            self.plan = (policy, int(self.chance.integers(self.count)) if explores else -1, "explore" if explores else "exploit")
        return (self.plan[1] if self.plan[1] >= 0 else best), self.plan[2]

    def step(self, action: int, how: str, values: Values, gamma: float) -> None:
        """Take one step, and see how far the values were from what it brought."""
        before = float(values(self.observation[None])[0][action])
        seen, reward, terminated, truncated, _ = self.env.step(action + self._first)
        self.observation = self.reading(seen)
        after = 0.0 if terminated else float(values(self.observation[None])[0].max())
        self.episode.actions.append(action)
        self.episode.reward += float(reward)
        self.taken = Taken(action, how, float(reward), float(reward) + gamma * after - before)
        self.ended = "terminated" if terminated else "truncated" if truncated else ""
        self.by_hand |= how == "you"
        self.plan = None

    @property
    def steps_per_second(self) -> float:
        """Of real time; 0 when the environment does not say. An Atari agent acts on every fourth frame."""
        rate = float(self.env.metadata.get("render_fps") or 0)
        return rate / ATARI_SKIP if is_atari(self.name) else rate

    def picture(self, room: str) -> tuple[NDArray[np.uint8], str]:
        """The environment as pixels (h, w, 3) that fit into the room, or as text."""
        drawn: Any = self.env.render() if self.env.render_mode else None
        if isinstance(drawn, str):
            return np.zeros((0, 0, 3), np.uint8), drawn.strip("\n")
        if drawn is None:
            return np.zeros((0, 0, 3), np.uint8), " ".join(f"{value:.3g}" for value in np.ravel(self.observation)[:32])
        return fit(np.asarray(drawn, np.uint8), room), ""


def render_mode(settings: DQNSettings) -> str | None:
    """Text where the environment is text, else pixels; None where it cannot be drawn."""
    probe = make(settings)
    modes = probe.metadata.get("render_modes", [])
    probe.close()
    return next((mode for mode in ("ansi", "rgb_array") if mode in modes), None)


def fit(pixels: NDArray[np.uint8], room: str) -> NDArray[np.uint8]:
    """Reduced by area, its proportions kept, to fit into `columns x rows`."""
    columns, rows = (int(side) for side in room.split("x")) if room else USUAL_ROOM
    columns, rows = min(max(columns, 8), MOST_ROOM[0]), min(max(rows, 8), MOST_ROOM[1])
    height, width = pixels.shape[:2]
    share = min(columns / width, rows / height)
    size = max(1, round(width * share)), max(1, round(height * share))
    kind = Image.Resampling.BOX if share <= 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize(size, kind), np.uint8)
