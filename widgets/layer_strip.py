"""A forward pass as one picture: what stands after each layer, from the input at the left to the output at the right."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from dlplay.widgets.drawing.cells import level_rows, resample, rgb_rows
from dlplay.widgets.drawing.palette import Palette, in_bands, to_levels
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit, plain

ARROW = " → "
LEAST = 9
"""Cells that a layer needs; where they do not all fit side by side, they go on in a second row."""
SMALLEST_TILE = 6
"""Pixels of the shorter side of an image below which little can be seen in it; then fewer images are shown."""
LABELS = (16, 14, 12, 10, 8, 6, 5, 4, 0)
"""Cells of the longest label that it is tried to have room for, in turn."""
SHORT = 5
"""Cells of labels below which percentages have no sign, but in the output."""
LARGEST_CELL = 4
"""Pixels of the side of a number."""
LONG = 3
"""Times that an image is longer than wide, or wider than long, from which on it is stretched to fill its place."""


@dataclass(frozen=True)
class Layer:
    """What stands after one layer: images, labelled values, or values alone."""

    title: str
    images: NDArray[np.generic] | None = None
    """(count, height, width) of any numbers, or (count, height, width, 3) u1; they share one scale."""
    values: Sequence[float] = field(default_factory=tuple)
    labels: Sequence[str] = field(default_factory=tuple)
    """Of the values, as many as there are; without values they are words, and without labels the values are cells."""
    percent: bool = False
    signed: bool = False
    """Of images and values: colours diverge around zero."""
    chosen: int | None = None
    """The highlighted label."""
    can_be_selected: bool = False


class LayerStrip(Surface):
    """Layers side by side with arrows between them, or in several rows where they do not fit. Arrow keys move the cursor among those that
    can be selected; enter or a click posts `Selected`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "left", show=False),
        Binding("right", "move(1)", "right", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    class Selected(Message):
        """A layer was selected."""

        def __init__(self, widget: LayerStrip, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> LayerStrip:
            return self.widget

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.shown: list[Layer] = []
        self.selected: int | None = None
        self._cursor = 0
        self._places: list[tuple[int, int, int, int]] = []
        """Top and bottom row, left and right column of each layer; the second of each is one past the last."""

    def show(self, layers: Sequence[Layer]) -> None:
        """Raises `ValueError` for images of another shape, or values and labels of different lengths."""
        for layer in layers:
            shape: tuple[int, ...] = np.asarray(layer.images).shape if layer.images is not None else (0, 1, 1)
            if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
                raise ValueError(f"{layer.title}: images are (count, height, width) or (count, height, width, 3), not {shape}")
            if layer.labels and layer.values and len(layer.labels) != len(layer.values):
                raise ValueError(f"{layer.title}: {len(layer.labels)} labels for {len(layer.values)} values")
        self.shown = list(layers)
        self.repaint()

    def select(self, index: int | None) -> None:
        """Mark a layer as the one that is looked at elsewhere."""
        if index != self.selected:
            self.selected = index
            self.repaint()

    @property
    def cursor(self) -> int | None:
        """The layer under the cursor; None where none can be selected."""
        free = [index for index, layer in enumerate(self.shown) if layer.can_be_selected]
        return min(free, key=lambda index: abs(index - self._cursor)) if free else None

    def action_move(self, by: int) -> None:
        free = [index for index, layer in enumerate(self.shown) if layer.can_be_selected]
        if free and self.cursor is not None:
            self._cursor = free[min(max(free.index(self.cursor) + by, 0), len(free) - 1)]
            self.repaint()

    def action_select(self) -> None:
        if self.cursor is not None:
            self.post_message(self.Selected(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        x, y = event.get_content_offset_capture(self)
        for index, (top, bottom, left, right) in enumerate(self._places):
            if top <= y < bottom and left <= x < right and index < len(self.shown) and self.shown[index].can_be_selected:
                self._cursor = index
                self.repaint()
                self.post_message(self.Selected(self, index))

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.shown:
            return []
        count, arrow = len(self.shown), len(ARROW)
        side_by_side = min(count, max(1, (width + arrow) // (LEAST + arrow)))
        lines = -(-count // side_by_side)
        side_by_side = -(-count // lines)
        tall = max(2, (height - lines + 1) // lines)
        rows: list[Row] = []
        self._places = []
        for start in range(0, count, side_by_side):
            if rows:
                rows.append([])
            rows += self._line(range(start, min(start + side_by_side, count)), width, tall, palette, top=len(rows))
        return rows

    def _line(self, numbers: range, width: int, height: int, palette: Palette, *, top: int) -> list[Row]:
        arrow = len(ARROW)
        layers = [self.shown[number] for number in numbers]
        goes_on = numbers.stop < len(self.shown)
        room = max(0, width - arrow * (len(layers) - 1 + goes_on))
        widths, signs = _widths(layers, room, self.shown[-1])
        edges = [0, *itertools.accumulate(widths)]
        styles = [self._title_style(number) for number in numbers]
        drawn = [
            _layer(layer, cells, height, palette, *style, sign=signs or layer is self.shown[-1])
            for layer, cells, style in zip(layers, widths, styles, strict=True)
        ]
        lefts = [edge + arrow * i for i, edge in enumerate(edges[:-1])]
        self._places += [(top, top + height, left, left + cells) for left, cells in zip(lefts, widths, strict=True)]
        middle = 1 + (max(map(len, drawn)) - 1) // 2
        found: list[Row] = []
        for y in range(height):
            line: Row = []
            for i, (rows, cells) in enumerate(zip(drawn, widths, strict=True)):
                line += list(Strip(rows[y] if y < len(rows) else []).adjust_cell_length(cells, palette.blank))
                if i + 1 < len(layers) or goes_on:
                    line.append(Segment(ARROW if y == middle else " " * arrow, palette.style("muted")))
            found.append(line)
        return found

    def _title_style(self, number: int) -> tuple[str, bool, bool]:
        """Its colour, whether it is bold, and whether it is the cursor."""
        if number == self.selected:
            return "accent", True, self.has_focus and number == self.cursor
        return ("text" if self.shown[number].can_be_selected else "muted"), False, self.has_focus and number == self.cursor


def _widths(layers: Sequence[Layer], room: int, output: Layer) -> tuple[list[int], bool]:
    """Cells of each layer: its share, but at least what its title needs and, as far as there is room, its labels. And whether there is room
    for the signs of percentages, which the output always has."""
    titles = [cell_len(plain(layer.title)) for layer in layers]
    ways = [*((longest, True) for longest in LABELS if longest > SHORT), *((longest, False) for longest in LABELS)]
    needs = (
        ([max(title, _needed(layer, longest, sign or layer is output)) for title, layer in zip(titles, layers, strict=True)], sign)
        for longest, sign in ways
    )
    least, signs = next(((need, sign) for need, sign in needs if sum(need) <= room), ([0] * len(layers), False))
    widths = [0.0] * len(layers)
    free, rest = set(range(len(layers))), float(room)
    while free:
        share = rest / sum(_weight(layers[i]) for i in free)
        short = {i for i in free if share * _weight(layers[i]) < least[i]}
        for i in short or free:
            widths[i] = least[i] if short else share * _weight(layers[i])
            rest -= widths[i]
        free = free - short if short else set()
    edges = [0, *np.rint(np.cumsum(widths)).astype(int).tolist()]
    return [end - start for start, end in itertools.pairwise(edges)], signs


def _needed(layer: Layer, longest: int, sign: bool) -> int:
    """Cells that its words, or its labels and their values need, of labels at most so many."""
    labels = min(longest, max((cell_len(plain(label)) for label in layer.labels), default=0))
    return labels + 2 + max(map(cell_len, _figures(layer, sign))) if labels and layer.values else labels


def _weight(layer: Layer) -> float:
    """How much of the width a layer gets: many feature maps more than one image, text and bars more than numbers."""
    if layer.images is not None:
        return 1.3 if len(layer.images) == 1 else 1.6
    return 1.2 if layer.labels else 1.0


def _layer(layer: Layer, width: int, height: int, palette: Palette, colour: str, bold: bool, reverse: bool, sign: bool) -> list[Row]:
    if width < 1:
        return []
    title: Row = [Segment(fit(plain(layer.title), width), palette.style(colour, bold=bold, reverse=reverse))]
    if layer.images is not None and np.asarray(layer.images).size:
        return [title, *_images(np.asarray(layer.images), layer.signed, width, height - 1, palette)]
    if layer.labels and not layer.values:
        return [title, *_words(layer.labels, width, height - 1, palette)]
    if layer.labels:
        return [title, *_bars(layer, width, height - 1, palette, sign)]
    return [title, *_cells(np.asarray(layer.values, dtype=np.float64), layer.signed, width, height - 1, palette)]


def _images(images: NDArray[np.generic], signed: bool, width: int, height: int, palette: Palette) -> list[Row]:
    """As many images as fit, each as large as that allows."""
    count, tall, wide = images.shape[:3]
    columns, columns_wide, rows_tall = _tiles(count, tall, wide, width, 2 * height)
    if images.ndim == 3:
        low, high = _range(np.asarray(images, dtype=np.float64), signed)
    scale = palette.signed if signed else palette.levels
    found: list[Row] = []
    cells = -(-rows_tall // 2)
    for first in range(0, count, columns):
        if len(found) + cells > height:
            break
        lines: list[Row] = [[] for _ in range(cells)]
        for image in images[first : first + columns]:
            pixels = resample(image, rows_tall, columns_wide)
            picture = rgb_rows(pixels, palette) if images.ndim == 4 else level_rows(to_levels(pixels, low, high, signed), scale, palette)
            for line, row in zip(lines, picture, strict=True):
                line += [*row, Segment(" ", palette.blank)]
        found += [*lines, []] if len(found) + cells < height else lines
    return found


def _range(values: NDArray[np.float64], signed: bool) -> tuple[float, float]:
    """The scale of the finite ones, zero within it; around zero when signed."""
    finite = values[np.isfinite(values)]
    high = float((np.abs(finite) if signed else finite).max(initial=0.0))
    return -high if signed else float(finite.min(initial=0.0)), high


def _tiles(count: int, tall: int, wide: int, width: int, height: int) -> tuple[int, int, int]:
    """How many images stand side by side, and the pixel columns and rows of one: the largest at which all fit, or the smallest that can be
    seen. `height` is in pixels, half a cell each; there is a cell between two images, and a row of cells between two rows."""
    if count == 1 and max(wide / tall, tall / wide) > LONG:
        return 1, width, max(2, min(height, 2 * tall))
    best = (1, 1, 1)
    for columns in range(1, count + 1):
        across = (width + 1) // columns - 1
        lines = -(-count // columns)
        down = (height + 2) // lines - 2
        scale = min(across / wide, down / tall)
        scale = float(int(scale)) if scale >= 1 else scale
        size = (max(1, int(wide * scale)), max(1, int(tall * scale)))
        if scale > 0 and min(size) >= SMALLEST_TILE and size[1] > best[2]:
            best = (columns, size[0], size[1])
    if best[2] > 1:
        return best
    scale = min(1.0, max(SMALLEST_TILE / min(wide, tall), min(width / wide, height / tall) / 4))
    size = (min(width, max(1, int(wide * scale))), min(height, max(1, int(tall * scale))))
    return max(1, (width + 1) // (size[0] + 1)), size[0], size[1]


def _cells(values: NDArray[np.float64], signed: bool, width: int, height: int, palette: Palette) -> list[Row]:
    """Every value as a square of pixels, row by row, as large as fits; those that do not fit are averaged with their neighbours."""
    if not len(values) or height < 1:
        return []
    room = (width, 2 * height)
    side = max(1, min(LARGEST_CELL, math.isqrt(room[0] * room[1] // len(values))))
    while side > 1 and -(-len(values) // (room[0] // side)) * side > room[1]:
        side -= 1
    across = min(len(values), max(1, room[0] // side))
    lines = min(-(-len(values) // across), room[1] // side)
    if len(values) > across * lines:
        values = np.asarray(resample(values[:, None], across * lines, 1))[:, 0]
    scale = palette.signed if signed else palette.levels
    levels = in_bands(to_levels(values, *_range(values, signed), signed), scale)
    grid = np.full(across * lines, scale.nothing)
    grid[: len(levels)] = levels
    return level_rows(grid.reshape(lines, across).repeat(side, axis=0).repeat(side, axis=1), scale, palette)


def _words(words: Sequence[str], width: int, height: int, palette: Palette) -> list[Row]:
    """The words as running text, the last ones where not all fit."""
    lines: list[str] = []
    for word in map(plain, words):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return [[Segment(fit(line, width), palette.style("text"))] for line in lines[-height:]]


def _told_apart(labels: list[str]) -> list[str]:
    """Without the words that all of them begin with."""
    words = [label.split() for label in labels]
    shared = 0
    while len(words) > 1 and all(len(each) > shared + 1 and each[shared] == words[0][shared] for each in words):
        shared += 1
    return [" ".join(each[shared:]) for each in words] if shared else labels


def _figures(layer: Layer, sign: bool) -> list[str]:
    return [f"{100 * value:.0f}{' %' * sign}" if layer.percent else f"{value:.2f}" for value in map(float, layer.values)]


def _bars(layer: Layer, width: int, height: int, palette: Palette, sign: bool) -> list[Row]:
    """A line for each label: the label, its value, and behind both a bar as long as the value."""
    labels, values = [plain(label) for label in layer.labels], [float(value) for value in layer.values]
    if max(map(cell_len, labels), default=0) > width - 6:
        labels = _told_apart(labels)
    high = max((abs(value) for value in values if np.isfinite(value)), default=0.0) or 1.0
    figures = _figures(layer, sign)
    figure_width = max(map(cell_len, figures), default=0)
    label_width = min(max(map(cell_len, labels), default=0), max(3, width - figure_width - 2))
    bar = width - label_width - figure_width - 2 if len(values) > 1 or layer.percent else 0  # one number alone has no length to compare
    found: list[Row] = []
    for i, (label, value, figure) in enumerate(zip(labels, values, figures, strict=True)):
        chosen = i == layer.chosen
        style = palette.style("held_out" if chosen else "text", bold=chosen)
        row: Row = [Segment(fit(label, label_width) + " ", style)]
        if bar >= 3:
            filled = round(bar * min(1.0, abs(value) / (1.0 if layer.percent else high))) if np.isfinite(value) else 0
            row += [
                Segment(("█" if value >= 0 else "▒") * filled, palette.style("held_out" if chosen else "0")),
                Segment(" " * (bar - filled), palette.blank),
            ]
        row += [Segment(" ", palette.blank), Segment(fit(figure, figure_width, right=True), palette.style("text" if chosen else "muted"))]
        found.append(row)
    return found[:height]
