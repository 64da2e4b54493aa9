"""The pad: draw an input with the mouse or with keys, and watch the model's answer follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel, Bars
from dlplay.screen.flow import Flow, Piece
from dlplay.screen.panel_body import fill_bars
from dlplay.screen.stage import ActionStage
from dlplay.widgets.palette import Palette
from dlplay.widgets.surface import Row

WHAT_TO_DO = "draw with the mouse, or with arrows and space (pen down or up)"
WIDE = 100
"""Cells from which it is said how to draw as well."""
LEAST_BARS = 24
"""Cells a column of bars needs."""


class _Pad(widgets.PixelPad):
    """The pad without its own line of words: the stage says what to do, and every row shows pixels."""

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        """The pixels alone."""
        return super().paint(width, height + 1, palette)[:height]


class PadStage(ActionStage):
    """The tab's action for a model of small images."""

    stage: stages.Pad

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, "Draw", id=id)
        rows, columns = self.stage.size
        self._pad = _Pad(rows, columns, levels=self.stage.levels)
        self._actions = Flow(classes="actions")
        self._columns: list[widgets.Bars] = [widgets.Bars()]
        self._columns[0].empty = "what the model takes the drawing for"
        self._panel: Bars | None = None

    def compose(self) -> ComposeResult:
        """Its parts from top to bottom."""
        yield self._pad
        with Vertical(classes="answer"):
            yield self.bar
            yield self.said
            with Horizontal(classes="columns"):
                yield from self._columns
            yield self._actions
            yield self.chips

    def on_mount(self) -> None:
        """Take up a drawing that was there before."""
        drawing = str(self.options.get(self.option.name, "") or "")
        if drawing:
            pixels = read_drawing(drawing, self.stage.size, self.stage.levels)
            if pixels is not None:
                self._pad.set(pixels)
        self._draw_actions()
        self.draw_said()
        self.wonder()

    def on_resize(self) -> None:
        """The pad keeps its pixels square, and the bars get as many columns as they need."""
        rows, columns = self.stage.size
        scale = 2 * max(1, self.size.height) / rows  # half cells a pixel
        scale = max(1.0, scale - scale % 2 if scale >= 2 else scale)
        self._pad.styles.width = max(4, min(round(columns * scale), self.size.width // 2))
        self.call_after_refresh(self._draw_answer)
        self.draw_said()

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        """Show what the model takes the drawing for."""
        if not isinstance(panel, Bars):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with probabilities")
            return
        self._panel = panel
        super().answered(panel)
        self.bar.show_figure(panel.figure)
        self._draw_answer()

    def quiet_words(self) -> str:
        """What to do, until something is drawn."""
        if self._pad.pixels.any():
            return self.caption or WHAT_TO_DO
        return (
            f"{self.caption}, until you draw"
            if self.caption and self.size.width < WIDE
            else (f"{self.caption}, until you {WHAT_TO_DO}" if self.caption else WHAT_TO_DO)
        )

    def _draw_answer(self) -> None:
        panel = self._panel
        if panel is None or not self.is_attached:
            return
        place = self.query_one(".columns", Horizontal)
        rows, width = max(1, place.size.height), place.size.width
        wanted = min(-(-len(panel.labels) // rows), max(1, width // LEAST_BARS), 4) or 1
        while len(self._columns) < wanted:
            self._columns.append(widgets.Bars())
            place.mount(self._columns[-1])
        per_column = -(-len(panel.labels) // wanted)
        high = panel.high if panel.high is not None else max(panel.values, default=1.0)
        for position, bars in enumerate(self._columns):
            bars.display = position < wanted
            if bars.display:
                fill_bars(bars, _part(panel, position * per_column, (position + 1) * per_column, high))

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    @on(widgets.PixelPad.Changed)
    def _drawn(self, event: widgets.PixelPad.Changed) -> None:
        event.stop()
        self.tell(self.option.name, write_drawing(event.pixels))
        self.wonder()

    @on(Flow.Pressed, ".actions")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        self._pad.focus()
        if event.target == "clear":
            self._pad.set(np.zeros(self.stage.size))
            self.tell(self.option.name, "")
            self.wonder()
        else:
            self._pad.erasing = event.target == "erase"
            self._draw_actions()

    def on_key(self, event: events.Key) -> None:
        """The pad's own keys change what is said about it."""
        self.call_after_refresh(self._draw_actions)

    def _draw_actions(self) -> None:
        erasing = self._pad.erasing
        self._actions.show(
            [
                (Piece("brush", "flow--plain" if erasing else "flow--chosen", "brush"),),
                (Piece("x ", "flow--quiet", "erase"), Piece("erase", "flow--chosen" if erasing else "flow--plain", "erase")),
                (Piece("c ", "flow--quiet", "clear"), Piece("clear", "flow--plain", "clear")),
            ]
        )


def write_drawing(pixels: NDArray[Any]) -> str:
    """Pixels as the question takes them: rows parted by `;`, values by commas; empty for an empty pad."""
    if not np.any(pixels):
        return ""
    return ";".join(",".join(f"{round(float(value), 1):g}" for value in row) for row in pixels)


def read_drawing(text: str, size: Sequence[int], levels: int) -> NDArray[np.float64] | None:
    """Inverse of `write_drawing`; None when the text is no drawing of this size."""
    try:
        pixels = np.array([[float(value) for value in row.split(",")] for row in text.split(";")])
    except ValueError:
        return None
    return np.clip(pixels, 0, levels) if pixels.shape == tuple(size) and np.isfinite(pixels).all() else None


def _part(panel: Bars, start: int, end: int, high: float) -> Bars:
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
