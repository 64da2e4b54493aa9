"""What a person can do: watch an episode, play it, replay one of training's, and have the agent learn from what was played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlplay.architectures.dqn.env.registry import make
from dlplay.architectures.dqn.env.vector import Episode
from dlplay.architectures.dqn.settings import NewEpisode, PictureSize, Play, Watch
from dlplay.engine.panels import Frame
from dlplay.engine.settings import Options, SettingsError

if TYPE_CHECKING:
    from dlplay.architectures.dqn.task import DQNTask


class DQNActions:
    """A method is an action, named as on the card."""

    def __init__(self, task: DQNTask) -> None:
        self.task, self.player = task, task.player

    def watch(self, options: Watch) -> Frame:
        player = self.player
        player.behaviour = options.policy
        if player.ended:
            player.reset()
            return self._frame(options)
        for _ in range(options.steps):
            player.step(*player.next_action(self.task.epsilon), self.task.settings.gamma)
            if player.ended:
                break
        return self._frame(options)

    def play(self, options: Play) -> Frame:
        count = self.task.action_count
        if options.action >= count:
            raise SettingsError(f"--action {options.action} is not there; {self.task.name} has actions 0 to {count - 1}", "action")
        if self.player.ended:
            self.player.reset()
        else:
            self.player.script = None  # from here on it is another episode
            for _ in range(options.steps):
                self.player.step(options.action, "you", self.task.settings.gamma)
                if self.player.ended:
                    break
        return self._frame(options)

    def new_episode(self, options: NewEpisode) -> Frame:
        self.player.reset(options.seed if options.seed >= 0 else None)
        return self._frame(options)

    def replay_best(self, options: PictureSize) -> Frame:
        return self._replay(self.task.best_episode, "best training episode", options)

    def replay_last(self, options: PictureSize) -> Frame:
        return self._replay(self.task.last_episode, "last training episode", options)

    def teach(self, options: Options) -> None:
        """Put the played episode into the replay buffer; environment 0's running episode is cut there, and goes on after it."""
        player, replay, settings = self.player, self.task.replay, self.task.settings
        actions = player.episode.actions
        if not player.by_hand or not actions:
            raise SettingsError("there is nothing to teach; take the controls and play an episode first")
        if player.taught:
            raise SettingsError("this episode is in the replay buffer already; play another one")
        if len(actions) + 2 > replay.rows // 2:
            raise SettingsError(f"an episode of {len(actions)} steps does not fit into the replay buffer; train with a larger --buffer")
        env = make(settings)
        running = not self.task.envs.done[0]
        if running:
            replay.truncate(0, settings.n_step)
        replay.add_first(0, env.reset(seed=player.episode.seed)[0])
        for number, action in enumerate(actions):
            observation, reward, terminated, truncated, _ = env.step(action)
            reward = float(np.sign(reward)) if settings.clip_rewards else reward
            cut = truncated or number + 1 == len(actions)
            replay.add(0, action, reward, observation, terminated, cut and not terminated, settings.n_step)
        env.close()
        if running:
            replay.add_first(0, self.task.envs.observations[0])
        player.taught = True

    def _replay(self, episode: Episode | None, label: str, options: PictureSize) -> Frame:
        if episode is None:
            raise SettingsError(f"there is no {label} yet; train until an episode has ended")
        if episode.seed < 0:
            raise SettingsError(f"the {label} was played in a native vector environment, which keeps no seeds; train with --vector list")
        self.player.reset(episode.seed, list(episode.actions), f"{label}, return {episode.total_reward:.4g}")
        return self._frame(options)

    def _frame(self, options: PictureSize) -> Frame:
        return self.player.frame(self.task.epsilon, options.room, self.task.step)
