"""What can be seen of a DQN: every panel is a pure function of the net, the replay buffer and the watched episode."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from dlplay.architectures.dqn import vocabulary
from dlplay.architectures.dqn.acting import Actor
from dlplay.architectures.dqn.environments import Reading
from dlplay.architectures.dqn.learning import goals, on_device
from dlplay.architectures.dqn.model import QNetwork
from dlplay.architectures.dqn.options import ReplayOptions, RoomOptions, SurfaceOptions
from dlplay.architectures.dqn.player import Player, Values
from dlplay.architectures.dqn.replay import TERMINATED, TRUNCATED, Replay
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.architectures.dqn.surfaces import surface
from dlplay.engine.panels import AnyPanel, Array, Bars, Frame, Table
from dlplay.engine.settings import Options

SAMPLED = 512
"""Transitions that the TD errors are counted over."""
BINS = 11
PAGE = 20
ENDED = {"terminated": "terminated", "truncated": "time limit (truncated)"}


class DQNPanels:
    """The panels; a `Task` mixes them in and brings the attributes."""

    questions: ClassVar[dict[str, str]] = {
        "environment": "environment",
        "q_values": "q_values",
        "values": "value_surface",
        "td_errors": "td_errors",
        "replay": "replay_rows",
        "agent": "agent",
    }

    settings: DQNSettings
    device: torch.device
    step: int
    net: QNetwork
    target: QNetwork
    actor: Actor
    replay: Replay
    reading: Reading
    name: str
    actions: int
    updates: int
    played: int
    rates: tuple[float, float]
    judged: dict[str, float]

    @property
    def player(self) -> Player:
        """The watched episode."""
        raise NotImplementedError

    @property
    def epsilon(self) -> float:
        """Share of random actions in training now."""
        raise NotImplementedError

    def environment(self, options: RoomOptions) -> Frame:
        """The watched episode as it stands."""
        return describe_frame(self.player, self.actor.values, self.epsilon, options.room)

    def q_values(self, options: Options) -> Bars:
        """Values of all actions in the watched state, by the trained net and by the target net."""
        observation = self.player.observation[None]
        trained = self.actor.values(observation)[0]
        target = self.target(torch.from_numpy(observation).to(self.device))[0].cpu().numpy()
        order = np.sort(trained)
        best = int(trained.argmax())
        return Bars(
            labels=list(self._names()),
            values=trained.tolist(),
            second=[] if self.settings.target == "none" else target.tolist(),
            names=[] if self.settings.target == "none" else ["trained net", "target net"],
            chosen=best,
            figure=f"{self._names()[best]}, {order[-1] - order[-2]:.3g} ahead" if len(order) > 1 else self._names()[best],
            caption=f"step {len(self.player.episode.actions)} of the watched episode",
        )

    def value_surface(self, options: SurfaceOptions) -> AnyPanel:
        """Values over two numbers of the observation, or in the cells of a grid."""
        return surface(self.name, self._names(), self.player, self.replay, self.actor.values, options)

    def td_errors(self, options: Options) -> Bars:
        """How TD errors are spread, over transitions evenly taken from the buffer."""
        ready = np.flatnonzero(self.replay.ready)
        if not len(ready):
            return Bars(labels=[], values=[], caption="filled while it trains")
        errors = self._errors(ready[np.linspace(0, len(ready) - 1, min(SAMPLED, len(ready))).astype(np.int64)])
        reach = float(np.quantile(np.abs(errors), 0.99)) or 1.0
        edges = np.linspace(-reach, reach, BINS + 1)
        counts, _ = np.histogram(np.clip(errors, -reach, reach), edges)
        labels = [f"{(low + high) / 2:+.3g}" for low, high in zip(edges, edges[1:], strict=False)]
        return Bars(
            labels=labels,
            values=(counts / len(errors)).tolist(),
            percent=True,
            figure=f"mean |TD error| {np.abs(errors).mean():.3g}",
            caption=f"{len(errors)} of {len(ready):,} transitions; mean {errors.mean():+.3g}",
        )

    def replay_rows(self, options: ReplayOptions) -> Table:
        """Transitions of the buffer, newest first."""
        replay = self.replay
        rows = replay.latest(options.start + PAGE)[options.start :]
        columns = ["back", "observation", "action", "reward", "ends", "TD error"]
        table: list[list[str]] = []
        errors = self._errors(rows) if len(rows) else np.zeros(0)
        shares = replay.priorities.of(rows) * replay.count if replay.priorities is not None else None
        for number, row in enumerate(rows.tolist()):
            ends = {TERMINATED: "terminated", TRUNCATED: "truncated"}.get(int(replay.kinds[row]), "")
            words = short(replay.observations[row])
            action = self._names()[int(replay.actions[row])]
            table.append([f"{options.start + number}", words, action, f"{replay.rewards[row]:.4g}", ends, f"{errors[number]:+.3g}"])
            if shares is not None:
                table[-1].append(f"{shares[number]:.2f}x")
        shades = None
        if len(rows):
            scale = float(np.abs(errors).max()) or 1.0
            tint = np.zeros((len(rows), len(table[0])), np.float32)
            tint[:, 5] = np.abs(errors) / scale
            shades = Array.of(tint)
        return Table(
            columns=[*columns, *(["drawn"] if shares is not None else [])],
            rows=table,
            right=[0, 3, 5, 6] if shares is not None else [0, 3, 5],
            shades=shades,
            figure=f"{replay.count:,} transitions",
            caption="" if table else "filled while it trains" if not options.start else "nothing that old is in the buffer",
        )

    def agent(self, options: Options) -> Table:
        """Figures of the training."""
        settings, replay = self.settings, self.replay
        rows = [
            ["environment", self.name],
            ["environment steps", f"{self.step * settings.envs:,}"],
            ["updates", f"{self.updates:,}"],
            ["episodes", f"{self.played:,}"],
            ["random actions (ε)", f"{100 * self.epsilon:.1f} %"],
            ["replay buffer", f"{replay.count:,} of {replay.rows * replay.envs:,}"],
            ["environment steps/s", f"{self.rates[0]:,.0f}"],
            ["updates/s", f"{self.rates[1]:,.0f}"],
        ]
        if self.judged:
            promise, real = self.judged["start_q"], self.judged["discounted_return"]
            rows += [
                ["value promised at the start", f"{promise:.4g}"],
                ["discounted return obtained", f"{real:.4g}"],
                ["over-estimation", f"{promise - real:+.4g}"],
            ]
        return Table(columns=["", ""], rows=rows, right=[1])

    # --- what the panels share ----------------------------------------------------------------------------------------------------

    def _names(self) -> tuple[str, ...]:
        return vocabulary.action_names(self.name, self.player.env, self.actions)

    def _errors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """TD errors of transitions, by the nets as they are now."""
        settings = self.settings
        batch = on_device(self.replay.gather(rows, settings.n_step, settings.gamma), self.device)
        wanted = goals(batch, self.net, self.net if settings.target == "none" else self.target, settings.double)
        errors: NDArray[np.float32] = (wanted - self.net(batch.observations).gather(1, batch.actions[:, None])[:, 0]).cpu().numpy()
        return errors


def describe_frame(player: Player, values: Values, epsilon: float, room: str) -> Frame:
    """The watched episode: its picture, the values of the actions, what was done last and what will be done next."""
    pixels, text = player.picture(room)
    names = vocabulary.action_names(player.name, player.env, player.count)
    own = values(player.observation[None])[0]
    facts = {"step": f"{len(player.episode.actions):,}", "return": f"{player.episode.reward:.4g}"}
    if player.taken is not None:
        facts["last action"] = f"{names[player.taken.action]} ({player.taken.how})"
        facts["reward"] = f"{player.taken.reward:.4g}"
        facts["TD error"] = f"{player.taken.error:+.3g}"
    if player.ended:
        chosen, why, facts["ended"] = int(own.argmax()), "", ENDED[player.ended]
    else:
        chosen, why = player.planned(player.policy, epsilon, values)
    if player.reading.observed.kind != "image":
        facts["observed"] = observed_words(player)
    facts["seed"] = str(player.episode.seed)
    if player.before:
        facts["before"] = player.before
    bars = Bars(
        labels=list(names),
        values=own.tolist(),
        chosen=chosen,
        figure=f"{own.max():.4g}",
        caption=f"next: {names[chosen]} ({why})" if why else "the episode is over",
    )
    return Frame(
        pixels=Array.of(pixels),
        text=text,
        bars=bars,
        facts=facts,
        controls=vocabulary.controls(player.name, player.env, player.count),
        ended=bool(player.ended),
        fps=player.steps_per_second,
        figure=f"return {player.episode.reward:.4g}",
        caption=player.what,
    )


def observed_words(player: Player) -> str:
    """The observation in short."""
    if player.reading.observed.kind == "state":
        return f"state {int(player.observation)}"
    return short(player.observation)


def short(observation: NDArray[Any]) -> str:
    """An observation on part of a line."""
    if observation.ndim == 0:
        return f"state {int(observation)}"
    if observation.ndim > 1:
        return f"picture, mean {float(observation.mean()):.0f}"
    words = " ".join(f"{value:+.2f}" for value in observation[:6])
    return words + (" …" if len(observation) > 6 else "")
