"""The DQN's card: what can be set, drawn, asked, watched and done. Imports neither torch nor gymnasium."""

from __future__ import annotations

from dlplay.architectures.dqn.options import (
    EpisodeOptions,
    PlayOptions,
    ReplayOptions,
    RoomOptions,
    SurfaceOptions,
    WatchOptions,
)
from dlplay.architectures.dqn.presets import PRESETS
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine import stages
from dlplay.engine.card import ActionCard, Card, ChartCard, PanelCard

SHOWN = ("environment", "q_values", "values")

card = Card(
    name="dqn",
    title="DQN",
    summary="Learn to act by trial and error, and watch the agent balance a pole or play it yourself.",
    settings=DQNSettings,
    task="dlplay.architectures.dqn.task:DQNTask",
    metric="eval_return",
    better="higher",
    order=50,
    bounds=("value iteration",),
    charts=(
        ChartCard("Loss", train=("loss",), log=True),
        ChartCard("Return", train=("episode_return",), held_out=("eval_return",), better="higher"),
        ChartCard("Value promised and obtained", train=("max_q",), held_out=("discounted_return", "start_q"), better="higher"),
        ChartCard("TD error", train=("td_error",), log=True),
        ChartCard("Random actions", train=("epsilon",), percent=True),
    ),
    panels=(
        PanelCard(
            "environment",
            "Watched episode",
            "An episode of its own, and what the agent thinks each action is worth; training goes on beside it.",
            "The environment as the agent plays it for you. The bar that stands out is the action that will be taken next: exploit when it "
            "is the best one, explore when chance chose. The TD error says how wrong the value of the last action was: reward and "
            "discounted value of what followed, less what had been promised.",
            RoomOptions,
            rows=14,
        ),
        PanelCard(
            "q_values",
            "Action values",
            "The discounted return that each action promises in the watched state.",
            "Q(s, a) of the trained net, and thinner below of the target net, which lags behind and gives the learning something that "
            "holds still. In CartPole with a discount of 0.99 a pole that never falls is worth 100.",
            rows=5,
        ),
        PanelCard(
            "values",
            "Value landscape",
            "The value of the best action, over two numbers of the observation or in every cell of the grid.",
            "For observations of a few numbers: choose two of them, the others are as in the watched episode; show the value, the best "
            "action, or its lead. For grids each cell has its value and an arrow for the best action. Look for the ridge where the agent "
            "changes its mind.",
            SurfaceOptions,
            rows=12,
        ),
        PanelCard(
            "td_errors",
            "TD errors",
            "How far the values are from reward plus the value of what follows; near zero they agree with themselves.",
            "Over up to 512 transitions, evenly taken from the replay buffer. Agreement is not truth: early on, values agree with a target "
            "net that knows nothing yet. Errors mostly above zero mean that values still have to rise.",
            rows=11,
        ),
        PanelCard(
            "replay",
            "Replay buffer",
            "Transitions that updates draw from, newest first.",
            "What was seen, what was done, what it brought. An end marked terminated is worth nothing more; one marked truncated was cut "
            "off by the time limit, so what would have followed still counts. With prioritised replay the last column says how many times "
            "more often than the average it is drawn.",
            ReplayOptions,
            rows=10,
        ),
        PanelCard(
            "agent",
            "The agent in figures",
            "How much was played and learnt, and whether promises were kept.",
            "Over-estimation is the value that the net promises in the first states of the last evaluation, less the discounted return "
            "that was really obtained from them. The maximum over noisy values is too high on average; double DQN chooses with one net and "
            "values with the other.",
            rows=11,
        ),
    ),
    stage=stages.Environment(panel="environment", option="room", advance="watch", take="play"),
    actions=(
        ActionCard(
            "watch",
            "Watch",
            "Carry the watched episode on; at its end begin another.",
            WatchOptions,
            key="w",
            lasting=False,
            shown_by=SHOWN,
        ),
        ActionCard(
            "play",
            "Take the controls",
            "Take one step yourself; the agent says what it thinks of it.",
            PlayOptions,
            lasting=False,
            shown_by=SHOWN,
        ),
        ActionCard(
            "new_episode",
            "New episode",
            "Begin another episode to watch, from a seed if you like.",
            EpisodeOptions,
            key="e",
            lasting=False,
            shown_by=SHOWN,
        ),
        ActionCard(
            "replay_best",
            "Best episode",
            "Watch the training episode with the highest return again.",
            RoomOptions,
            key="b",
            lasting=False,
            shown_by=SHOWN,
        ),
        ActionCard(
            "replay_last",
            "Last episode",
            "Watch the training episode that ended last again.",
            RoomOptions,
            key="l",
            lasting=False,
            shown_by=SHOWN,
        ),
        ActionCard("teach", "Teach", "Put the episode that you played into the replay buffer, so that the agent learns from it.", key="t"),
    ),
    presets=PRESETS,
)

__all__ = ["DQNSettings", "card"]
