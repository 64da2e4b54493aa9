"""An episode that a person watches or plays, in an environment of its own: training never notices it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlplay.architectures.dqn.env import vocabulary
from dlplay.architectures.dqn.env.registry import find, is_atari, make
from dlplay.architectures.dqn.env.vector import MAX_SEED, Episode
from dlplay.architectures.dqn.player.policy import GreedyPolicy
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.panels import Array, Bars, Frame

Behaviour = Literal["greedy", "explore", "random"]
"""The behaviour policy: the best action, epsilon-greedy, or any action."""
ATARI_SKIP = 4
DEFAULT_SIZE, MAX_SIZE = (120, 64), (240, 160)
"""Of a picture: columns and rows of pixels."""
MARGIN = 0.03
"""Share of the picture that is left around what is drawn."""
LEAST_WIDTH = 0.4
"""Share of a wide picture that is shown at least, so that what moves in it has somewhere to go."""
ENDED = {"terminated": "terminated", "truncated": "time limit (truncated)"}


@dataclasses.dataclass
class PlayedStep:
    """The latest step of the episode."""

    action: int
    chosen_by: str
    """exploit, explore, you, or replay."""
    reward: float
    td_error: float


class Player:
    """The watched episode. It has a random generator of its own."""

    def __init__(self, settings: DQNSettings, policy: GreedyPolicy) -> None:
        self.policy = policy
        self.name = find(settings.env)
        self.env = make(settings, render_mode(settings))
        self.obs_spec = self.env.obs_spec
        self.action_names = vocabulary.action_names(self.name, self.env)
        self.controls = vocabulary.controls(self.name, self.env)
        self.rng = np.random.Generator(np.random.PCG64([settings.seed, 4]))
        self.behaviour: Behaviour = "greedy"
        self.ended = ""
        """terminated or truncated; empty while the episode runs."""
        self.previous = ""
        """The result of the episode before this one."""
        self._drawn: NDArray[np.bool_] | None = None
        """Pixels (H, W) that anything has been drawn on."""
        self._ground = np.zeros(3, np.uint8)
        """The colour of the others."""
        self._seen: tuple[int, int] | None = None
        """First and last column between which anything stood out in this episode."""
        self.ends: list[bool] = []
        """Whether the scene ends at the left and at the right edge of the latest picture."""
        self._window = slice(0, 0)
        """The columns that are shown of a picture that is too wide."""
        self.episode = Episode(0)
        self.reset()

    def reset(self, seed: int | None = None, script: list[int] | None = None, label: str = "") -> None:
        """Start another episode, from a seed of the player's own unless one is given.

        `script`: the actions of an earlier episode, to be replayed; `label` says which one it is.
        """
        if self.ended:
            self.previous = f"return {self.episode.total_reward:.4g} in {len(self.episode.actions):,} steps"
        self.episode = Episode(int(self.rng.integers(MAX_SEED)) if seed is None else seed)
        self.observation = self.env.reset(seed=self.episode.seed)[0]
        self.script, self.label = script, label
        self._seen = None
        self.predicted: list[NDArray[np.float32]] = []
        """Q-values (A,) of every state so far in which an action was taken, as they were then."""
        self.rewards: list[float] = []
        self.last: PlayedStep | None = None
        self.ended = ""
        self.by_hand = False
        """A person took a step of this episode."""
        self.taught = False
        """The episode is in the replay buffer."""
        self._draw: tuple[Behaviour, int | None] | None = None

    def next_action(self, epsilon: float) -> tuple[int, str]:
        """The action that comes next and who chose it. It stays the same until the step is taken or the behaviour policy is changed."""
        if self.script is not None and len(self.episode.actions) < len(self.script):
            return self.script[len(self.episode.actions)], "replay"
        best = int(self.q_values().argmax())
        if self._draw is None or self._draw[0] != self.behaviour:
            rate = {"greedy": 0.0, "explore": epsilon, "random": 1.0}[self.behaviour]
            explores = rate > 0 and self.rng.random() < rate
            self._draw = self.behaviour, int(self.rng.integers(self.env.action_count)) if explores else None
        explored = self._draw[1]
        return (best, "exploit") if explored is None else (explored, "explore")

    def step(self, action: int, chosen_by: str, gamma: float) -> None:
        """Take one step, and compute its one-step TD error."""
        predicted = self.q_values()
        self.observation, reward, terminated, truncated, _ = self.env.step(action)
        next_value = 0.0 if terminated else float(self.q_values().max())
        self.episode.actions.append(action)
        self.episode.total_reward += reward
        self.predicted.append(predicted)
        self.rewards.append(float(reward))
        self.last = PlayedStep(action, chosen_by, reward, reward + gamma * next_value - float(predicted[action]))
        self.ended = "terminated" if terminated else "truncated" if truncated else ""
        self.by_hand |= chosen_by == "you"
        self._draw = None

    def q_values(self) -> NDArray[np.float32]:
        """Q-values (A,) of the current observation."""
        values: NDArray[np.float32] = self.policy.q_values(self.observation[None])[0]
        return values

    def frame(self, epsilon: float, size: str, trained: int) -> Frame:
        """The picture, the Q-values, the step before and the action that comes next. `size`: see `resize_to_fit`.

        `trained`: the steps of training after which these are the Q-values.
        """
        pixels, text = self._render(size)
        values = self.q_values()
        facts = {"step": f"{len(self.episode.actions):,}", "return": f"{self.episode.total_reward:.4g}"}
        if self.last is not None:
            facts["last action"] = f"{self.action_names[self.last.action]} ({self.last.chosen_by})"
            facts["reward"] = f"{self.last.reward:.4g}"
            facts["TD error"] = f"{self.last.td_error:+.3g}"
        if self.ended:
            facts["ended"] = ENDED[self.ended]
            chosen, decision = int(values.argmax()), "the episode is over"
        else:
            chosen, chosen_by = self.next_action(epsilon)
            decision = f"next: {self.action_names[chosen]} ({chosen_by})"
        if self.obs_spec.kind != "image":
            facts["observation"] = short(self.observation)
        facts["trained for"] = f"{trained:,} steps"
        facts["seed"] = str(self.episode.seed)
        if self.previous:
            facts["previous"] = self.previous
        return Frame(
            pixels=Array.of(pixels),
            text=text,
            ends=self.ends if pixels.size else [],
            bars=Bars(
                labels=list(self.action_names), values=values.tolist(), chosen=chosen, figure=f"{values.max():.4g}", caption=decision
            ),
            facts=facts,
            controls=self.controls,
            ended=bool(self.ended),
            fps=self._steps_per_second(),
            idle=next((number for number, name in enumerate(self.action_names) if name in vocabulary.IDLE), None),
            figure=f"return {self.episode.total_reward:.4g}",
            caption=self.label,
        )

    def _steps_per_second(self) -> float:
        """In real time; 0 where the environment does not say, and where states are counted: nothing moves by itself there.

        An Atari agent acts on every fourth frame.
        """
        if self.obs_spec.kind == "state":
            return 0.0
        rate = float(self.env.metadata.get("render_fps") or 0)
        return rate / ATARI_SKIP if is_atari(self.name) else rate

    def _render(self, size: str) -> tuple[NDArray[np.uint8], str]:
        """The environment as pixels (H, W, 3), or as text."""
        rendered: Any = self.env.render() if self.env.render_mode else None
        if isinstance(rendered, str):
            return np.zeros((0, 0, 3), np.uint8), rendered.strip("\n")
        if rendered is None:
            return np.zeros((0, 0, 3), np.uint8), " ".join(f"{value:.3g}" for value in np.ravel(self.observation)[:32])
        return resize_to_fit(self._cropped(np.asarray(rendered, np.uint8), size), size), ""

    def _cropped(self, pixels: NDArray[np.uint8], size: str) -> NDArray[np.uint8]:
        """The part of the picture in which anything has been so far, with a margin: all but the empty sky.

        One that is too wide for `size`, such as CartPole's track, is cut to where something has stood out in this episode.
        """
        if self._drawn is None or self._drawn.shape != pixels.shape[:2]:
            self._ground, self._drawn = background(pixels), np.zeros(pixels.shape[:2], np.bool_)
        drawn = (pixels != self._ground).any(axis=2)
        self._drawn |= drawn
        box = []
        for axis in (1, 0):
            found, side = np.flatnonzero(self._drawn.any(axis=axis)), self._drawn.shape[1 - axis]
            margin = round(MARGIN * side)
            box.append(slice(max(0, int(found[0]) - margin), int(found[-1]) + 1 + margin) if len(found) else slice(None))
        cropped = pixels[box[0], box[1]]
        columns, rows = _size(size)
        height, width = cropped.shape[:2]
        least = max(round(height * columns / rows), round(LEAST_WIDTH * width))
        shown = self._stretch(cropped, least) if least < width else slice(0, width)
        left = box[1].start or 0
        self.ends = [left + shown.start == 0, left + shown.stop == pixels.shape[1]]
        return cropped[:, shown]

    def _stretch(self, pixels: NDArray[np.uint8], least: int) -> slice:
        """The columns, at least so many, in which something differs from the rest of its row now, or has in this episode.

        They stay the same until something leaves them.
        """
        usual = np.median(pixels[:, ::4], axis=1).astype(np.uint8)  # (H, 3)
        found = np.flatnonzero((pixels != usual[:, None]).any(axis=(0, 2)))
        width = pixels.shape[1]
        if len(found):
            first, last = self._seen or (width, 0)
            self._seen = min(first, int(found[0])), max(last, int(found[-1]))
        first, last = self._seen or (0, width - 1)
        shown = min(width, max(least, last - first + 1 + 2 * round(MARGIN * width)))
        if shown != self._window.stop - self._window.start or not self._window.start <= first <= last < self._window.stop:
            left = min(max(0, (first + last + 1 - shown) // 2), width - shown)
            self._window = slice(left, left + shown)
        return self._window


def background(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colour (3,) that most of the pixels have."""
    red, green, blue = (pixels[..., channel].astype(np.int32).ravel() for channel in range(3))
    colours, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
    most = int(colours[counts.argmax()])
    return np.array([most >> 16, most >> 8 & 255, most & 255], np.uint8)


