"""What a person can do: watch an episode, play it, repeat one, and let the agent learn from what was played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dlplay.architectures.dqn.acting import Actor
from dlplay.architectures.dqn.environments import make
from dlplay.architectures.dqn.episodes import Episode, Episodes, start
from dlplay.architectures.dqn.options import EpisodeOptions, PlayOptions, RoomOptions, WatchOptions
from dlplay.architectures.dqn.panels import describe_frame
from dlplay.architectures.dqn.player import Player
from dlplay.architectures.dqn.replay import Replay
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.panels import AnyPanel, Frame
from dlplay.engine.settings import Options, SettingsError


class DQNActions:
    """The actions; a `Task` mixes them in and brings the attributes."""

    settings: DQNSettings
    device: torch.device
    actor: Actor
    replay: Replay
    episodes: Episodes
    name: str
    actions: int
    last: Episode | None
    best: Episode | None
    _player: Player | None = None

    @property
    def epsilon(self) -> float:
        """Share of random actions in training now."""
        raise NotImplementedError

    @property
    def player(self) -> Player:
        """The watched episode, begun when somebody first looks."""
        if self._player is None:
            self._player = Player(self.settings)
        return self._player

    def act(self, name: str, options: Options) -> AnyPanel | None:
        """Do one of the card's actions."""
        actions: dict[str, Callable[[Any], AnyPanel | None]] = {
            "watch": self._watch,
            "play": self._play,
            "replay_best": self._replay_best,
            "replay_last": self._replay_last,
            "new_episode": self._new_episode,
            "teach": self._teach,
        }
        if name not in actions:
            raise SettingsError(f"there is no action {name!r}; known are {', '.join(actions)}")
        return actions[name](options)

    def _frame(self, room: str) -> Frame:
        return describe_frame(self.player, self.actor.values, self.epsilon, room)

    def _watch(self, options: WatchOptions) -> Frame:
        player = self.player
        player.policy = options.policy
        if player.ended:
            self._begin_another()
            return self._frame(options.room)
        for _ in range(options.steps):
            action, how = player.planned(options.policy, self.epsilon, self.actor.values)
            player.step(action, how, self.actor.values, self.settings.gamma)
            if player.ended:
                break
        return self._frame(options.room)

    def _begin_another(self) -> None:
        player = self.player
        player.begin(int(player.chance.integers(2**31 - 1)))

    def _play(self, options: PlayOptions) -> Frame:
        if options.action >= self.actions:
            raise SettingsError(f"--action {options.action} is not there; {self.name} has actions 0 to {self.actions - 1}", "action")
        player = self.player
        if player.ended:
            self._begin_another()
        else:
            player.script = None  # from here on it is another episode
            player.step(options.action, "you", self.actor.values, self.settings.gamma)
        return self._frame(options.room)

    def _new_episode(self, options: EpisodeOptions) -> Frame:
        if options.seed >= 0:
            self.player.begin(options.seed)
        else:
            self._begin_another()
        return self._frame(options.room)

    def _replay_best(self, options: RoomOptions) -> Frame:
        return self._repeat(self.best, "the best episode of the training", options.room)

    def _replay_last(self, options: RoomOptions) -> Frame:
        return self._repeat(self.last, "the last episode of the training", options.room)

    def _repeat(self, episode: Episode | None, what: str, room: str) -> Frame:
        if episode is None:
            raise SettingsError(f"{what} is not known yet; train until an episode has ended")
        if episode.seed < 0:
            raise SettingsError(f"{what} was played in a native vector environment, which keeps no seeds; train with --vector list")
        self.player.begin(episode.seed, list(episode.actions), f"{what}, return {episode.reward:.4g}")
        return self._frame(room)

    def _teach(self, options: Options) -> None:
        """Put the episode that a person played into the replay buffer, where environment 0's running episode is broken off for it."""
        player, replay, settings = self.player, self.replay, self.settings
        if not player.by_hand or not player.episode.actions:
            raise SettingsError("there is nothing to teach; take the controls first and play an episode")
        if player.taught:
            raise SettingsError("this episode has been taught already; play another one")
        if len(player.episode.actions) + 2 > replay.rows // 2:
            raise SettingsError(
                f"an episode of {len(player.episode.actions)} steps does not fit into the replay buffer; train with a larger --buffer"
            )
        env = make(settings)
        space: Any = env.action_space
        between = bool(self.episodes.over[0])
        if not between:
            replay.interrupt(0, settings.n_step)
        replay.begin(0, player.reading(start(env, player.episode.seed)))
        for number, action in enumerate(player.episode.actions):
            seen, reward, terminated, truncated, _ = env.step(action + int(space.start))
            earned = float(np.sign(float(reward))) if settings.clip_rewards else float(reward)
            cut = bool(truncated) or number + 1 == len(player.episode.actions)
            replay.add(0, action, earned, player.reading(seen), bool(terminated), cut and not terminated, settings.n_step)
        env.close()
        if not between:
            replay.begin(0, self.episodes.observations[0])
        player.taught = True
