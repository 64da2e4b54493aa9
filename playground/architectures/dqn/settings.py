"""Settings of a DQN, and options of its panels and actions. Imports neither torch nor gymnasium."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.quantities import Batch, LearningRate, Share, Steps, WeightDecay, live, unit
from dlplay.engine.settings import Options, Settings, SettingsError, frozen, unless

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
WITHOUT_BOUNDS = ("FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "ALE/Pong-v5")
"""Those whose observations are states or images, which are not scaled."""
ENVIRONMENT_ID = r"^([\w:.-]+/)?([A-Z][\w:.-]*|[\w:.-]+-v\d+)$"
"""A name with a capital letter first, or with a version, and perhaps a namespace before it."""

StepsOrNone = Annotated[int, Meta(ge=0, le=1_000_000), unit("steps")]
Units = Annotated[int, Meta(ge=0, le=4096)]


@frozen
class DQNSettings(Settings):
    """Settings of a DQN. A step of training is one step in every parallel environment, and the updates that are due then."""

    env: Annotated[str, Meta(max_length=200, pattern=ENVIRONMENT_ID, extra={"choices": list(ENVIRONMENTS), "module": True})] = "CartPole-v1"
    """The environment: one of these, or any other gymnasium id with a discrete action space, such as Blackjack-v1.
    With a module before it, as in gymnasium (package.module:Name-v0), that is imported first."""

    env_module: Annotated[str, Meta(max_length=500, extra={"code": True})] = ""
    """Python modules to import first, separated by commas: they register environments of your own."""

    time_limit: Annotated[StepsOrNone, Meta(extra={"least": "its own"})] = 0
    """Episodes are truncated after this many steps; 0: at the environment's own limit, or at 500 where it has none."""

    envs: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Parallel environments; a step of training takes one step in each."""

    vector: Literal["auto", "list", "native"] = "auto"
    """How parallel environments run: list, one after the other; native, in the environment's own vectorised form; auto, native where it
    resumes exactly."""

    hidden: Annotated[tuple[Units, ...], Meta(min_length=1, max_length=6)] = (64, 64)
    """Units of each hidden layer; 0 for none, which makes a table of Q-values when the states are discrete."""

    scale: bool = True
    """Scale observations to -1 to 1 by the environment's bounds, so that small numbers (an angle, a speed) count as much as large ones."""

    dueling: bool = False
    """Dueling network: two streams, each with the last hidden layer to itself, learn the value of a state and the advantage of each action
    (Wang et al., 2016)."""

    double: bool = True
    """Double DQN: the online network chooses the next action, the target network evaluates it (van Hasselt et al., 2016), which reduces
    overestimation."""

    n_step: Annotated[int, Meta(ge=1, le=50), unit("steps"), live] = 4
    """Steps of the return: this many rewards are summed before the target bootstraps from the value of the next state."""

    gamma: Share = 0.99
    """Discount factor: what a reward is worth one step later."""

    lr: LearningRate = 1e-3
    """Learning rate of Adam, at the start of the schedule."""

    schedule: Literal["constant", "linear", "one-cycle"] = "linear"
    """Learning-rate schedule: constant, linear decay to a hundredth at the last step, or one-cycle (up over the first 30 % of the steps,
    then down, beta1 lower by 0.1 at the peak)."""

    weight_decay: WeightDecay = 0.0
    """AdamW's weight decay; 0 makes it Adam."""

    batch: Annotated[Batch, unit("transitions")] = 64
    """Transitions that are sampled for an update."""

    buffer: Annotated[int, Meta(ge=1, le=5_000_000), unit("transitions")] = 50_000
    """Size of the replay buffer. With one as small as a batch the agent learns from its latest steps only."""

    learning_starts: StepsOrNone = 1_000
    """Steps before the first update; until then actions are random."""

    train_frequency: Steps = 4
    """Steps between two rounds of updates."""

    gradient_steps: Annotated[int, Meta(ge=1, le=1_000), unit("updates"), live] = 2
    """Updates in each round."""

    prioritised: bool = False
    """Prioritised replay: sample transitions with a large TD error more often (Schaul et al., 2016)."""

    alpha: Annotated[float, Meta(ge=0, le=1)] = 0.6
    """Exponent of prioritised replay: 0 samples uniformly, 1 in proportion to the TD error."""

    beta: Share = 0.4
    """Importance-sampling exponent of prioritised replay at the start; it rises to 1 over the steps."""

    target: Literal["hard", "soft", "none"] = "soft"
    """Target network: hard, a copy every so many steps; soft, a moving average of the online network; none, the online network itself."""

    target_every: Steps = 250
    """Steps between two copies to a hard target network."""

    tau: Annotated[float, Meta(gt=0, le=1), live] = 0.02
    """Polyak coefficient of a soft target network: the weight of the online network in each update."""

    epsilon_start: Share = 1.0
    """Probability of a random action (exploration rate) at the start."""

    epsilon_end: Share = 0.05
    """Probability of a random action at the end of the decay."""

    epsilon_steps: Steps = 8_000
    """Steps over which the exploration rate decays linearly from start to end."""

    loss: Literal["huber", "mse"] = "mse"
    """Loss of a TD error: mse, its square; huber, quadratic up to 1 and linear beyond."""

    clip: Annotated[float, Meta(ge=0, le=1e6, extra={"live": True, "least": "off"})] = 0.0
    """Gradients are scaled down to this norm; 0 turns clipping off."""

    clip_rewards: bool = False
    """Learn from the sign of each reward only, as is usual for Atari games; reported returns are not clipped."""

    eval_episodes: Annotated[int, Meta(ge=1, le=1_000), unit("episodes")] = 10
    """Greedy episodes of an evaluation during training; the final one plays 100."""

    steps: Steps = 50_000

    eval_every: Steps = 2_500
    """Steps between two evaluations."""

    save_every: Steps = 5_000

    def check(self) -> None:
        super().check()
        if 0 in self.hidden and len(self.hidden) > 1:
            raise SettingsError(
                f"--hidden {','.join(map(str, self.hidden))} has a layer without units; use 0 alone for no hidden layer", "hidden"
            )
        if self.dueling and 0 in self.hidden:
            raise SettingsError("--dueling needs a hidden layer for each of its two streams; use --hidden 64, or --no-dueling", "dueling")
        least = self.envs * (self.n_step + 2)
        if self.buffer < least:
            raise SettingsError(
                f"--buffer {self.buffer} is too small for {self.n_step}-step returns in {self.envs} environments; use at least {least}",
                "buffer",
            )
        if self.vector == "native" and self.envs == 1:
            raise SettingsError("--vector native is for parallel environments; use --envs 2 or more, or --vector auto", "vector")

    def no_accumulation(self) -> str:
        return "each update is on transitions that the one before it had a part in choosing"

    def no_compilation(self) -> str:
        return "most of a step is spent in the environment, and its net is asked for one action at a time"

    def no_graph(self) -> str:
        return "the environment needs each action before a step can go on"

    def multiply_adds(self) -> int | None:
        weights = sum(a * b for a, b in itertools.pairwise(self.hidden))
        return None if self.env.startswith("ALE/") else weights * self.batch

    def unused(self) -> dict[str, str]:
        return (
            super().unused()
            | unless(self.env not in WITHOUT_BOUNDS, "environments whose observations are numbers", "scale")
            | unless(self.envs > 1, "--envs 2 or more", "vector")
            | unless(self.prioritised, "--prioritised", "alpha", "beta")
            | unless(self.target != "none", "--target hard or soft", "double")
            | unless(self.target == "hard", "--target hard", "target_every")
            | unless(self.target == "soft", "--target soft", "tau")
        )


