"""Labelled horizontal bars, to compare values and to pick one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import var

from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row, out_of_sight, status_row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import aligned, figure, fit, plain, width_of

_EIGHTHS = " ▏▎▍▌▋▊▉█"


MIN_BAR = 12
"""Cells that must be left for a bar, with the space around it, so that labels are shown in full."""


class Bars(Surface):
    """One bar for each label. Enter, a click or (when `numbered`) a digit posts `Selected`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    numbered: var[bool] = var(False, init=False)
    """Number the bars 1 to 9, then 0, and accept these digits as keys."""

    class Selected(Message):
        """A bar was chosen."""

        def __init__(self, widget: Bars, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> Bars:
            return self.widget

    def __init__(
        self,
        *,
        numbered: bool = False,
        empty: str = "nothing to show yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.set_reactive(Bars.numbered, numbered)
        self.labels: list[str] = []
        self.values: list[float] = []
        self.cursor = 0
        self.chosen: int | None = None
        self.label_width = 0
        """Minimum width of the labels in cells, so that the bars do not move while labels change."""
        self._second: list[float] = []
        self._names: list[str] = []
        self._high: float | None = None
        self._percent = self._log = False
        self._first = 0
        self._top = 0
        self._seen = 0

    def watch_numbered(self) -> None:
        self.repaint()

    def show(
        self,
        labels: Sequence[str],
        values: Sequence[float],
        high: float | None = None,
        percent: bool = False,
        log: bool = False,
        second: Sequence[float] = (),
        names: Sequence[str] = (),
        chosen: int | None = None,
    ) -> None:
        """Show bars on a scale up to `high` (default: the largest value).

        `second` are values to compare with, each a tick on its bar; `names` are the names of the two series.
        """
        count = min(len(labels), len(values))
        self.labels, self.values = [plain(label) for label in labels[:count]], [float(v) for v in values[:count]]
        self._second, self._names = [float(v) for v in second], [plain(n) for n in names]
        self._high, self._percent, self._log, self.chosen = high, percent, log, chosen
        self.cursor = min(self.cursor, max(0, count - 1))
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.values:
            self._seen = 0
            return []
        rows: list[Row] = []
        if len(self._names) > 1 and height > 3:
            rows.append(
                [
                    Segment("█ ", palette.style("0")),
                    Segment(self._names[0], palette.style("muted")),
                    Segment("   ┃ ", palette.style("held_out", bold=True)),
                    Segment(self._names[1], palette.style("muted")),
                ]
            )
        self._top = len(rows)
        room = height - self._top
        self._seen = len(self.values) if len(self.values) <= room else max(1, room - 1)
        self._first = max(0, min(self._first, len(self.values) - self._seen))
        figures = self._figures()
        number = 2 if self.numbered else 0
        figure_width = max(len(f) for f in figures)
        room = width - figure_width - number
        longest = max(width_of(self.labels, width), min(self.label_width, room // 3))
        label_width = min(longest, max(3, 2 * room // 3 if room - longest >= MIN_BAR else room // 2))
        bar_width = width - label_width - figure_width - number - 3
        if bar_width < 3:
            label_width, bar_width = max(1, width - figure_width - number - 2), 0
        seconds = aligned(self._second, self._percent) if len(self._second) == len(self.values) else []
        second_width = max((len(f) for f in seconds), default=0) + 2
        if bar_width - second_width < MIN_BAR:
            seconds = []
        bar_width -= second_width if seconds else 0
        low, high = self._bounds()
        for i in range(self._first, self._first + self._seen):
            row = self._bar(i, label_width, bar_width, fit(figures[i], figure_width, right=True), low, high, palette)
            rows.append([*row, Segment(fit(seconds[i], second_width, right=True), palette.style("held_out"))] if seconds else row)
        hidden = len(self.values) - self._first - self._seen
        if self._seen < len(self.values) and len(rows) < height:
            words = out_of_sight(self._first, hidden)
            rows.append(status_row("", width, palette, words))
        return rows

    def _figures(self) -> list[str]:
        """Numbers of one column, unless that would make 0 of the small ones of a log scale."""
        positive = [v for v in self.values if v > 0 and math.isfinite(v)]
        if self._log and positive and max(positive) > 1000 * min(positive):
            return [figure(v) for v in self.values]
        return aligned(self.values, self._percent)

    def _bounds(self) -> tuple[float, float]:
        """The values at the left and right end of the bars; on a log scale, their decimal logarithms."""
        values = [v for v in (*self.values, *self._second) if math.isfinite(v)]
        if self._log:
            positive = [v for v in values if v > 0] or [1.0]
            high = self._high if self._high and self._high > 0 else max(positive)
            return math.floor(math.log10(min(positive)) - 1e-9), math.log10(high)
        high = max([v for v in values if v > 0], default=0.0) if self._high is None else self._high
        low = min([v for v in values if v < 0], default=0.0)
        return (low, high) if high > low else (low, low + 1.0)

    def _share(self, value: float, low: float, high: float) -> float:
        if not math.isfinite(value):
            return 1.0 if value > 0 else 0.0
        if self._log:
            if value <= 0:
                return 0.0
            value = math.log10(value)
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 1.0

    def _bar(self, index: int, label_width: int, bar_width: int, number: str, low: float, high: float, palette: Palette) -> Row:
        chosen = index == self.chosen
        here = self.has_focus and index == self.cursor
        row: Row = [Segment("▸" if chosen else " ", palette.style("accent", bold=True))]
        if self.numbered:
            digit = str((index + 1) % 10) if index < 10 else " "
            row.append(Segment(digit + " ", palette.style("accent" if self.has_focus else "muted")))
        row.append(Segment(fit(self.labels[index], label_width), palette.style("accent" if here else "text", bold=chosen, reverse=here)))
        if bar_width:
            row.append(Segment(" ", palette.blank))
            row += self._bar_cells(index, bar_width, low, high, palette)
        row.append(Segment(" ", palette.blank))
        row.append(Segment(number, palette.style("text" if chosen or here else "muted", bold=chosen)))
        return row

    def _bar_cells(self, index: int, width: int, low: float, high: float, palette: Palette) -> Row:
        value = self.values[index]
        zero = self._share(0.0, low, high) if low < 0 and not self._log else 0.0
        share = self._share(value, low, high)
        name = "held_out" if index == self.chosen else "0"
        style = palette.style(name)
        start, end = sorted((round(zero * width * 8), round(share * width * 8)))
        row = [Segment(" ", style)] * width
        row[-(-start // 8) : end // 8] = [Segment("█", style)] * max(0, end // 8 - -(-start // 8))
        if start % 8:  # filled from an eighth on to the right: the block up to there, reversed
            row[start // 8] = Segment(_EIGHTHS[start % 8], Palette.inverse(style))
        if end % 8 and end // 8 >= -(-start // 8):
            row[end // 8] = Segment(_EIGHTHS[end % 8], style)
        if zero:
            at = min(width - 1, round(zero * width * 8) // 8)
            if row[at].text == " ":
                row[at] = Segment("│", palette.style("faint"))
        if index < len(self._second) and math.isfinite(self._second[index]):
            tick = palette.style("held_out", bold=True)
            at = min(width - 1, int(self._share(self._second[index], low, high) * width))
            filled = row[at].text == "█" and not palette.shaded
            # on a filled cell, the tick has the bar's colour behind it, since the background would look like a hole
            row[at] = Segment("┃", _on(palette, "background" if index == self.chosen else "held_out", name) if filled else tick)
        return _joined(row)

    def action_move(self, by: int) -> None:
        if self.values:
            self.cursor = min(max(self.cursor + by, 0), len(self.values) - 1)
            self._first = min(max(self._first, self.cursor - self._seen + 1), self.cursor)
            self.repaint()

    def action_select(self) -> None:
        self._pick(self.cursor)

    def _pick(self, index: int) -> None:
        if 0 <= index < len(self.values):
            self.cursor = index
            self.repaint()
            self.post_message(self.Selected(self, index))

    def on_key(self, event: events.Key) -> None:
        if self.numbered and event.key.isdecimal() and len(event.key) == 1:
            index = (int(event.key) - 1) % 10
            if index < len(self.values):
                event.stop()
                event.prevent_default()
                self._pick(index)

    def on_click(self, event: events.Click) -> None:
        line = event.get_content_offset_capture(self).y - self._top
        if 0 <= line < self._seen:
            self._pick(self._first + line)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(event, -1)

    def _scroll(self, event: events.MouseEvent, by: int) -> None:
        first = max(0, min(self._first + by, len(self.values) - self._seen))
        if first != self._first:
            event.stop()
            self._first = first
            self.repaint()


def _on(palette: Palette, foreground: str, background: str) -> Style:
    """Style of text in one named colour on another."""
    return Style(color=Color.from_rgb(*palette.colour(foreground)), bgcolor=Color.from_rgb(*palette.colour(background)), bold=True)


def _joined(row: Row) -> Row:
    """The row with neighbours of one style joined."""
    result: Row = []
    for segment in row:
        if result and result[-1].style is segment.style:
            result[-1] = Segment(result[-1].text + segment.text, segment.style)
        else:
            result.append(segment)
    return result