def render_mode(settings: DQNSettings) -> str | None:
    """Text where the environment has it, or else pixels; None where it cannot be rendered."""
    env = make(settings)
    modes = env.metadata.get("render_modes", [])
    env.close()
    return next((mode for mode in ("ansi", "rgb_array") if mode in modes), None)


def resize_to_fit(pixels: NDArray[np.uint8], size: str) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) averaged down to fit into a size such as `120x64`, columns x rows; the aspect ratio is kept."""
    columns, rows = _size(size)
    height, width = pixels.shape[:2]
    scale = min(columns / width, rows / height)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    kind = Image.Resampling.BOX if scale <= 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize(new, kind), np.uint8)


def _size(text: str) -> tuple[int, int]:
    """`120x64` as columns and rows, within bounds."""
    columns, rows = (int(side) for side in text.split("x")) if text else DEFAULT_SIZE
    return min(max(columns, 8), MAX_SIZE[0]), min(max(rows, 8), MAX_SIZE[1])


def training_step(step: int) -> str:
    """Of which step of training a value is: two that stand side by side may be of different ones."""
    return f"training step {step:,}"


def short(observation: NDArray[Any]) -> str:
    """An observation in a few words."""
    if observation.ndim == 0:
        return f"state {int(observation)}"
    if observation.ndim > 1:
        return f"image, mean {float(observation.mean()):.0f}"
    words = " ".join(f"{value:+.2f}" for value in observation[:6])
    return words + (" …" if len(observation) > 6 else "")