@frozen
class PictureSize(Options):
    """Options of the watched episode's picture."""

    room: Annotated[str, Meta(pattern=r"^(|\d{1,4}x\d{1,4})$")] = ""
    """Largest size of the picture in pixels, columns x rows, such as 120x64."""


@frozen
class EpisodeSteps(PictureSize):
    """Options of carrying the watched episode on."""

    steps: Annotated[int, Meta(ge=1, le=1000), unit("steps")] = 1
    """How many steps to take; the end of the episode stops it."""


@frozen
class Watch(EpisodeSteps):
    """Options of advancing the watched episode."""

    policy: Annotated[Literal["greedy", "explore", "random"], Meta(extra={"label": "who acts"})] = "greedy"
    """Who acts: greedy, the best action; explore, epsilon-greedy as in training; random, any action."""


@frozen
class Play(EpisodeSteps):
    """Options of steps that a person takes."""

    action: Annotated[int, Meta(ge=0, le=63)] = 0
    """The action to take, counted from 0."""


@frozen
class NewEpisode(PictureSize):
    """Options of starting another episode."""

    seed: Annotated[int, Meta(ge=-1, le=2**31 - 2, extra={"least": "random"})] = -1
    """Seed of the environment: the same seed gives the same first state; random draws one."""


@frozen
class EditedState(Options):
    """Options of the Q-values."""

    state: Annotated[str, Meta(max_length=4000)] = ""
    """An observation of your own, which is valued beside that of the watched episode: its numbers, such as 0,0,0.1,0, or the number of a
    state; empty for the watched one alone."""


@frozen
class ReplayPage(Options):
    """Options of the replay buffer's table."""

    start: Annotated[int, Meta(ge=0, le=5_000_000)] = 0
    """How many of the newest transitions to skip."""


@frozen
class ValueFunction(Options):
    """Options of the plot of the value function."""

    dimensions: Annotated[str, Meta(pattern=r"^(|\d{1,3},\d{1,3})$")] = ""
    """The two numbers of the observation on the axes, such as 2,3; empty chooses those on which the value depends most."""

    show: Annotated[Literal["value", "action", "lead"], Meta(extra={"label": "colour"})] = "value"
    """What is plotted: value, of the best action; action, which one it is; lead, the action gap: how far it is ahead of
    the second best."""
