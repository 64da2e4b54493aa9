"""Curves over steps, with zoom, pan and a cursor that reads out values, guides such as baselines, and marks where a setting changed."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import var

from dlplay.widgets.charts.axis import nice_end
from dlplay.widgets.charts.chart import ChartState, Curve, Guide, Mark, Note, PreparedCurve
from dlplay.widgets.charts.curves import clean, smooth
from dlplay.widgets.charts.plot import Plot, draw
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from dlplay.widgets.drawing.surface import Surface

SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)


class LineChart(Surface):
    """Curves with axes that follow the data. Set `log_scale`, `smoothing`, `percent`, `unit` and the `x_…` at any time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "cursor left", show=False),
        Binding("right", "move(1)", "cursor right", show=False),
        Binding("shift+left", "pan(-1)", "pan left", show=False),
        Binding("shift+right", "pan(1)", "pan right", show=False),
        Binding("i", "zoom(0.5)", "zoom in", show=False),
        Binding("o", "zoom(2.0)", "zoom out", show=False),
        Binding("l", "toggle_log", "log or linear", show=False),
        Binding("k", "cycle_smoothing", "smoothing", show=False),
        Binding("escape,home", "fit", "fit all", show=False),
    ]

    @dataclasses.dataclass
    class Moved(Message):
        """A person moved the cursor to `x`, or took it away (None)."""

        chart: LineChart
        x: float | None

        @property
        def control(self) -> LineChart:
            return self.chart

    log_scale: var[bool] = var(False, init=False)
    """Logarithmic y axis (the name `log` is taken by Textual's logger)."""
    smoothing: var[float] = var(0.0, init=False)
    """Weight of the past in an exponential moving average, 0 (off) to 0.99."""
    percent: var[bool] = var(False, init=False)
    """Values are fractions (0..1), shown in per cent."""
    unit: var[str] = var("", init=False)
    x_title: var[str] = var("step", init=False)
    x_names: var[tuple[str, ...]] = var((), init=False)
    """What each whole number on the x axis stands for: choices side by side. Empty: numbers."""
    x_powers: var[bool] = var(False, init=False)
    """x is a power of ten, which the axis and the readout show as the number itself: 0.001 for -3."""
    x_axis: var[bool] = var(True, init=False)
    """Whether the x axis stands below the plot; of charts one below the other the lowest one has it (see `stack`)."""

    @dataclasses.dataclass
    class Looked(Message):
        """A person zoomed or panned to this part of the x axis, or to all of it (None)."""

        chart: LineChart
        window: tuple[float, float] | None

        @property
        def control(self) -> LineChart:
            return self.chart

    def __init__(
        self,
        *,
        log_scale: bool = False,
        smoothing: float = 0.0,
        percent: bool = False,
        unit: str = "",
        x_title: str = "step",
        empty: str = "curves appear here when training starts",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.curves: tuple[Curve, ...] = ()
        self.guides: tuple[Guide, ...] = ()
        self.marks: tuple[Mark, ...] = ()
        self.note: Note | None = None
        """Shown when it is painted next."""
        self.reach = 0.0
        """The axis extends at least to this x, so that charts one below the other share one."""
        self.stops: Sequence[float] = ()
        """In order: where the cursor halts when it is moved with the keys; empty: at every cell."""
        self.shared: tuple[float, float] | None = None
        """The smallest and the largest x of all charts that stand on each other; None: its own."""
        self.least: tuple[float, float] | None = None
        """What the y axis covers at the least; it takes effect when it is painted next."""
        self.least_gutter = 0
        """Cells before the plot at the least, so that those of all begin in one column."""
        self._window: tuple[float, float] | None = None
        self._cursor: float | None = None
        self._hover: float | None = None
        self._plot: Plot | None = None
        self._dragged = False
        self._prepared: dict[int, tuple[tuple[bool, float], PreparedCurve]] = {}
        """For each curve the log scale and the smoothing it was prepared for, and the result."""
        self.set_reactive(LineChart.log_scale, log_scale)
        self.set_reactive(LineChart.smoothing, smoothing)
        self.set_reactive(LineChart.percent, percent)
        self.set_reactive(LineChart.unit, unit)
        self.set_reactive(LineChart.x_title, x_title)

    def show(self, curves: Sequence[Curve], guides: Sequence[Guide] = (), marks: Sequence[Mark] = ()) -> None:
        """Show these. The arrays are not copied: pass new ones (or longer views) when the data grows."""
        self.take(curves, guides, marks)
        self.repaint()

    def take(self, curves: Sequence[Curve], guides: Sequence[Guide] = (), marks: Sequence[Mark] = ()) -> None:
        """Show these when it is painted next."""
        self.curves, self.guides, self.marks = tuple(curves), tuple(guides), tuple(marks)

    # State

    def watch_log_scale(self) -> None:
        self.repaint()

    def validate_smoothing(self, value: float) -> float:
        return min(0.99, max(0.0, value))

    def watch_smoothing(self) -> None:
        self.repaint()

    def watch_percent(self) -> None:
        self.repaint()

    def watch_unit(self) -> None:
        self.repaint()

    def watch_x_title(self) -> None:
        self.repaint()

    def watch_x_names(self) -> None:
        self.repaint()

    def watch_x_powers(self) -> None:
        self.repaint()

    def watch_x_axis(self) -> None:
        self.repaint()

    @property
    def cursor(self) -> float | None:
        """The x at which values are read out: that of the pointer, else that of the keys."""
        return self._hover if self._hover is not None else self._cursor

    def place_cursor(self, x: float | None) -> None:
        """Put the keys' cursor there, or take it away."""
        if (x, None) != (self._cursor, self._hover):
            self._cursor, self._hover = x, None
            self.repaint()

    @property
    def zoomed(self) -> bool:
        """Whether only a part of the x axis is shown."""
        return self._window is not None

    @property
    def limits(self) -> tuple[float, float]:
        """The part of the x axis that is shown: all of it up to a round number, unless zoomed."""
        if self._window is not None:
            return self._window
        if self.x_names:
            return -0.5, len(self.x_names) - 0.5
        low, high = self._extent()
        if self.x_powers and high > low:
            return low - 0.02 * (high - low), high + 0.02 * (high - low)
        if low >= 0 and low <= 0.3 * high:
            return 0.0, nice_end(high)
        if low == high:
            return low - 0.5, high + 0.5
        return low, low + nice_end(high - low)

    def _extent(self) -> tuple[float, float]:
        """Smallest and largest x of the points that can be drawn."""
        found = self.shared or self.extent
        return found if found is not None else (0.0, max(self.reach, 1.0))

    @property
    def extent(self) -> tuple[float, float] | None:
        """Smallest and largest x of its own points that can be drawn, as far as they extend the axis; None without points."""
        curves = [curve for curve in self._prepare() if len(curve.x)]
        drawn = [curve.x for curve in curves if curve.curve.extends] or [curve.x for curve in curves]
        if not drawn:
            return None
        last = max(float(x[-1]) for x in drawn)
        return min(float(x[0]) for x in drawn), max(self.reach, last) if self.reach else last

    @property
    def labels(self) -> int:
        """Cells that the labels of its y axis took when it was drawn last; 0: it was not."""
        return self._plot.labels if self._plot is not None else 0

    @property
    def window(self) -> tuple[float, float] | None:
        """The part of the x axis that a person has zoomed to; None: all of it."""
        return self._window

    def look(self, window: tuple[float, float] | None) -> None:
        """Show this part of the x axis."""
        if window != self._window:
            self._window = window
            self.repaint()

    def _prepare(self) -> tuple[PreparedCurve, ...]:
        """The curves, ready to be drawn; each is prepared again only when its arrays, the scale or the smoothing change."""
        lines = 0
        for i, curve in enumerate(self.curves):
            key = (self.log_scale, self.smoothing if curve.style == "line" and curve.smoothed else 0.0)
            known_key, known = self._prepared.get(i, (None, None))
            if known is None or known_key != key or not _same_points(known.curve, curve):
                x, y, piece = clean(np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64), self.log_scale)
                known = PreparedCurve(curve, x, y, piece, smooth(y, key[1]))
            self._prepared[i] = (key, dataclasses.replace(known, curve=curve, dash=lines))
            lines += curve.style == "line" and not curve.behind
        return tuple(self._prepared[i][1] for i in range(len(self.curves)))

    def state(self) -> ChartState:
        """All that the drawing depends on, as it is now."""
        left, right = self.limits
        return ChartState(
            curves=self._prepare(),
            guides=self.guides,
            marks=self.marks,
            left=left,
            right=right,
            reach=self.reach,
            zoomed=self.zoomed,
            cursor=self.cursor,
            log_scale=self.log_scale,
            smoothing=self.smoothing,
            percent=self.percent,
            unit=self.unit,
            x_title=self.x_title,
            x_names=self.x_names,
            x_powers=self.x_powers,
            x_axis=self.x_axis,
            least=self.least,
            least_gutter=self.least_gutter,
            note=self.note,
        )

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.guides and not any(len(curve.x) for curve in self._prepare()):
            self._plot = None
            return []
        self._plot, rows = draw(self.state(), width, height, palette)
        return rows

    # Keys

    def action_move(self, by: int) -> None:
        if self._plot is None:
            return
        left, right = self._plot.left, self._plot.right
        cell = (right - left) / self._plot.width
        # the cursor starts at the newest value
        start = min(right, self._extent()[1]) if self._cursor is None else self._cursor + by * cell
        if self.stops and self._cursor is not None:
            later, earlier = bisect.bisect_right(self.stops, self._cursor), bisect.bisect_left(self.stops, self._cursor) - 1
            position = later if by > 0 else earlier
            start = self.stops[min(max(position, 0), len(self.stops) - 1)]
        self.place_cursor(min(right, max(left, start)))
        self.post_message(self.Moved(self, self._cursor))

    def action_pan(self, by: float) -> None:
        left, right = self.limits
        self._look(left + by * (right - left) / 10, right + by * (right - left) / 10)

    def action_zoom(self, factor: float, at: float | None = None) -> None:
        left, right = self.limits
        if at is None:
            at = self.cursor if self.cursor is not None and left <= self.cursor <= right else (left + right) / 2
        self._look(at - (at - left) * factor, at + (right - at) * factor)

    def _look(self, left: float, right: float) -> None:
        if not self.curves:
            return
        low, high = self._extent()
        most = max(high - low, 1e-9)
        if right - left >= most * 1.5:
            self._window = None
        elif right - left >= most * 1e-6:
            shift = max(0.0, low - (left + right) / 2) - max(0.0, (left + right) / 2 - high)
            self._window = (left + shift, right + shift)
        self.repaint()
        self.post_message(self.Looked(self, self._window))

    def action_toggle_log(self) -> None:
        self.log_scale = not self.log_scale

    def action_cycle_smoothing(self) -> None:
        self.smoothing = next((s for s in SMOOTHINGS if s > self.smoothing + 1e-9), SMOOTHINGS[0])

    def action_fit(self) -> None:
        """Show everything and follow the data again; if it does already, the key is left to other widgets."""
        if self._window is None and self._cursor is None:
            raise SkipAction
        self._window = self._cursor = None
        self.repaint()
        self.post_message(self.Moved(self, None))
        self.post_message(self.Looked(self, None))

    # Mouse

    def _x_at(self, column: int) -> float | None:
        plot = self._plot
        if plot is None or not 0 <= column - plot.gutter < plot.width:
            return None
        return plot.left + (column - plot.gutter + 0.5) / plot.width * (plot.right - plot.left)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = False
        if event.button == 1:
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Read out values at the pointer; pan while a button is down."""
        if self.app.mouse_captured is self and self._plot is not None:
            if event.delta_x:
                self._dragged = True
                left, right = self.limits
                by = -event.delta_x * (right - left) / self._plot.width
                self._look(left + by, right + by)
            return
        hover = self._x_at(event.get_content_offset_capture(self).x)
        if hover != self._hover:
            self._hover = hover
            self.repaint()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """End a drag; a click without one places the cursor."""
        if self.app.mouse_captured is self:
            self.release_mouse()
            if not self._dragged:
                self._cursor = self._x_at(event.get_content_offset_capture(self).x)
                self.repaint()
                self.post_message(self.Moved(self, self._cursor))

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self._window = self._cursor = None
            self.repaint()
            self.post_message(self.Looked(self, None))

    def on_leave(self) -> None:
        if self._hover is not None:
            self._hover = None
            self.repaint()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 0.8)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1.25)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        if self._plot is not None:
            event.stop()
            self.action_zoom(factor, self._x_at(event.get_content_offset_capture(self).x))


def _same_points(one: Curve, other: Curve) -> bool:
    """Whether both have the very same arrays and bands."""
    return one.x is other.x and one.y is other.y and one.bands == other.bands
