"""The pad: draw an input with the mouse or with keys, and see the model's prediction follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel, Bars, ImageGrid
from dlplay.screen.flow import Flow, Piece
from dlplay.screen.panels.panel_widgets import fill_bars
from dlplay.screen.stages.plane import picture_of
from dlplay.screen.stages.stage import ActionStage
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row

HOW_TO_DRAW = "draw with the mouse, or with arrows and p (pen down or up)"
EMPTY_PAD = "an empty pad: draw, or press i for an image"
WIDE = 100
"""Cells from which there is room to say how to draw behind the caption."""
MAX_WIDTH = 0.55
"""Share of the width that the pad may take."""
MIN_BARS = 24
"""Cells that a column of bars needs."""


class _Beside(Horizontal):
    """The pad and what is beside it."""

    @dataclasses.dataclass
    class Resized(Message):
        size: Size

    def on_resize(self) -> None:
        self.post_message(self.Resized(self.size))


class _Pad(widgets.PixelPad):
    """The pad without its status line: the stage says how to draw, and every row shows pixels."""

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        return super().paint(width, height + 1, palette)[:height]


class PadStage(ActionStage):
    """The stage for a model of small images."""

    stage: stages.Pad

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, "Draw", id=id)
        rows, columns = self.stage.size
        self._pad = _Pad(rows, columns, levels=self.stage.levels)
        self._actions = Flow(classes="actions")
        self._columns: list[widgets.Bars] = [widgets.Bars()]
        self._columns[0].empty = "the model's prediction for the drawing"
        self._panel: Bars | None = None
        self._beside, self._bars = _Beside(classes="beside"), Horizontal(classes="columns")

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self.message
        with self._beside:
            yield self._pad
            with Vertical(classes="answer"):
                with self._bars:
                    yield from self._columns
                yield self._actions
                yield self.chips

    def on_mount(self) -> None:
        drawing = str(self.options.get(self.option.name, "") or "")
        if drawing:
            pixels = read_drawing(drawing, self.stage.size, self.stage.levels)
            if pixels is not None:
                self._pad.set(pixels)
                self._pad.begun = True
        self._draw_actions()
        self.draw_message()
        self.ask_question()

    @on(_Beside.Resized)
    def _arrange(self, event: _Beside.Resized) -> None:
        """Keep the pixels square, and give the bars as many columns as they need."""
        event.stop()
        rows, columns = self.stage.size
        width, height = event.size
        scale = 2 * max(1, height) / rows  # half cells per pixel
        scale = min(scale, int(MAX_WIDTH * width) / columns)
        scale = max(1.0, float(int(scale)) if scale >= 2 else scale)
        self._pad.styles.width = max(4, min(round(columns * scale), int(MAX_WIDTH * width)))
        self.call_after_refresh(self._draw_answer)
        self.draw_message()

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        if not isinstance(panel, Bars):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with probabilities")
            return
        self._panel = panel
        super().answered(panel)
        self.bar.show_figure(panel.figure)
        self._draw_answer()

    def show_behind(self, panel: AnyPanel) -> None:
        if (picture := picture_of(panel)) is not None:
            self._pad.show_behind(picture / (255 if panel.images.dtype == "u1" else 1) if isinstance(panel, ImageGrid) else picture)

    def idle_message(self) -> str:
        if self._pad.begun and not self._pad.pixels.any():
            return EMPTY_PAD
        if self._pad.begun or not self.caption:
            return self.caption or HOW_TO_DRAW
        return f"{self.caption}, until you {'draw' if self.size.width < WIDE else HOW_TO_DRAW}"

    def _draw_answer(self) -> None:
        panel = self._panel
        if panel is None or not self.is_attached:
            return
        container = self._bars
        rows, width = max(1, container.size.height), container.size.width
        count = min(-(-len(panel.labels) // rows), max(1, width // MIN_BARS), 4) or 1
        while len(self._columns) < count:
            self._columns.append(widgets.Bars())
            container.mount(self._columns[-1])
        per_column = -(-len(panel.labels) // count)
        high = panel.high if panel.high is not None else max(panel.values, default=1.0)
        for position, bars in enumerate(self._columns):
            bars.display = position < count
            if bars.display:
                fill_bars(bars, _part(panel, position * per_column, (position + 1) * per_column, high))

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    @on(widgets.PixelPad.Changed)
    def _drawn(self, event: widgets.PixelPad.Changed) -> None:
        event.stop()
        self.set_option(self.option.name, write_drawing(event.pixels) if self._pad.begun else "")
        self.refresh_bindings()
        self.draw_message()
        self._draw_actions()
        self.ask_question()

    @on(Flow.Pressed, ".actions")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        self._pad.focus()
        if event.target == "clear":
            self._pad.action_clear()
        elif event.target == "image":
            self._pad.action_show_image()
        else:
            self._pad.erasing = event.target == "erase"
            self._draw_actions()

    @on(widgets.PixelPad.ToolChanged)
    def _tool_changed(self, event: widgets.PixelPad.ToolChanged) -> None:
        event.stop()
        self._draw_actions()

    def _draw_actions(self) -> None:
        erasing = self._pad.erasing
        self._actions.show(
            [
                (Piece("brush", "flow--plain" if erasing else "flow--chosen", "brush"),),
                (Piece("x ", "flow--quiet", "erase"), Piece("erase", "flow--chosen" if erasing else "flow--plain", "erase")),
                (Piece("c ", "flow--quiet", "clear"), Piece("clear", "flow--plain", "clear")),
                (Piece("i ", "flow--quiet", "image"), Piece("image", "flow--plain" if self._pad.begun else "flow--quiet", "image")),
            ]
        )


def write_drawing(pixels: NDArray[Any]) -> str:
    """Pixels as the question takes them: rows separated by `;`, values by commas."""
    return ";".join(",".join(f"{round(float(value), 1):g}" for value in row) for row in pixels)


def read_drawing(text: str, size: Sequence[int], levels: int) -> NDArray[np.float64] | None:
    """Inverse of `write_drawing`; None when the text is not a drawing of this size."""
    try:
        pixels = np.array([[float(value) for value in row.split(",")] for row in text.split(";")])
    except ValueError:
        return None
    return np.clip(pixels, 0, levels) if pixels.shape == tuple(size) and np.isfinite(pixels).all() else None


def _part(panel: Bars, start: int, end: int, high: float) -> Bars:
    """The bars from `start` to `end`, on a scale up to `high`."""
    chosen = panel.chosen - start if panel.chosen is not None and start <= panel.chosen < end else None
    return Bars(
        labels=panel.labels[start:end],
        values=panel.values[start:end],
        high=high,
        percent=panel.percent,
        log=panel.log,
        second=panel.second[start:end],
        names=panel.names,
        chosen=chosen,
    )
