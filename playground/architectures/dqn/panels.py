"""What can be seen of a DQN: its values, its TD errors, its replay buffer, and an episode that it plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlplay.architectures.dqn.env import vocabulary
from dlplay.architectures.dqn.player.player import short, training_step
from dlplay.architectures.dqn.replay.buffer import TERMINATED, TRUNCATED
from dlplay.architectures.dqn.settings import EditedState, PictureSize, ReplayPage, ValueFunction
from dlplay.engine.panels import Array, Bars, Frame, HeatMap, Layer, Layers, Lines, Table
from dlplay.engine.settings import Options, SettingsError
from dlplay.parts import forward

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
MOST_STEPS = 2_000
"""Steps of an episode that are drawn, the last ones."""
MOST_CURVES, FEW_STEPS = 4, 100
"""So many actions have a curve each for so many steps; beyond that, where they would hide each other, only the largest value has one."""
ARROWS = {"left": "←", "down": "↓", "right": "→", "up": "↑", "pick up": "▲", "drop off": "▼"}
EMPTY = "empty until training starts"


class DQNPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: DQNTask) -> None:
        self.task, self.player = task, task.player

    def environment(self, options: PictureSize) -> Frame:
        return self.player.frame(self.task.epsilon, options.room, self.task.step)

    def q_values(self, options: EditedState) -> Bars:
        """Of all actions: in the watched state by the online and the target network, or in an edited state beside it."""
        if options.state.strip():
            return self._edited_values(options.state)
        online = self.player.q_values()
        target = self.task.target_network(torch.from_numpy(self.player.observation[None]).to(self.task.device))[0].cpu().numpy()
        two = self.task.settings.target != "none"
        labels, figure = self._in_words(self.player.observation, online)
        return Bars(
            labels=labels,
            values=online.tolist(),
            second=target.tolist() if two else [],
            names=["online network", "target network"] if two else [],
            chosen=int(online.argmax()),
            figure=figure,
            caption=f"step {len(self.player.episode.actions)} of the watched episode, {training_step(self.task.step)}",
        )

    def _edited_values(self, state: str) -> Bars:
        """By the online network, in this state and in the watched one."""
        observation, names = self._observation(state), self.player.action_names
        edited, watched = self.task.policy.q_values(np.stack([observation, self.player.observation]))
        labels, figure = self._in_words(observation, edited)
        numbers = np.ravel(observation).tolist()
        if self.player.obs_spec.kind == "state":
            described = f"state {numbers[0]}"
        else:
            named = zip(vocabulary.observation_names(self.task.name, len(numbers)), numbers, strict=True)
            described = ", ".join(f"{name} {number:.4g}" for name, number in named)
        return Bars(
            labels=labels,
            values=edited.tolist(),
            second=watched.tolist(),
            names=["edited state", "watched state"],
            chosen=int(edited.argmax()),
            figure=figure,
            caption=f"{described}; the best action in the watched state is {names[int(watched.argmax())]}",
        )

    def _observation(self, state: str) -> NDArray[Any]:
        """An observation from its numbers. Raises `SettingsError`."""
        spec, environment = self.player.obs_spec, self.task.name
        words, given = [word.strip() for word in state.split(",")], f"--state {state.strip()[:60]}"
        if spec.kind == "image":
            raise SettingsError(
                f"{given}: the observations of {environment} are images, which cannot be edited as numbers; leave --state out", "state"
            )
        if spec.kind == "state":
            if len(words) > 1 or not words[0].isdecimal() or int(words[0]) >= spec.states:
                raise SettingsError(f"{given}: {environment} has no such state; give one of 0 to {spec.states - 1}", "state")
            return np.asarray(int(words[0]), self.player.observation.dtype)
        names = vocabulary.observation_names(environment, self.player.observation.size)
        listed = f"{', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
        way_out = f"give the {len(names)} numbers of an observation of {environment}: {listed}"
        numbers = [_number(word) for word in words]
        if None in numbers:
            raise SettingsError(f"{given}: {words[numbers.index(None)][:20]!r} is not a finite number; {way_out}", "state")
        if len(numbers) != len(names):
            raise SettingsError(f"{given} has {len(numbers)} number{'s' * (len(numbers) > 1)}; {way_out}", "state")
        return np.array(numbers, self.player.observation.dtype).reshape(self.player.observation.shape)

    def _in_words(self, observation: NDArray[Any], q_values: NDArray[np.float32]) -> tuple[list[str], str]:
        """A label for each action, and by how much the best one leads; of a dueling network with V and the advantages."""
        names, ranked = self.player.action_names, np.sort(q_values)
        best = names[int(q_values.argmax())]
        lead = f"{best}, {ranked[-1] - ranked[-2]:.3g} ahead" if len(ranked) > 1 else best
        if not self.task.settings.dueling:
            return list(names), lead
        value, advantages = self.task.q_network.value_and_advantages(torch.from_numpy(observation[None]).to(self.task.device))
        labels = [f"{name} (A {advantage:+.3g})" for name, advantage in zip(names, advantages[0].tolist(), strict=True)]
        return labels, f"V {float(value):.4g}; {lead}"

    def forward(self, options: Options) -> Layers:
        """The watched observation, the hidden layers, and the value of each action."""
        observation = torch.from_numpy(self.player.observation[None]).to(self.task.device)
        found, q_values = forward.activations(self.task.q_network, observation)
        names, kind = self.player.action_names, self.player.obs_spec.kind
        if kind == "vector":
            numbers = self.player.observation.reshape(-1)
            labels = list(vocabulary.observation_names(self.task.name, len(numbers)))
            shown = Layer(title="observation", labels=labels, values=numbers.tolist(), signed=True)
        elif kind == "image":
            shown = Layer(title="observation", images=Array.of(np.asarray(self.player.observation)))
        else:
            shown = Layer(title="observation", labels=["state"], values=[float(self.player.observation)])
        best = int(q_values[0].argmax())
        values = Layer(title="Q-values", labels=list(names), values=q_values[0].tolist(), chosen=best)
        steps = len(self.player.episode.actions)
        return Layers(layers=[shown, *forward.hidden(found), values], figure=f"{names[best]} in step {steps}")

    def values(self, options: ValueFunction) -> HeatMap | Table:
        kind = self.player.obs_spec.kind
        if kind == "vector":
            return self._plot_values(options)
        if kind == "state":
            return self._tabulate_values(options)
        return Table(columns=[], rows=[], caption="images have too many dimensions to plot; see the Q-values instead")

    def episode(self, options: Options) -> Lines:
        """The values predicted in each step, and the discounted return that followed it, once that is known."""
        player, names = self.player, self.player.action_names
        if not player.predicted:
            return Lines(x=[], series={}, caption="no step of the watched episode yet: w watches one")
        first = max(0, len(player.predicted) - MOST_STEPS)
        predicted = np.stack(player.predicted[first:])  # (T, A)
        series: dict[str, list[float | None]] = {"max Q": predicted.max(1).tolist()}
        if len(names) <= MOST_CURVES and len(predicted) <= FEW_STEPS:
            series = {name: predicted[:, number].tolist() for number, name in enumerate(names)}
        figure = f"max Q {predicted[-1].max():.4g}"
        if player.ended:
            after = 0.0 if player.ended == "terminated" else float(player.q_values().max())
            obtained = discounted(player.rewards, self.task.settings.gamma, after)[first:]
            series["return obtained"] = [*obtained]
            figure = f"predicted {predicted[0].max():.4g}, obtained {obtained[0]:.4g}"
        cut = "; beyond the time limit the last state's own prediction counts" if player.ended == "truncated" else ""
        return Lines(
            x=[float(first + step) for step in range(len(predicted))],
            series=series,
            x_title="step of the episode",
            figure=figure,
            caption=f"discounted by {self.task.settings.gamma:g}{cut}",
        )

    def td_errors(self, options: Options) -> Bars:
        """Their histogram; errors beyond the 99th percentile of |TD error| are in the outermost bins."""
        ready = np.flatnonzero(self.task.replay.ready)
        if not len(ready):
            return Bars(labels=[], values=[], caption=EMPTY)
        errors = self._td_errors(ready[np.linspace(0, len(ready) - 1, min(MAX_ERRORS, len(ready))).astype(np.int64)])
        largest = float(np.quantile(np.abs(errors), 0.99)) or 1.0
        edges = np.linspace(-largest, largest, BINS + 1)
        counts, _ = np.histogram(np.clip(errors, -largest, largest), edges)
        middles = [2 * largest * (number - (BINS - 1) / 2) / BINS for number in range(BINS)]  # that of the middle one is 0, not nearly 0
        return Bars(
            labels=[f"{middle:+.3g}" if middle else "0" for middle in middles],
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
        names = vocabulary.observation_names(self.task.name, len(observation))
        visited = self._visited(x, y, across, up)
        notes = ["" if len(observation) <= 2 else "the other numbers are as in the watched episode"]
        notes += ["" if visited is None else "hatched: not in the replay buffer"]
        return HeatMap(
            values=Array.of(shown.reshape(PLOT_ROWS, PLOT_COLUMNS)),
            rows=[f"{value:.2g}" for value in y],
            columns=[f"{value:.2g}" for value in x],
            row_title=names[up],
            column_title=names[across],
            figure=figure,
            hatched=None if visited is None else Array.of((~visited).astype(np.uint8)),
            caption=" · ".join(filter(None, reversed(notes))),
        )

    def _visited(self, x: NDArray[np.float64], y: NDArray[np.float64], across: int, up: int) -> NDArray[np.bool_] | None:
        """Which cells (rows, columns) with their centres at `x` and `y` hold an observation of the replay buffer; None while it is empty.

        The other numbers of an observation may be any.
        """
        if not self.task.replay.count:
            return None
        observations = self.task.replay.visited()
        observations = observations.reshape(len(observations), -1)
        columns, rows = ((observations[:, number] - at[0]) / (at[1] - at[0]) for number, at in ((across, x), (up, y)))
        inside = (columns > -0.5) & (columns < len(x) - 0.5) & (rows > -0.5) & (rows < len(y) - 0.5)
        visited = np.zeros((len(y), len(x)), np.bool_)
        visited[np.rint(rows[inside]).astype(np.int64), np.rint(columns[inside]).astype(np.int64)] = True
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
        replay = self.task.replay
        visited = np.isin(np.arange(len(q_values)), replay.visited()) if replay.count else np.ones(len(q_values), np.bool_)
        if not visited.all():
            caption = " · ".join(filter(None, ["(in brackets): not in the replay buffer", caption]))

        def bracketed(state: int, text: str) -> str:
            return text if visited[state] else f"({text})"

        if grid is None:
            listed = [
                [bracketed(state, str(state)), f"{q_values[state].max():.3g}", names[best[state]]]
                for state in range(min(len(q_values), MAX_STATES))
            ]
            return Table(columns=["state", "value", "best action"], rows=listed, right=[0, 1], figure=figure, caption=caption)
        shades = (shown - shown.min()) / (float(shown.max()) - float(shown.min()) or 1.0)

        def cell(state: int) -> str:
            if state in marks:
                return marks[state]
            arrow = ARROWS.get(names[best[state]], names[best[state]])
            return bracketed(state, arrow if options.show == "action" else f"{arrow} {shown[state]:.2f}")

        return Table(
            columns=[""] * grid.shape[1],
            rows=[[cell(state) for state in row] for row in grid.tolist()],
            shades=Array.of(np.where(np.isin(grid, list(marks)), 0.0, shades[grid]).astype(np.float32)),
            figure=figure,
            caption=caption,
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


def discounted(rewards: Sequence[float], gamma: float, after: float) -> list[float]:
    """The discounted return from each step on; `after` is the value of the state behind the last one."""
    returns = []
    for reward in reversed(rewards):
        after = reward + gamma * after
        returns.append(after)
    return returns[::-1]


def _number(word: str) -> float | None:
    """None for what is no number, or too large for one of 32 bits."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if abs(number) <= float(np.finfo(np.float32).max) else None


def _shown(q_values: NDArray[np.float32], show: str, action_names: tuple[str, ...]) -> tuple[NDArray[np.float32], str]:
    """What is plotted of Q-values (S, A): numbers (S,), and a figure in words."""
    if show == "action":
        return q_values.argmax(1).astype(np.float32), ", ".join(f"{number} {name}" for number, name in enumerate(action_names[:4]))
    if show == "lead":
        ranked = np.sort(q_values, 1)
        return (ranked[:, -1] - ranked[:, -2] if q_values.shape[1] > 1 else ranked[:, 0]), "action gap"
    values = q_values.max(1)
    return values, f"{values.min():.3g} to {values.max():.3g}"
