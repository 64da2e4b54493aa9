"""What can be seen of a DQN: its values, its TD errors, its replay buffer, and an episode that it plays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlplay.architectures.dqn.env import vocabulary
from dlplay.architectures.dqn.player.player import at_step, short
from dlplay.architectures.dqn.replay.buffer import TERMINATED, TRUNCATED
from dlplay.architectures.dqn.settings import PictureSize, ReplayPage, ValueFunction
from dlplay.engine.panels import Array, Bars, Frame, HeatMap, Table
from dlplay.engine.settings import Options, SettingsError

if TYPE_CHECKING:
    from dlplay.architectures.dqn.task import DQNTask

MAX_ERRORS, BINS = 512, 11
"""Transitions in the histogram of TD errors, and its bins."""
PAGE = 20
"""Transitions on a page of the replay buffer."""
PLOT_ROWS, PLOT_COLUMNS = 25, 41
SPAN_SAMPLE = 10_000
"""Observations in the replay buffer that give the range of an axis."""
MAX_STATES = 64
"""Rows of the table of states."""
ARROWS = {"left": "←", "down": "↓", "right": "→", "up": "↑", "pick up": "▲", "drop off": "▼"}
EMPTY = "empty until training starts"
NEVER = "?: not in the replay buffer"


class DQNPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: DQNTask) -> None:
        self.task, self.player = task, task.player

    def environment(self, options: PictureSize) -> Frame:
        return self.player.frame(self.task.epsilon, self.task.step, options.room)

    def q_values(self, options: Options) -> Bars:
        """Of all actions in the watched state, by the online and the target network; of a dueling network also V and A."""
        names, labels, value = self.player.action_names, list(self.player.action_names), ""
        online = self.player.q_values()
        observation = torch.from_numpy(self.player.observation[None]).to(self.task.device)
        target = self.task.target_network(observation)[0].cpu().numpy()
        if self.task.q_network.dueling:
            state_value, advantages = self.task.q_network.value_and_advantages(observation)
            labels = [f"{name} (A {advantage:+.3g})" for name, advantage in zip(names, advantages[0].tolist(), strict=True)]
            value = f"V {state_value.item():.4g} · "
        two = self.task.settings.target != "none"
        best, ranked = int(online.argmax()), np.sort(online)
        return Bars(
            labels=labels,
            values=online.tolist(),
            second=target.tolist() if two else [],
            names=["online network", "target network"] if two else [],
            chosen=best,
            figure=f"{names[best]}, {ranked[-1] - ranked[-2]:.3g} ahead" if len(ranked) > 1 else names[best],
            caption=f"{value}step {len(self.player.episode.actions)} of the watched episode, {at_step(self.task.step)}",
        )

    def values(self, options: ValueFunction) -> HeatMap | Table:
        kind = self.player.obs_spec.kind
        if kind == "vector":
            return self._plot_values(options)
        if kind == "state":
            return self._tabulate_values(options)
        return Table(columns=[], rows=[], caption="images have too many dimensions to plot; see the Q-values instead")

    def td_errors(self, options: Options) -> Bars:
        """Their histogram; errors beyond the 99th percentile of |TD error| are in the outermost bins."""
        ready = np.flatnonzero(self.task.replay.ready)
        if not len(ready):
            return Bars(labels=[], values=[], caption=EMPTY)
        errors = self._td_errors(ready[np.linspace(0, len(ready) - 1, min(MAX_ERRORS, len(ready))).astype(np.int64)])
        largest = float(np.quantile(np.abs(errors), 0.99)) or 1.0
        edges = np.linspace(-largest, largest, BINS + 1)
        counts, _ = np.histogram(np.clip(errors, -largest, largest), edges)
        return Bars(
            labels=[f"{(low + high) / 2:+.3g}" for low, high in zip(edges, edges[1:], strict=False)],
            values=(counts / len(errors)).tolist(),
            percent=True,
            figure=f"mean |TD error| {np.abs(errors).mean():.3g}",
            caption=f"{len(errors)} of {len(ready):,} transitions; mean {errors.mean():+.3g}",
        )

    def replay(self, options: ReplayPage) -> Table:
        replay, names = self.task.replay, self.player.action_names
        rows = replay.latest(options.start + PAGE)[options.start :]
        errors = self._td_errors(rows) if len(rows) else np.zeros(0)
        table = []
        for number, row in enumerate(rows.tolist()):
            observation, action, reward = short(replay.observations[row]), names[int(replay.actions[row])], f"{replay.rewards[row]:.4g}"
            end = {TERMINATED: "terminated", TRUNCATED: "truncated"}.get(int(replay.kinds[row]), "")
            table.append([f"{options.start + number}", observation, action, reward, end, f"{errors[number]:+.3g}"])
        columns, right = ["age", "observation", "action", "reward", "end", "TD error"], [0, 3, 5]
        if replay.priorities is not None:
            columns, right = [*columns, "sampled"], [*right, 6]
            for cells, probability in zip(table, replay.priorities.probabilities(rows) * replay.count, strict=True):
                cells.append(f"{probability:.2f}x")
        shades = np.zeros((len(table), len(columns)), np.float32)
        shades[:, 5] = np.abs(errors) / (float(np.abs(errors).max(initial=0.0)) or 1.0)
        return Table(
            columns=columns,
            rows=table,
            right=right,
            shades=Array.of(shades) if table else None,
            figure=f"{replay.count:,} transitions",
            caption="" if table else "there are no older transitions" if options.start else EMPTY,
        )

    def agent(self, options: Options) -> Table:
        task = self.task
        rows = [
            ["environment", task.name],
            ["environment steps", f"{task.step * task.settings.envs:,}"],
            ["updates", f"{task.updates:,}"],
            ["episodes", f"{task.episodes_played:,}"],
            ["exploration rate (ε)", f"{100 * task.epsilon:.1f} %"],
            ["replay buffer", f"{task.replay.count:,} of {task.replay.capacity:,}"],
            ["environment steps/s", f"{task.speed[0]:,.0f}"],
            ["updates/s", f"{task.speed[1]:,.0f}"],
        ]
        if task.last_evaluation:
            predicted, actual = task.last_evaluation["start_q"], task.last_evaluation["discounted_return"]
            rows += [
                ["predicted value of first states", f"{predicted:.4g}"],
                ["discounted return from them", f"{actual:.4g}"],
                ["overestimation", f"{predicted - actual:+.4g}"],
            ]
        return Table(columns=["", ""], rows=rows, right=[1])

    # --- the value function -------------------------------------------------------------------------------------------------------

    def _plot_values(self, options: ValueFunction) -> HeatMap:
        """Two numbers of the observation vary, the others are as in the watched episode."""
        observation = np.ravel(self.player.observation)
        across, up = self._axes(len(observation), options.dimensions)
        x = np.linspace(*self._span(across), PLOT_COLUMNS)
        y = np.linspace(*self._span(up), PLOT_ROWS)[::-1]
        grid = np.tile(observation.astype(np.float32), (PLOT_ROWS * PLOT_COLUMNS, 1))
        grid[:, up], grid[:, across] = np.repeat(y, PLOT_COLUMNS), np.tile(x, PLOT_ROWS)
        shown, figure = _shown(self.task.policy.q_values(grid), options.show, self.player.action_names)
        captions = [] if len(observation) <= 2 else ["the other numbers are as in the watched episode"]
        if options.unvisited == "marked" and self.task.replay.count:
            shown = np.where(self._visited(x, across, y, up).ravel(), shown, np.nan)
            captions.append("empty where the replay buffer has no observation")
        names = vocabulary.observation_names(self.task.name, len(observation))
        return HeatMap(
            values=Array.of(shown.reshape(PLOT_ROWS, PLOT_COLUMNS)),
            rows=[f"{value:.2g}" for value in y],
            columns=[f"{value:.2g}" for value in x],
            row_title=names[up],
            column_title=names[across],
            figure=figure,
            caption="; ".join(captions),
        )

    def _stored(self) -> NDArray[Any]:
        """The observations of all transitions in the replay buffer, (N, *shape)."""
        return self.task.replay.observations[np.flatnonzero(self.task.replay.ready)]

    def _visited(self, x: NDArray[np.float64], across: int, y: NDArray[np.float64], up: int) -> NDArray[np.bool_]:
        """Whether a stored observation lies in each cell (PLOT_ROWS, PLOT_COLUMNS) around `x` and `y`, of which `y` falls."""
        stored = self._stored()
        stored = stored.reshape(len(stored), -1)
        column = np.rint((stored[:, across] - x[0]) / (x[1] - x[0]))
        row = np.rint((stored[:, up] - y[0]) / (y[1] - y[0]))
        inside = (column >= 0) & (column < len(x)) & (row >= 0) & (row < len(y))
        visited = np.zeros((len(y), len(x)), np.bool_)
        visited[row[inside].astype(np.int64), column[inside].astype(np.int64)] = True
        return visited

    def _axes(self, count: int, dimensions: str) -> tuple[int, int]:
        """Which numbers of an observation run across and up."""
        if not dimensions:
            return vocabulary.default_axes(self.task.name, count)
        across, up = (int(part) for part in dimensions.split(","))
        if max(across, up) >= count:
            raise SettingsError(f"--dimensions {dimensions} is not there; the observation has the numbers 0 to {count - 1}", "dimensions")
        return across, up

    def _span(self, dimension: int) -> tuple[float, float]:
        """1st and 99th percentile of this number in the replay buffer; while that is nearly empty, the environment's own bounds."""
        replay = self.task.replay
        observations = replay.observations[np.flatnonzero(replay.ready)[-SPAN_SAMPLE:]]
        if len(observations) >= 100:
            column = observations.reshape(len(observations), -1)[:, dimension]
            low, high = (float(edge) for edge in np.quantile(column, (0.01, 0.99)))
            if high > low:
                return low, high
        space: Any = self.player.env.observation_space
        low, high = float(np.ravel(space.low)[dimension]), float(np.ravel(space.high)[dimension])
        return (low, high) if np.isfinite([low, high]).all() and high - low < 1e3 else (-2.0, 2.0)

    def _tabulate_values(self, options: ValueFunction) -> Table:
        """A cell for each state where states lie on a grid, or else a list of states."""
        names = self.player.action_names
        q_values = self.task.policy.q_values(np.arange(self.player.obs_spec.states, dtype=np.int32))  # (S, A)
        best = q_values.argmax(1)
        shown, figure = _shown(q_values, options.show, names)
        grid, marks, caption = self._grid()
        unvisited: set[int] = set()
        if options.unvisited == "marked" and self.task.replay.count:
            unvisited = set(range(len(q_values))) - set(np.unique(self._stored()).tolist())
        question = {state: "?" if state in unvisited else "" for state in range(len(q_values))}
        if grid is None:
            listed = [
                [f"{state}{question[state]}", f"{q_values[state].max():.3g}", names[best[state]]]
                for state in range(min(len(q_values), MAX_STATES))
            ]
            caption = NEVER if any(question[state] for state in range(len(listed))) else ""
            return Table(columns=["state", "value", "best action"], rows=listed, right=[0, 1], figure=figure, caption=caption)
        shades = (shown - shown.min()) / (float(shown.max()) - float(shown.min()) or 1.0)

        def cell(state: int) -> str:
            if state in marks:
                return marks[state]
            arrow = ARROWS.get(names[best[state]], names[best[state]])
            return (arrow if options.show == "action" else f"{arrow} {shown[state]:.2f}") + question[state]

        return Table(
            columns=[""] * grid.shape[1],
            rows=[[cell(state) for state in row] for row in grid.tolist()],
            shades=Array.of(np.where(np.isin(grid, list(marks)), 0.0, shades[grid]).astype(np.float32)),
            figure=figure,
            caption="; ".join(filter(None, (caption, NEVER if (unvisited - set(marks)) & set(grid.ravel().tolist()) else ""))),
        )

    def _grid(self) -> tuple[NDArray[np.int64] | None, dict[int, str], str]:
        """The state (rows, columns) of each cell, the words in those where no action is taken, and a caption; None for no grid."""
        inner: Any = self.player.env.unwrapped
        family, states = vocabulary.family(self.task.name), np.arange(self.player.obs_spec.states)
        if family.startswith("FrozenLake"):
            grid = states.reshape(inner.nrow, inner.ncol)
            letters = {b"H": "hole", b"G": "goal"}
            marks = {int(grid[place]): letters[bytes(tile)] for place, tile in np.ndenumerate(inner.desc) if bytes(tile) in letters}
            return grid, marks, "the ice is slippery: an arrow may point away from where the agent wants to go"
        if family.startswith("CliffWalking"):
            grid = states.reshape(inner.shape)
            cliff = {int(grid[place]): "cliff" for place, falls in np.ndenumerate(inner._cliff) if falls}
            return grid, cliff | {len(states) - 1: "goal"}, ""
        if family.startswith("Taxi"):
            *_, passenger, destination = inner.decode(int(self.player.observation))
            grid = np.array([[inner.encode(row, column, passenger, destination) for column in range(5)] for row in range(5)])
            start, end = vocabulary.TAXI_LOCATIONS[passenger], vocabulary.TAXI_LOCATIONS[destination]
            return grid, {}, f"the passenger is at {start} and wants to go to {end}, as in the watched episode"
        return None, {}, ""

    def _td_errors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        errors: NDArray[np.float32] = self.task.td_errors(rows).cpu().numpy()
        return errors


def _shown(q_values: NDArray[np.float32], show: str, action_names: tuple[str, ...]) -> tuple[NDArray[np.float32], str]:
    """What is plotted of Q-values (S, A): numbers (S,), and a figure in words."""
    if show == "action":
        return q_values.argmax(1).astype(np.float32), ", ".join(f"{number} {name}" for number, name in enumerate(action_names[:4]))
    if show == "lead":
        ranked = np.sort(q_values, 1)
        return (ranked[:, -1] - ranked[:, -2] if q_values.shape[1] > 1 else ranked[:, 0]), "action gap"
    values = q_values.max(1)
    return values, f"{values.min():.3g} to {values.max():.3g}"
