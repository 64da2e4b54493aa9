"""The plane: move a cursor in it, such as through latent space, and see the model's output at its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel, HeatMap, ImageGrid
from dlplay.screen.panels.options_bar import label
from dlplay.screen.panels.panel_widgets import fill, widget_for, write_place
from dlplay.screen.stages.stage import ActionStage

HOW_TO_MOVE = "move with the arrows (shift: further, home: the middle), or drag with the mouse"
MAX_WIDTH = 0.5
"""Share of the width that the plane may take."""


class PlaneStage(ActionStage):
    """The stage for a model that decodes a place: a point in latent space, two units of a code."""

    stage: stages.Plane

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    ROWS_FOR_MESSAGE: ClassVar[int] = 10
    MAX_MESSAGE_LINES: ClassVar[int] = 4

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, card.panel(card.stage.panel).title if card.stage is not None else "", id=id)
        self._plane = widgets.Plane(self.stage.bounds)
        self._empty = Static(Content("the model's output at the cursor"), classes="empty")
        self._beside = Vertical(classes="answer")
        self._body: Widget | None = None

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self.message
        with Horizontal(classes="beside"):
            yield self._plane
            with self._beside:
                yield self._empty
                yield self.chips

    def on_mount(self) -> None:
        self._place_cursor()
        self._name_axes()
        self.draw_message()
        self.ask_question()

    def on_resize(self) -> None:
        """Keep the plane about square; a cell is twice as high as wide."""
        self._plane.styles.width = max(10, min(2 * max(1, self.size.height - 3), int(self.size.width * MAX_WIDTH)))
        self.draw_message()

    def _place_cursor(self) -> None:
        place = read_place(str(self.options.get(self.option.name, self.option.default)))
        self._plane.set(*(place if place is not None else self._plane.middle))

    def _name_axes(self) -> None:
        """Name the axes after the options that choose what they are, if the question has such options."""
        values = self.bar.values

        def title(names: tuple[str, ...]) -> str:
            chosen = next((name for name in values if set(name.split("_")) & set(names)), None)
            return names[0] if chosen is None else f"{label(self.option)} {values[chosen]}"

        self._plane.set_titles(title(("x", "across")), title(("y", "along", "up")))

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        body, kind = self._body, widget_for(panel)
        if not isinstance(body, kind):
            if body is not None:
                body.remove()
            self._body = body = kind(classes="body")
            self._beside.mount(body, before=self.chips)
        self._empty.display = False
        try:
            fill(body, panel)
        except (ValueError, IndexError, TypeError) as error:
            self.refused(f"this answer cannot be drawn: {error}")
            return
        self.bar.show_figure(panel.figure)
        super().answered(panel)

    def show_behind(self, panel: AnyPanel) -> None:
        self._plane.show_picture(picture_of(panel))

    def idle_message(self) -> str:
        return self.caption or HOW_TO_MOVE

    # --- the cursor ---------------------------------------------------------------------------------------------------------------

    @on(widgets.Plane.Moved)
    def _moved(self, event: widgets.Plane.Moved) -> None:
        event.stop()
        self.show_problem("")
        self.set_option(self.option.name, write_place(event.x, event.y))
        self.ask_question()

    @on(widgets.Scatter.Placed)
    def _placed(self, event: widgets.Scatter.Placed) -> None:
        event.stop()
        if self.question.selects:
            self.set_option(self.question.selects, write_place(event.x, event.y))

    def set_options(self, values: Mapping[str, Any]) -> None:
        super().set_options(values)
        if self.option.name in values:
            self._place_cursor()
        self._name_axes()

    def set_option(self, name: str, value: Any) -> None:
        super().set_option(name, value)
        self._name_axes()


def picture_of(panel: AnyPanel) -> NDArray[np.float64] | None:
    """A matrix, or images in rows of as many as there are rows, as one picture of numbers; None for another kind."""
    try:
        if isinstance(panel, HeatMap):
            return panel.values.numpy().astype(np.float64)
        if not isinstance(panel, ImageGrid):
            return None
        images = panel.images.numpy().astype(np.float64)
    except ValueError:
        return None
    images = images.mean(axis=3) if images.ndim == 4 else images
    side = math.isqrt(len(images))
    if images.ndim != 3 or not images.size or side * side != len(images):
        return None
    height, width = images.shape[1:]
    return images.reshape(side, side, height, width).transpose(0, 2, 1, 3).reshape(side * height, side * width)


def read_place(text: str) -> tuple[float, float] | None:
    """Inverse of `write_place`; None when the text is not a place."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return (x, y) if abs(x) < 1e9 and abs(y) < 1e9 else None
