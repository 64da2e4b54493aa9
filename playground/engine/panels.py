"""What an architecture shows is data: a closed set of panels. The screen has one widget for each kind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:  # numpy is loaded by whoever makes or reads an array: a list of runs, or the help, does neither
    from numpy.typing import ArrayLike, NDArray

MAX_CELLS = 1_000_000
"""No array in a panel may hold more elements: a panel is for the eye."""


class Array(msgspec.Struct, frozen=True):
    """A small dense array that travels as bytes (little-endian, C order)."""

    shape: tuple[int, ...]
    dtype: Literal["u1", "i4", "f4"]
    data: bytes

    @classmethod
    def of(cls, values: ArrayLike) -> Array:
        """From anything numpy takes (a CPU tensor too): u1 stays, other integers become i4, floats f4."""
        import numpy as np

        array = np.asarray(values)
        dtype: Literal["u1", "i4", "f4"] = "u1" if array.dtype == np.uint8 else "i4" if array.dtype.kind in "iub" else "f4"
        return cls(array.shape, dtype, np.ascontiguousarray(array, dtype="<" + dtype).tobytes())

    def numpy(self) -> NDArray[Any]:
        """As a read-only numpy array. Raises `ValueError` when shape and bytes do not fit."""
        import numpy as np

        count = math.prod(self.shape)
        if min(self.shape, default=0) < 0 or count > MAX_CELLS:
            raise ValueError(f"an array of shape {self.shape} does not fit in a panel")
        return np.frombuffer(self.data, dtype="<" + self.dtype, count=count).reshape(self.shape)


class Panel(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower, tag_field="kind"):
    """Base of all kinds."""

    figure: str = ""
    """The one figure that matters, shown at the top right."""
    caption: str = ""
    """One dim line about what is seen just now; empty: the panel's standing hint is shown."""


class HeatMap(Panel, frozen=True, kw_only=True):
    """A matrix as coloured cells."""

    values: Array  # (rows, columns), f4
    rows: list[str] = []
    columns: list[str] = []
    row_title: str = ""
    column_title: str = ""
    signed: bool = False
    """Diverging colours with zero in the background's shade; otherwise levels from `low` to `high`."""
    low: float | None = None
    high: float | None = None
    counts: bool = False
    """Print the values in the cells where they fit (a confusion matrix)."""


class ImageGrid(Panel, frozen=True, kw_only=True):
    """Small images side by side, each with a label."""

    images: Array  # (count, height, width) f4 or u1, or (count, height, width, 3) u1
    labels: list[str] = []
    ids: list[int] = []
    """What selecting an image sets the panel's `selects` option to; empty: its position."""
    wrong: list[bool] = []
    """Marks an image as a mistake (a cross beside its label)."""
    signed: bool = False
    selected: int | None = None
    """Position of the image that is looked at now."""


class Bars(Panel, frozen=True, kw_only=True):
    """Labelled horizontal bars: probabilities, norms, Q-values."""

    labels: list[str]
    values: list[float]
    high: float | None = None
    """Length of a full bar; None: the largest value."""
    percent: bool = False
    log: bool = False
    """Bar lengths on a log scale (norms of very different size)."""
    second: list[float] = []
    """A second, thinner bar for each label."""
    names: list[str] = []
    """What the first and the second bar are, when there are two."""
    chosen: int | None = None
    """Position of the bar that stands out."""
    appends: list[str] = []
    """For candidates of a prompt: the text that picking the bar adds to it."""
    read: dict[str, str] = {}
    """For candidates of a prompt: what the model read in place of options that nobody has set, by their names."""
    sets: list[str] = []
    """For alternatives of a token: what picking the bar sets the option to that the stage `changes`."""


class Tokens(Panel, frozen=True, kw_only=True):
    """Words in reading order, each with a value from 0 to 1 (its probability)."""

    words: list[str]
    values: list[float | None]
    notes: list[str] = []
    """What the cursor reads out at each word."""
    text: str = ""
    """The words as running text."""
    ended: bool = False
    """True when nothing follows (a passage that came to its end)."""
    place: int | None = None
    """Position of the word that stands out: the one that is looked at, the one with the largest value."""
    alternatives: Bars | None = None
    """What else might stand at `place`, the likeliest first."""
    masked: str = ""
    """What the option that the stage `changes` becomes when the word at `place` is masked; empty: it is masked already, or cannot be."""
    filled: str = ""
    """What that option becomes when every mask is filled; empty: there is none."""
    filled_values: list[float | None] = []
    """How probable each word is that fills a mask, at the moment at which it does; None at the other words."""


class Scatter(Panel, frozen=True, kw_only=True):
    """Points in the plane, by group, over an optional background."""

    points: Array  # (count, 2) f4
    groups: list[int] = []
    names: list[str] = []
    """Name of each group."""
    labels: list[str] = []
    """A word beside each point."""
    x_title: str = ""
    y_title: str = ""
    background: Array | None = None  # (rows, columns) f4, top row first
    bounds: tuple[float, float, float, float] | None = None  # left, right, bottom, top
    arrows: Array | None = None  # (count, 2) f4: a direction at each point
    pick: Literal["point", "place"] = "point"
    """What selecting sets the panel's `selects` option to: the point's position in the list, or the place in the plane as `x,y`."""


class Lines(Panel, frozen=True, kw_only=True):
    """A few named curves over a common axis (not over training steps: those are charts)."""

    x: list[float]
    series: dict[str, list[float | None]]
    x_title: str = ""
    percent: bool = False
    """Values are shares (0..1), shown in per cent."""
    log: bool = False


class Table(Panel, frozen=True, kw_only=True):
    """Rows of text; numbers are given as text with their units."""

    columns: list[str]
    rows: list[list[str]]
    right: list[int] = []
    """Columns aligned right."""
    shades: Array | None = None  # (rows, columns) f4 in 0..1: how strongly each cell is tinted


class Frame(Panel, frozen=True, kw_only=True):
    """One picture, such as the view of an environment, and what an agent in it sees and wants."""

    pixels: Array  # (height, width, 3) u1; may be empty (0, 0, 3) when there is `text`
    text: str = ""
    """Drawn in place of the pixels: the rows of a text environment; SGR colours are understood, other control characters are dropped."""
    bars: Bars | None = None
    """What the agent makes of it: the value of each action, the chosen one marked."""
    facts: dict[str, str] = {}
    """What goes with it, by name and in order: the step, the return, the reward; numbers are given as text with their units."""
    controls: dict[str, int] = {}
    """Which action a person takes with which key (`left`, `right`, `up`, `down`, `space`)."""
    ended: bool = False
    """The episode is over: the next step begins another."""
    fps: float = 0.0
    """Steps a second at which the environment runs in real time; 0: it has no time of its own."""


AnyPanel = HeatMap | ImageGrid | Bars | Tokens | Scatter | Lines | Table | Frame
