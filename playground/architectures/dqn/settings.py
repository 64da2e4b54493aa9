"""What a DQN can be told. Imports neither torch nor gymnasium."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.settings import Settings, SettingsError

ENVIRONMENTS = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "FrozenLake-v1",
    "CliffWalking-v1",
    "Taxi-v4",
    "LunarLander-v3",
    "ALE/Pong-v5",
)
ENVIRONMENT_NAME = r"^([\w:.-]+/)?([A-Z][\w:.-]*|[\w:.-]+-v\d+)$"
"""How ids look: a name with a capital letter, or with a version; perhaps a namespace before it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DQNSettings(Settings):
    """What a DQN can be told. One step of training is one step in every parallel environment, with the updates that are due then."""

    env: Annotated[str, Meta(max_length=200, pattern=ENVIRONMENT_NAME, extra={"choices": list(ENVIRONMENTS)})] = "CartPole-v1"
    """The environment: one of these, or any other gymnasium id with a discrete action space, such as Blackjack-v1."""

    env_module: Annotated[str, Meta(max_length=500)] = ""
    """Python modules to import first, with commas: those that register environments of your own."""

    time_limit: Annotated[int, Meta(ge=0, le=1_000_000, extra={"unit": "steps"})] = 0
    """Episodes are cut after this many steps; 0: at the environment's own limit, or at 500 where it has none."""

    envs: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Environments that are played in parallel, each for one step in a step of training."""

    vector: Literal["auto", "list", "native"] = "auto"
    """Parallel environments one after the other, or in the environment's own vector form; auto takes that one where it has one."""

    hidden: Annotated[tuple[Annotated[int, Meta(ge=0, le=4096)], ...], Meta(min_length=1, max_length=6)] = (64, 64)
    """Units of each hidden layer; 0 for none, which makes a table of values when the observations are numbered states."""

    scale: bool = True
    """Bring observed numbers to -1 to 1 where the environment bounds them, so that small ones (an angle, a speed) are seen as well."""

    dueling: bool = False
    """Learn the value of a state and the advantage of each action apart (Wang and others, 2016)."""

    double: bool = True
    """Let the trained net choose the action that the target net values (van Hasselt and others, 2016): less over-estimation."""

    n_step: Annotated[int, Meta(ge=1, le=50, extra={"unit": "steps", "live": True})] = 4
    """Rewards that are summed before the value of the state that follows is taken for the rest."""

    gamma: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.99
    """Discount: what a reward is worth one step later."""

    lr: Annotated[float, Meta(gt=0, le=10, extra={"live": True})] = 1e-3
    """Learning rate of Adam, at the start of the schedule."""

    schedule: Literal["constant", "linear"] = "linear"
    """Learning rate over the steps: constant, or down to a hundredth along a line, so that the last values settle."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 0.0
    """Pull of the weights towards zero, apart from the gradient."""

    batch: Annotated[int, Meta(ge=1, le=4096, extra={"unit": "transitions"})] = 64
    """Transitions of one update."""

    buffer: Annotated[int, Meta(ge=1, le=5_000_000, extra={"unit": "transitions"})] = 50_000
    """Transitions that the replay buffer remembers; as few as a batch learns from what has just happened alone."""

    learning_starts: Annotated[int, Meta(ge=0, le=1_000_000, extra={"unit": "steps"})] = 1_000
    """Steps before the first update; until then actions are random."""

    train_frequency: Annotated[int, Meta(ge=1, le=100_000, extra={"unit": "steps", "live": True})] = 4
    """Steps between two rounds of updates."""

    gradient_steps: Annotated[int, Meta(ge=1, le=1_000, extra={"unit": "updates", "live": True})] = 2
    """Updates in one round."""

    prioritised: bool = False
    """Replay transitions with a large TD error more often (Schaul and others, 2016)."""

    alpha: Annotated[float, Meta(ge=0, le=1)] = 0.6
    """With prioritised replay: how much the TD error matters; 0 draws all alike."""

    beta: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.4
    """With prioritised replay: how far weights correct for it at the start; rises to 1 over the steps."""

    target: Literal["hard", "soft", "none"] = "soft"
    """The target net: a copy from time to time, a moving average, or none at all, which is what DQN was invented to avoid."""

    target_every: Annotated[int, Meta(ge=1, le=1_000_000, extra={"unit": "steps", "live": True})] = 250
    """Steps between two hard copies."""

    tau: Annotated[float, Meta(gt=0, le=1, extra={"live": True})] = 0.02
    """Share of the trained net in the moving average at each update."""

    epsilon_start: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 1.0
    """Share of random actions at the start."""

    epsilon_end: Annotated[float, Meta(ge=0, le=1, extra={"live": True})] = 0.05
    """Share of random actions at the end of the exploration."""

    epsilon_steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 8_000
    """Steps over which the share of random actions falls, along a line."""

    loss: Literal["huber", "mse"] = "mse"
    """How TD errors are punished: as squares, or as squares up to 1 and then straight."""

    clip: Annotated[float, Meta(ge=0, le=1e6, extra={"live": True})] = 0.0
    """Largest norm of the gradient; 0 leaves it as it is."""

    clip_rewards: bool = False
    """Learn from the sign of each reward alone, as for Atari games; returns are still counted in full."""

    eval_episodes: Annotated[int, Meta(ge=1, le=1_000, extra={"unit": "episodes"})] = 10
    """Greedy episodes of an evaluation in mid-run; the last one plays 100."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 50_000
    """Training ends after this many steps."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 2_500
    """Steps between two evaluations."""

    save_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 5_000
    """Steps between two checkpoints."""

    def check(self) -> None:
        """Raises `SettingsError` for settings that no agent can be built from."""
        super().check()
        if 0 in self.hidden and len(self.hidden) > 1:
            raise SettingsError(
                f"--hidden {','.join(map(str, self.hidden))} has a layer without units; use 0 alone for no hidden layer", "hidden"
            )
        least = self.envs * (self.n_step + 2)
        if self.buffer < least:
            raise SettingsError(
                f"--buffer {self.buffer} cannot hold {self.n_step} steps of {self.envs} environments; use at least {least}", "buffer"
            )
        if self.vector == "native" and self.envs == 1:
            raise SettingsError("--vector native is for parallel environments; use --envs 2 or more, or --vector auto", "vector")
