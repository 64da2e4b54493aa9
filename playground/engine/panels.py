"""Panels: what an architecture shows, as plain data. The set of kinds is closed, and the screen has one widget for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:  # numpy is loaded by whoever makes or reads an array: a list of runs, or the help, does neither
    from numpy.typing import ArrayLike, NDArray

MAX_ELEMENTS = 1_000_000
"""Most elements of an array in a panel."""


class Array(msgspec.Struct, frozen=True):
    """A small dense array, as bytes (little-endian, C order)."""

    shape: tuple[int, ...]
    dtype: Literal["u1", "i4", "f4"]
    data: bytes

    @classmethod
    def of(cls, values: ArrayLike) -> Array:
        """From anything numpy takes (a CPU tensor too): uint8 stays, other integers become int32, floats float32."""
        import numpy as np

        array = np.asarray(values)
        dtype: Literal["u1", "i4", "f4"] = "u1" if array.dtype == np.uint8 else "i4" if array.dtype.kind in "iub" else "f4"
        return cls(array.shape, dtype, np.ascontiguousarray(array, dtype="<" + dtype).tobytes())

    def numpy(self) -> NDArray[Any]:
        """As a read-only numpy array. Raises `ValueError` when the bytes do not match the shape."""
        import numpy as np

        count = math.prod(self.shape)
        if min(self.shape, default=0) < 0 or count > MAX_ELEMENTS:
            raise ValueError(f"an array of shape {self.shape} does not fit in a panel")
        return np.frombuffer(self.data, dtype="<" + self.dtype, count=count).reshape(self.shape)


class Panel(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower, tag_field="kind"):
    """Base of all kinds."""

    figure: str = ""
    """The one figure that matters, shown at the top right."""
    caption: str = ""
    """One dim line about what is shown now; empty: the panel's hint is shown instead."""
    remark: str = ""
    """What of the typed text the model cannot read; empty when nothing."""
    parts: list[str] = []
    """Address of the part of the model that each row, bar, image or word is about, as interventions name it; a single one is that of the
    whole panel. Empty, also for one of them: it is about none."""

    def __post_init__(self) -> None:
        """Raises `TypeError` for a tensor or a numpy value, which cannot be sent."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            inner = next(iter(value), None) if type(value) in (list, tuple) else value
            if type(inner).__module__.partition(".")[0] in ("torch", "numpy"):
                raise TypeError(f"{type(self).__name__}.{name} holds a {type(inner).__name__}; use .tolist(), or Array.of for an Array")


class HeatMap(Panel, frozen=True, kw_only=True):
    """A matrix as coloured cells."""

    values: Array  # (rows, columns), f4
    rows: list[str] = []
    columns: list[str] = []
    row_title: str = ""
    column_title: str = ""
    signed: bool = False
    """Diverging colours around zero; otherwise a sequential scale from `low` to `high`."""
    low: float | None = None
    high: float | None = None
    counts: bool = False
    """Print the values in the cells where they fit (a confusion matrix)."""
    percent: bool = False
    """Values from 0 to 1, shown as percentages."""
    column_parts: list[str] = []
    """What of its row's part each column is about, behind the address: `.head.3`, `@5`."""
    hatched: Array | None = None  # (rows, columns) u1
    """1 for the cells that are hatched, such as those that a value is only extrapolated to."""


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
    """Position of the selected image."""
    row_title: str = ""
    """What grows upwards, where the images are a square sheet of a plane."""
    column_title: str = ""
    """What grows to the right there."""


class Bars(Panel, frozen=True, kw_only=True):
    """Labelled horizontal bars: probabilities, norms, Q-values."""

    labels: list[str]
    values: list[float]
    high: float | None = None
    """Length of a full bar; None: the largest value."""
    percent: bool = False
    log: bool = False
    """Bar lengths on a log scale, for values of very different size."""
    second: list[float] = []
    """A second, thinner bar for each label."""
    names: list[str] = []
    """Names of the first and the second bar, when there are two."""
    chosen: int | None = None
    """Position of the highlighted bar."""
    appends: list[str] = []
    """For candidates that continue a prompt: the text that picking the bar appends."""
    read: dict[str, str] = {}
    """For candidates that continue a prompt: the values that the model used for options nobody has set, by name."""
    sets: list[str] = []
    """For alternatives to a token: the value that picking the bar gives to the option that the stage `changes`."""


