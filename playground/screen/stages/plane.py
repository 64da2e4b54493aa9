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
from dlplay.engine.panels import AnyPanel, HeatMap, ImageGrid, Scatter
from dlplay.engine.settings import fields
from dlplay.screen.panels.options_bar import label
from dlplay.screen.panels.panel_widgets import fill, widget_for, write_place
from dlplay.screen.stages.stage import ROOMY_ROWS, ActionStage

HOW_TO_MOVE = "move with the arrows (shift: further, home: the middle), or drag with the mouse"
MAX_WIDTH = 0.5
"""Share of the width that the plane may take."""
SMALL = 24
"""Cells of its width beside an answer that is a plane itself."""
PLANE_SECONDS, SHEET_SECONDS = 1.0, 3.0
"""Between two questions while training, where the answer is a plane or a sheet of images, most of whose cells have to be sent."""
IMAGES = "images"
"""Option of a sheet of decoded images: how many stand in each of its rows and columns."""
LEAST_IMAGE = 9
"""Cells of the width of one of them below which little can be made out in it."""
GAP = 2
AROUND = 2
"""Rows of a plane or a scatter plot that are not the plane: what stands above and below it."""


class PlaneStage(ActionStage):
    """The stage for a model that decodes a place: a point in latent space, two units of a code."""

    stage: stages.Plane

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    ROWS_FOR_MESSAGE: ClassVar[int] = 10
    MAX_MESSAGE_LINES: ClassVar[int] = 4

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, card.panel(card.stage.panel).title if card.stage is not None else "", id=id)
        self._plane = widgets.Plane(self.stage.bounds)
        shown = next((panel.title for panel in card.panels if panel.name == self.stage.shows), label(self.option))
        self._plane.set_heading(shown[:1].upper() + shown[1:])
        self._empty = Static(Content("the model's output at the cursor"), classes="empty")
        self._beside = Vertical(classes="answer")
        self._side = Vertical(classes="side")
        self._body: Widget | None = None
        self._across = 0
        """Cells that the plane is wide."""
        self._numbers = False
        """What lies behind the cursor is numbers, and no sheet of images."""

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self.message
        with Horizontal(classes="beside"):
            with self._side:
                yield self._plane
                yield self.chips
            with self._beside:
                yield self._empty

    def on_mount(self) -> None:
        self._place_cursor()
        self.draw_message()
        self.ask_question()

    def on_resize(self) -> None:
        self._arrange()
        self.draw_message()
        if self.stage.shows and self._behind is not None and self.options_behind() != self._behind:
            self.ask_question()  # another number of images fits

    def _arrange(self) -> None:
        """Keep planes square; a cell is twice as high as wide. An answer that is a plane itself is the large one of the two."""
        width = max(1, self.content_size.width)
        message = 2 if self.size.height >= ROOMY_ROWS else 1  # as many as it may take, so that no answer moves the plane
        rows = max(4, self.content_size.height - self.bar.get_content_height(self.size, self.size, width) - message)
        if isinstance(self._body, widgets.Scatter):
            answer = max(10, min(2 * (rows - AROUND), width - GAP - SMALL))
            side = width - GAP - answer
            self._body.styles.height, self._beside.styles.width = min(rows, answer // 2 + AROUND), answer
        else:
            side = max(10, min(2 * (rows - AROUND), int(width * MAX_WIDTH)))
            self._beside.styles.width = "1fr"
        small = side if self._body is None or not isinstance(self._body, widgets.Scatter) else min(side, SMALL)
        beside = side >= small + GAP + SMALL and self.chips.display  # there is room for the actions right of the small plane
        chips = self.chips.get_content_height(self.size, self.size, side) if self.chips.display and not beside else 0
        self._across = plane = max(10, min(small, 2 * (rows - AROUND - chips)))
        self._side.styles.layout = "horizontal" if beside else "vertical"
        self._side.styles.width, self._plane.styles.width, self._plane.styles.height = side, plane, plane // 2 + AROUND
        self.chips.styles.margin = (0, 0, 0, GAP if beside else 0)

    def _place_cursor(self) -> None:
        place = read_place(str(self.options.get(self.option.name, self.option.default)))
        self._plane.set(*(place if place is not None else self._plane.middle))

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        body, kind = self._body, widget_for(panel)
        if not isinstance(body, kind):
            if body is not None:
                body.remove()
            self._body = body = kind(classes="body")
            self._beside.mount(body)
            self._arrange()
        self._empty.display = False
        try:
            fill(body, panel)
        except (ValueError, IndexError, TypeError) as error:
            self.refused(f"this answer cannot be drawn: {error}")
            return
        if isinstance(panel, Scatter):
            self.ask_seconds = PLANE_SECONDS
        elif isinstance(panel, ImageGrid) and panel.images.shape[0] > 1:
            self.ask_seconds = SHEET_SECONDS
        self.bar.show_figure(panel.figure)
        super().answered(panel)

    def options_behind(self) -> dict[str, Any]:
        """Of images, as many as can be made out; numbers are coloured cells, which may be small."""
        found = super().options_behind()
        for field in () if self._numbers else fields(self.card.panel(self.stage.shows).options):
            if field.name == IMAGES and field.low is not None and field.high is not None:
                found[IMAGES] = int(min(max(self._across // LEAST_IMAGE, field.low), field.high))
        return found

    def show_behind(self, panel: AnyPanel) -> None:
        if self._numbers != isinstance(panel, HeatMap):
            self._numbers = not self._numbers
            self.ask_question()
        self._plane.show_picture(picture_of(panel), panel.figure if isinstance(panel, HeatMap) else "")
        if isinstance(panel, (HeatMap, ImageGrid)) and panel.column_title and panel.row_title:
            self._plane.set_titles(panel.column_title, panel.row_title)

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
