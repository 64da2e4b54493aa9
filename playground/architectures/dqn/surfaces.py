"""The values as a landscape: over two numbers of the observation, or in every cell of a grid with an arrow for the best action."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.architectures.dqn import vocabulary
from dlplay.architectures.dqn.options import SurfaceOptions
from dlplay.architectures.dqn.player import Player, Values
from dlplay.architectures.dqn.replay import Replay
from dlplay.engine.panels import AnyPanel, Array, HeatMap, Table
from dlplay.engine.settings import SettingsError

ROWS, COLUMNS = 25, 41
LISTED = 64
ARROWS = {"left": "←", "down": "↓", "right": "→", "up": "↑", "pick up": "▲", "drop off": "▼"}


def surface(name: str, actions: tuple[str, ...], player: Player, replay: Replay, values: Values, options: SurfaceOptions) -> AnyPanel:
    """The panel that fits what is observed."""
    kind = player.reading.observed.kind
    if kind == "state":
        return _cells(name, actions, player, values, options)
    if kind == "vector":
        return _plane(name, actions, player, replay, values, options)
    return Table(columns=[], rows=[], caption="pictures have too many numbers to choose two from; look at the action values instead")


def _plane(name: str, actions: tuple[str, ...], player: Player, replay: Replay, values: Values, options: SurfaceOptions) -> HeatMap:
    """Two numbers vary, the others are as in the watched episode."""
    here = np.ravel(player.observation)
    across, up = _dimensions(name, len(here), options.dimensions)
    spans = [_span(player, replay, dimension) for dimension in (across, up)]
    x, y = np.linspace(*spans[0], COLUMNS), np.linspace(*spans[1], ROWS)[::-1]
    grid = np.tile(here.astype(np.float32), (ROWS * COLUMNS, 1))
    grid[:, up], grid[:, across] = np.repeat(y, COLUMNS), np.tile(x, ROWS)
    found = values(grid)
    names = vocabulary.observation_names(name, len(here))
    shown, words = _shown(found, options.show, actions)
    return HeatMap(
        values=Array.of(shown.reshape(ROWS, COLUMNS)),
        rows=[f"{value:.2g}" for value in y],
        columns=[f"{value:.2g}" for value in x],
        row_title=names[up],
        column_title=names[across],
        figure=words,
        caption="" if len(here) <= 2 else "the other numbers are as in the watched episode",
    )


def _dimensions(name: str, count: int, text: str) -> tuple[int, int]:
    if not text:
        return vocabulary.telling(name, count)
    across, up = (int(part) for part in text.split(","))
    if max(across, up) >= count:
        raise SettingsError(f"--dimensions {text} is not there; the observation has the numbers 0 to {count - 1}", "dimensions")
    return across, up


def _span(player: Player, replay: Replay, dimension: int) -> tuple[float, float]:
    """Where the replayed observations lie in this dimension, 1 to 99 %; before there are any, the environment's own bounds."""
    seen = replay.observations[np.flatnonzero(replay.ready)[-10_000:]]
    if len(seen) >= 100:
        low, high = (float(edge) for edge in np.quantile(seen.reshape(len(seen), -1)[:, dimension], (0.01, 0.99)))
        if high > low:
            return low, high
    space: Any = player.env.observation_space
    low, high = float(np.ravel(space.low)[dimension]), float(np.ravel(space.high)[dimension])
    return (low, high) if np.isfinite([low, high]).all() and high - low < 1e3 else (-2.0, 2.0)


def _shown(found: NDArray[np.float32], show: str, actions: tuple[str, ...]) -> tuple[NDArray[np.float32], str]:
    best = found.argmax(1)
    if show == "action":
        words = ", ".join(f"{number} {action}" for number, action in enumerate(actions[:4]))
        return best.astype(np.float32), words
    if show == "lead":
        order = np.sort(found, 1)
        return (order[:, -1] - order[:, -2] if found.shape[1] > 1 else order[:, 0]), "lead of the best action"
    return found.max(1), f"{found.max(1).min():.3g} to {found.max(1).max():.3g}"


def _cells(name: str, actions: tuple[str, ...], player: Player, values: Values, options: SurfaceOptions) -> Table:
    """One cell for each state that has a place on a grid, or a list of states."""
    count = player.reading.observed.states
    found = values(np.arange(count, dtype=np.int32))
    shown, words = _shown(found, options.show, actions)
    low, high = float(shown.min()), float(shown.max())
    tints = (shown - low) / (high - low or 1.0)
    places, marks, caption = _grid(name, player, count)
    if places is None:
        listed = [[str(state), f"{found[state].max():.3g}", actions[int(found[state].argmax())]] for state in range(min(count, LISTED))]
        return Table(columns=["state", "value", "best action"], rows=listed, right=[0, 1], figure=words)
    best = found.argmax(1)
    rows, shades = [], np.zeros(places.shape, np.float32)
    for (row, column), found_state in np.ndenumerate(places):
        state = int(found_state)
        if column == 0:
            rows.append([""] * places.shape[1])
        if state in marks:
            rows[row][column] = marks[state]
            continue
        arrow = ARROWS.get(actions[int(best[state])], actions[int(best[state])])
        rows[row][column] = f"{arrow} {shown[state]:.2f}" if options.show != "action" else arrow
        shades[row, column] = tints[state]
    return Table(columns=[""] * places.shape[1], rows=rows, right=[], shades=Array.of(shades), figure=words, caption=caption)


def _grid(name: str, player: Player, count: int) -> tuple[NDArray[np.int64] | None, dict[int, str], str]:
    """Which state each cell of the grid is, what stands in cells where nothing is decided, and a caption."""
    inner: Any = player.env.unwrapped
    own = vocabulary.family(name)
    if own.startswith("FrozenLake"):
        places = np.arange(count).reshape(inner.nrow, inner.ncol)
        letters = {b"H": "hole", b"G": "goal"}
        marks = {int(places[place]): letters[bytes(tile)] for place, tile in np.ndenumerate(inner.desc) if bytes(tile) in letters}
        return places, marks, "the ice is slippery: an arrow may point away from where the agent wants to go"
    if own.startswith("CliffWalking"):
        places = np.arange(count).reshape(inner.shape)
        cliff = {int(places[place]): "cliff" for place, falls in np.ndenumerate(inner._cliff) if falls}
        return places, cliff | {count - 1: "goal"}, ""
    if own.startswith("Taxi"):
        _, _, passenger, destination = inner.decode(int(player.observation))
        places = np.array([[inner.encode(row, column, passenger, destination) for column in range(5)] for row in range(5)])
        words = vocabulary.TAXI_PLACES
        return places, {}, f"the passenger is at {words[passenger]} and wants to {words[destination]}, as in the watched episode"
    return None, {}, ""