class Tokens(Panel, frozen=True, kw_only=True):
    """Words in reading order, each with a value from 0 to 1 (its probability)."""

    words: list[str]
    values: list[float | None]
    ends: tuple[str, str] = ("0", "100 %")
    """What the values 0 and 1 stand for."""
    notes: list[str] = []
    """What is shown for each word while the cursor is on it."""
    text: str = ""
    """The words as running text."""
    ended: bool = False
    """True when nothing can follow: the passage is complete."""
    place: int | None = None
    """Position of the highlighted word: the selected one, or the one with the largest value."""
    alternatives: Bars | None = None
    """Other candidates for `place`, the most likely first."""
    masked: str = ""
    """Value of the option that the stage `changes` with the word at `place` masked; empty: it is masked already, or cannot be."""
    filled: str = ""
    """Value of that option with every mask filled in; empty: there is none."""
    filled_values: list[float | None] = []
    """Probability of each word that fills a mask, at the moment it was filled in; None for the other words."""


class Scatter(Panel, frozen=True, kw_only=True):
    """Points in the plane, by group, over an optional background."""

    points: Array  # (count, 2) f4
    groups: list[int] = []
    names: list[str] = []
    """Name of each group."""
    labels: list[str] = []
    """A label beside each point."""
    x_title: str = ""
    y_title: str = ""
    background: Array | None = None  # (rows, columns) f4, top row first
    bounds: tuple[float, float, float, float] | None = None  # left, right, bottom, top
    arrows: Array | None = None  # (count, 2) f4: a direction at each point
    marked: int | None = None
    """Position of a point that stands out, in front of all others."""
    pick: Literal["point", "place"] = "point"
    """What selecting sets the panel's `selects` option to: the point's position in the list, or the place in the plane as `x,y`."""


class Lines(Panel, frozen=True, kw_only=True):
    """A few named curves over a common axis (not over training steps: those are charts)."""

    x: list[float]
    series: dict[str, list[float | None]]
    x_title: str = ""
    x_names: list[str] = []
    """What x = 0, 1, 2 … stand for, such as the words that were read; empty: numbers."""
    percent: bool = False
    """Values from 0 to 1, shown as percentages."""
    log: bool = False
    least: tuple[float, float] | None = None
    """What the vertical axis covers at the least: 0 to 1 for a share whose level matters more than its changes."""
    sequence: bool = True
    """Whether its last value is the newest one and stands beside its name; not so of the bins of a histogram."""


class Table(Panel, frozen=True, kw_only=True):
    """Rows of text; numbers are given as text with their units."""

    columns: list[str]
    rows: list[list[str]]
    right: list[int] = []
    """Columns aligned right."""
    shades: Array | None = None  # (rows, columns) f4 from 0 to 1: how strongly each cell is tinted
    ids: list[int] = []
    """What selecting a row sets the panel's `selects` option to; empty: its position."""


class Frame(Panel, frozen=True, kw_only=True):
    """One picture, such as the view of an environment, with what an agent makes of it."""

    pixels: Array  # (height, width, 3) u1; may be empty (0, 0, 3) when there is `text`
    text: str = ""
    """Shown instead of the pixels: the rows of a text environment. ANSI colours (SGR) are kept, other control characters are dropped."""
    bars: Bars | None = None
    """The agent's estimate of each action, the chosen one highlighted."""
    facts: dict[str, str] = {}
    """Shown beside it, by name and in order: the step, the return, the reward; numbers are given as text with their units."""
    controls: dict[str, int] = {}
    """The action that each key (`left`, `right`, `up`, `down`, `space`) takes when a person plays."""
    ended: bool = False
    """The episode is over: the next step begins another."""
    fps: float = 0.0
    """Steps per second of the environment in real time; 0: it has no time of its own."""
    idle: int | None = None
    """The action that does nothing, which is taken in real time while a person plays and presses no key; None: there is none."""
    ends: list[bool] = []
    """Whether the scene ends at the left and at the right edge of the picture, or goes on there; empty: not known."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What stands after one layer of a forward pass: images, labelled values, or values alone."""

    title: str
    images: Array | None = None
    """(count, height, width) f4 or u1, or (count, height, width, 3) u1."""
    values: list[float] = []
    labels: list[str] = []
    """Of the values, as many as there are; without values they are words, and without labels each value is a cell."""
    percent: bool = False
    signed: bool = False
    """Colours diverge around zero."""
    chosen: int | None = None
    """Position of the highlighted label."""
    selects: dict[str, int] = {}
    """Options, of this or other panels, that selecting the layer sets, such as `{"layer": 1}`."""


class Layers(Panel, frozen=True, kw_only=True):
    """A forward pass as one picture: what stands after each layer, from the input to the output."""

    layers: list[Layer]


AnyPanel = HeatMap | ImageGrid | Bars | Tokens | Scatter | Lines | Table | Frame | Layers


def is_empty(panel: AnyPanel) -> bool:
    """Whether there is nothing to draw: then its caption says why."""
    match panel:
        case Bars():
            return not panel.labels
        case Lines():
            return not panel.series
        case Table():
            return not panel.rows
        case Tokens():
            return not panel.words
        case Layers():
            return not panel.layers
        case Scatter():
            return 0 in panel.points.shape
        case ImageGrid():
            return 0 in panel.images.shape
    return False
