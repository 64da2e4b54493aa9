"""The DQN's card: what the command line and the screen know of it. Imports neither torch nor gymnasium."""

from __future__ import annotations

from dlplay.architectures.dqn.presets import PRESETS
from dlplay.architectures.dqn.settings import DQNSettings, EditedState, NewEpisode, PictureSize, Play, ReplayPage, ValueFunction, Watch
from dlplay.engine import stages
from dlplay.engine.card import ActionCard, Card, ChartCard, PanelCard
from dlplay.engine.settings import Options

WATCHED = ("environment", "forward", "q_values", "values", "episode")
"""The panels that show the watched episode."""

card = Card(
    name="dqn",
    title="DQN",
    summary="Learn by trial and error to act in an environment; watch the agent, or play yourself.",
    settings=DQNSettings,
    task="dlplay.architectures.dqn.task:DQNTask",
    metric="eval_return",
    better="higher",
    batch="",
    doctor="dlplay.architectures.dqn.doctor",
    no_range_test="its targets move with the network, so a lower loss is no better agent; compare rates by return: dlplay compare",
    order=50,
    bounds=("value iteration",),
    charts=(
        ChartCard("TD loss", train=("loss",), log=True),
        ChartCard("Return", train=("episode_return",), held_out=("eval_return",), better="higher"),
        ChartCard("First states: predicted and obtained value", held_out=("discounted_return", "start_q"), better="higher"),
        ChartCard("Mean max Q over replayed states", train=("max_q",)),
        ChartCard("TD error (mean absolute)", train=("td_error",), log=True),
        ChartCard("Exploration rate ε", train=("epsilon",), percent=True),
    ),
    panels=(
        PanelCard(
            "environment",
            "Watched episode",
            "An episode of its own, with the Q-value of each action; training continues beside it.",
            "The agent plays this episode for you, apart from training. The highlighted bar is the next action: exploit when it has the "
            "highest Q-value, explore when it was drawn at random. The TD error of the last action is its reward plus the discounted value "
            "of the next state, minus the action's Q-value.",
            PictureSize,
            rows=14,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the observation through the hidden layers to the value of each action.",
            "The agent takes the action with the largest value, unless it explores.",
            Options,
            rows=8,
        ),
        PanelCard(
            "values",
            "Value function",
            "V(s) = max Q(s, a), over two numbers of the observation or in every state of a grid.",
            "For vectors: two numbers vary, the others are as in the watched episode; show the value, the best action, or the action gap "
            "(its lead over the second best). For grids: each state has its value and an arrow for the best action. Look for the boundary "
            "at which the best action changes. No observation in the replay buffer lies where it is hatched, or in brackets: values "
            "there are extrapolated, and need not mean anything.",
            ValueFunction,
            rows=12,
        ),
        PanelCard(
            "episode",
            "Values over the episode",
            "The predicted value of each action, step by step, and the return that followed.",
            "Q-values as they were when each step of the watched episode was taken. Once it has ended, the discounted return that was "
            "obtained from every step on stands beside them: where predictions lie above it, the agent overestimates. Where the curves "
            "of the actions part, it matters which one is taken.",
            rows=11,
        ),
        PanelCard(
            "td_errors",
            "TD errors",
            "The distribution of TD errors (target minus Q-value) over the replay buffer.",
            "Over up to 512 transitions, evenly spaced in the replay buffer. Small errors mean that the values are consistent with each "
            "other, not that they are right: early in training the targets are wrong too. Errors mostly above zero mean that the values "
            "still have to rise.",
            rows=11,
        ),
        PanelCard(
            "q_values",
            "Q-values",
            "The predicted discounted return of each action in the watched state.",
            "Q(s, a) of the online network and, in thinner bars, of the target network, which follows slowly so that the TD targets stay "
            "stable. In CartPole with a discount factor of 0.99 a pole that never falls is worth 100. Of a dueling network, V is the "
            "value of the state and A each action's advantage; Q is their sum. With a state of your own its values stand beside those of "
            "the watched one: tilt CartPole's pole, and the best action is to push to the side to which it leans.",
            EditedState,
            rows=5,
        ),
        PanelCard(
            "replay",
            "Replay buffer",
            "The transitions that updates sample from, newest first.",
            "Observation, action, reward and TD error. After a terminated step the return ends; a truncated one was cut off by the time "
            "limit, so its target still includes the value of the next state. With prioritised replay the last column is the sampling "
            "probability relative to uniform sampling.",
            ReplayPage,
            rows=10,
        ),
        PanelCard(
            "agent",
            "Training statistics",
            "What has been played and learned, and how far off predicted returns are.",
            "Overestimation is the mean value predicted for the first states of the last evaluation, minus the mean discounted return from "
            "them. The maximum over noisy values is biased upwards; double DQN reduces that bias by choosing the action with one network "
            "and evaluating it with the other.",
            rows=11,
        ),
    ),
    stage=stages.Environment(panel="environment", option="room", advance="watch", take="play", below=("forward", "values")),
    actions=(
        ActionCard(
            "watch",
            "Watch",
            "Advance the watched episode; after its end, start another.",
            Watch,
            key="w",
            lasting=False,
            shown_by=WATCHED,
        ),
        ActionCard(
            "play",
            "Take the controls",
            "Take the next step yourself, and see how the agent values it.",
            Play,
            lasting=False,
            shown_by=WATCHED,
        ),
        ActionCard(
            "new_episode",
            "New episode",
            "Start another episode to watch, from a seed if you like.",
            NewEpisode,
            key="e",
            lasting=False,
            shown_by=WATCHED,
        ),
        ActionCard(
            "replay_best",
            "Best episode",
            "Replay the training episode with the highest return.",
            PictureSize,
            key="b",
            lasting=False,
            shown_by=WATCHED,
        ),
        ActionCard(
            "replay_last",
            "Last episode",
            "Replay the training episode that ended last.",
            PictureSize,
            key="l",
            lasting=False,
            shown_by=WATCHED,
        ),
        ActionCard("teach", "Teach", "Add the episode that you played to the replay buffer, so that the agent learns from it.", key="t"),
    ),
    presets=PRESETS,
    search=("lr=1e-4..1e-2:log", "hidden=32,32/64,64/128,128"),
    by_size=tuple({"hidden": [units, units], "learning_starts": 0} for units in (64, 128, 256, 512, 1024, 2048)),
)
