"""Curves over steps: zoom, pan, a cursor that reads out values, dashed named baselines, and marks where a setting changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.reactive import var

from dlplay.widgets.axis import nice_end
from dlplay.widgets.chart_parts import Curve, Guide, Mark
from dlplay.widgets.chart_plot import Plot, draw
from dlplay.widgets.curves import Floats, clean, smooth
from dlplay.widgets.palette import Palette
from dlplay.widgets.surface import Row, Surface

SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)


class LineChart(Surface):
    """Curves with axes that follow the data. `show` them; set `log_scale`, `smoothing`, `percent`, `unit` and `x_title` at any time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Cursor left", show=False),
        Binding("right", "move(1)", "Cursor right", show=False),
        Binding("shift+left", "pan(-1)", "Pan left", show=False),
        Binding("shift+right", "pan(1)", "Pan right", show=False),
        Binding("i", "zoom(0.5)", "Zoom in", show=False),
        Binding("o", "zoom(2.0)", "Zoom out", show=False),
        Binding("l", "toggle_log", "Log or linear", show=False),
        Binding("k", "cycle_smoothing", "Smoothing", show=False),
        Binding("escape,home", "fit", "Fit all", show=False),
    ]

    log_scale: var[bool] = var(False, init=False)
    """Logarithmic y axis (`log` is Textual's logger)."""
    smoothing: var[float] = var(0.0, init=False)
    """Weight of the past in an exponential moving mean, 0 (off) to 0.99."""
    percent: var[bool] = var(False, init=False)
    """Values are shares (0..1), shown in per cent."""
    unit: var[str] = var("", init=False)
    x_title: var[str] = var("step", init=False)

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
        self.reach = 0.0
        """An x up to which the axis goes at the least, so that charts side by side share one."""
        self._window: tuple[float, float] | None = None
        self._cursor: float | None = None
        self._hover: float | None = None
        self._plot: Plot | None = None
        self._dragged = False
        self._ready: dict[int, tuple[object, object, bool, float, tuple[Floats, Floats, np.ndarray, Floats]]] = {}
        self.set_reactive(LineChart.log_scale, log_scale)
        self.set_reactive(LineChart.smoothing, smoothing)
        self.set_reactive(LineChart.percent, percent)
        self.set_reactive(LineChart.unit, unit)
        self.set_reactive(LineChart.x_title, x_title)

    def show(self, curves: Sequence[Curve], guides: Sequence[Guide] = (), marks: Sequence[Mark] = ()) -> None:
        """Show these from now on. Arrays are kept, not copied: give new ones (or longer views) when data grows."""
        self.curves, self.guides, self.marks = tuple(curves), tuple(guides), tuple(marks)
        self.repaint()

    # What is seen

    def watch_log_scale(self) -> None:
        """A new axis."""
        self.repaint()

    def validate_smoothing(self, value: float) -> float:
        """Between 0 and 0.99."""
        return min(0.99, max(0.0, value))

    def watch_smoothing(self) -> None:
        """New curves."""
        self.repaint()

    def watch_percent(self) -> None:
        """New labels."""
        self.repaint()

    def watch_unit(self) -> None:
        """New labels."""
        self.repaint()

    def watch_x_title(self) -> None:
        """A new label."""
        self.repaint()

    @property
    def cursor(self) -> float | None:
        """Where on the x axis the values are read out: at the pointer, else where the keys put it."""
        return self._hover if self._hover is not None else self._cursor

    @property
    def zoomed(self) -> bool:
        """True when only a part of the x axis is seen."""
        return self._window is not None

    @property
    def limits(self) -> tuple[float, float]:
        """The part of the x axis that is seen; all of it, snapped to round numbers, unless zoomed."""
        if self._window is not None:
            return self._window
        low, high = self._extent()
        if low >= 0 and low <= 0.3 * high:
            return 0.0, nice_end(high)
        if low == high:
            return low - 0.5, high + 0.5
        return low, low + nice_end(high - low)

    def _extent(self) -> tuple[float, float]:
        """Smallest and largest x of what can be drawn."""
        drawn = [x for x in (self.prepared(i)[0] for i in range(len(self.curves))) if len(x)]
        return (min(float(x[0]) for x in drawn), max(self.reach, *(float(x[-1]) for x in drawn))) if drawn else (0.0, 1.0)

    def prepared(self, index: int) -> tuple[Floats, Floats, np.ndarray, Floats]:
        """x, y, piece and smoothed y of a curve; kept until its arrays, the scale or the smoothing change."""
        curve = self.curves[index]
        smoothing = self.smoothing if curve.style == "line" and curve.smoothed else 0.0
        known = self._ready.get(index)
        if known and known[0] is curve.x and known[1] is curve.y and known[2:4] == (self.log_scale, smoothing):
            return known[4]
        x, y, piece = clean(np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64), self.log_scale)
        result = (x, y, piece, smooth(y, smoothing))
        self._ready[index] = (curve.x, curve.y, self.log_scale, smoothing, result)
        return result

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """Legend and readout, the plot with its y axis, the x axis."""
        if not any(len(self.prepared(i)[0]) for i in range(len(self.curves))):
            self._plot = None
            return []
        self._plot, rows = draw(self, width, height, palette)
        return rows

    # Keys

    def action_move(self, by: int) -> None:
        """Move the cursor by one cell; it starts at the newest value."""
        if self._plot is None:
            return
        left, right = self._plot.left, self._plot.right
        cell = (right - left) / self._plot.width
        start = min(right, self._extent()[1]) if self._cursor is None else self._cursor + by * cell
        self._cursor, self._hover = min(right, max(left, start)), None
        self.repaint()

    def action_pan(self, by: float) -> None:
        """Move the window by a tenth."""
        left, right = self.limits
        self._look(left + by * (right - left) / 10, right + by * (right - left) / 10)

    def action_zoom(self, factor: float, at: float | None = None) -> None:
        """Scale the window about the cursor, or the middle."""
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

    def action_toggle_log(self) -> None:
        """Logarithmic or linear y axis."""
        self.log_scale = not self.log_scale

    def action_cycle_smoothing(self) -> None:
        """The next of 0, 0.6, 0.9, 0.98."""
        self.smoothing = next((s for s in SMOOTHINGS if s > self.smoothing + 1e-9), SMOOTHINGS[0])

    def action_fit(self) -> None:
        """See all and follow again; with nothing to undo the key goes on to whoever else wants it."""
        if self._window is None and self._cursor is None:
            raise SkipAction
        self._window = self._cursor = None
        self.repaint()

    # Mouse

    def _x_at(self, column: int) -> float | None:
        plot = self._plot
        if plot is None or not 0 <= column - plot.gutter < plot.width:
            return None
        return plot.left + (column - plot.gutter + 0.5) / plot.width * (plot.right - plot.left)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A drag begins, or a click."""
        self._dragged = False
        if event.button == 1:
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Read out at the pointer; pan while a button is down."""
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
        """The drag ends; without one the cursor stays where the click was."""
        if self.app.mouse_captured is self:
            self.release_mouse()
            if not self._dragged:
                self._cursor = self._x_at(event.get_content_offset_capture(self).x)
                self.repaint()

    def on_click(self, event: events.Click) -> None:
        """A double click fits all."""
        if event.chain == 2:
            self._window = self._cursor = None
            self.repaint()

    def on_leave(self) -> None:
        """The pointer reads out no more."""
        if self._hover is not None:
            self._hover = None
            self.repaint()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in at the pointer."""
        self._wheel(event, 0.8)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out at the pointer."""
        self._wheel(event, 1.25)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        if self._plot is not None:
            event.stop()
            self.action_zoom(factor, self._x_at(event.get_content_offset_capture(self).x))
