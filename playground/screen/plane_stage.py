"""The plane: a cursor walks in it, and the model's answer to its place follows, such as the picture that lies there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel
from dlplay.screen.options_bar import words
from dlplay.screen.panel_body import fill, widget_for, write_place
from dlplay.screen.stage import ActionStage

WHAT_TO_DO = "walk with arrows (shift: further, home: the middle), or drag with the mouse"
MOST = 0.5
"""Share of the width that the plane may take."""


class PlaneStage(ActionStage):
    """The tab's action for a model that makes something out of a place: a point of latent space, two neurons of a code."""

    stage: stages.Plane

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    LOW: ClassVar[int] = 10
    MOST_LINES: ClassVar[int] = 4

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        super().__init__(card, options, card.panel(card.stage.panel).title if card.stage is not None else "", id=id)
        self._plane = widgets.Plane(self.stage.bounds)
        self._empty = Static(Content("what the model makes of the cursor's place"), classes="empty")
        self._body: Widget | None = None

    def compose(self) -> ComposeResult:
        """The plane at the left, the answer at the right."""
        yield self._plane
        with Vertical(classes="answer"):
            yield self.bar
            yield self.said
            yield self._empty
            yield self.chips

    def on_mount(self) -> None:
        """Take up the place where the cursor was."""
        self._take_up()
        self._name_axes()
        self.draw_said()
        self.wonder()

    def on_resize(self) -> None:
        """The plane is about square; a cell is twice as high as wide."""
        self._plane.styles.width = max(10, min(2 * max(1, self.size.height - 1), int(self.size.width * MOST)))
        self.draw_said()

    def _take_up(self) -> None:
        place = read_place(str(self.options.get(self.option.name, self.option.default)))
        self._plane.set(*(place if place is not None else self._plane.middle))

    def _name_axes(self) -> None:
        """Where options of the question choose what the axes are, their values stand in the names."""
        values = self.bar.values

        def title(words_for_it: tuple[str, ...]) -> str:
            chosen = next((name for name in values if set(name.split("_")) & set(words_for_it)), None)
            return words_for_it[0] if chosen is None else f"{words(self.option)} {values[chosen]}"

        self._plane.set_titles(title(("x", "across")), title(("y", "along", "up")))

    # --- answers ------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        """Show what lies at the cursor's place."""
        body, kind = self._body, widget_for(panel)
        if not isinstance(body, kind):
            if body is not None:
                body.remove()
            self._body = body = kind(classes="body")
            self.query_one(".answer", Vertical).mount(body, before=self.chips)
        self._empty.display = False
        try:
            fill(body, panel)
        except (ValueError, IndexError, TypeError) as error:
            self.refused(f"this answer cannot be drawn: {error}")
            return
        self.bar.show_figure(panel.figure)
        super().answered(panel)

    def quiet_words(self) -> str:
        """What the answer says of itself; before there is one, what to do."""
        return self.caption or WHAT_TO_DO

    # --- walking ------------------------------------------------------------------------------------------------------------------

    @on(widgets.Plane.Moved)
    def _moved(self, event: widgets.Plane.Moved) -> None:
        event.stop()
        self.say("")
        self.tell(self.option.name, write_place(event.x, event.y))
        self.wonder()

    @on(widgets.Scatter.Placed)
    def _placed(self, event: widgets.Scatter.Placed) -> None:
        event.stop()
        if self.question.selects:
            self.tell(self.question.selects, write_place(event.x, event.y))

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Options were changed elsewhere in the tab."""
        super().set_options(values)
        if self.option.name in values:
            self._take_up()
        self._name_axes()

    def tell(self, name: str, value: Any) -> None:
        """Set an option for the whole tab."""
        super().tell(name, value)
        self._name_axes()


def read_place(text: str) -> tuple[float, float] | None:
    """Inverse of `write_place`; None when the text is no place."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return (x, y) if abs(x) < 1e9 and abs(y) < 1e9 else None
