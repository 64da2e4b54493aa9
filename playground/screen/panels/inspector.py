"""The Inspect page: the architecture's panels, of which as many are shown, and asked for, as fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.geometry import Offset
from textual.message import Message
from textual.widget import Widget

from dlplay.engine.card import Card, PanelCard
from dlplay.engine.commands import View
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Field, fields
from dlplay.screen.flow import GAP, Flow, Piece
from dlplay.screen.panels.options_bar import question
from dlplay.screen.panels.panel_view import EMPTY, PanelView

TWO_COLUMNS = 96
"""Cells of width from which two panels stand side by side."""
AROUND = 2
"""Rows that a panel needs around its widget: title and hint."""
PREVIOUS, NEXT = "‹", "›"
"""Targets of the arrows around the titles; no panel has such a name."""
ARROWS = 2 * (1 + GAP) + GAP + len("10 of 10")
"""Cells that the arrows and the number of the chosen panel take, where not all titles fit in one line."""


class Inspector(Vertical):
    """A line of panel titles, and below it the panels from the chosen one onwards.

    `only` names the panels to show, in this order, without the line of titles.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("comma", "go(-1)", "panels", key_display=", ."),
        Binding("full_stop", "go(1)", "next panel", show=False),
    ]

    class ViewsChanged(Message):
        """Other panels are visible than before: get `views` again."""

    @dataclasses.dataclass
    class OptionChanged(Message):
        """An option was changed, for every panel of the tab that has it."""

        name: str
        value: Any

    def __init__(self, card: Card, only: Sequence[str] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.card = card
        self._only = tuple(only)
        self._elsewhere: frozenset[str] = frozenset()
        self._of_card = card
        self.panels = self._ordered(card)
        self.chosen = 0
        """Position of the chosen panel among them."""
        self._first = 0
        """Position of the first one that is shown; the focus may be on a later one."""
        self._views: dict[str, PanelView] = {}
        self._options: dict[str, Any] = {}
        self._unavailable = EMPTY
        self._visible_names: tuple[str, ...] = ()
        self._shown = range(0)
        self._titles = Flow(id=None if self._only else "titles")
        self._grid = Grid(id="panels")

    def compose(self) -> ComposeResult:
        yield self._titles
        yield self._grid

    def on_mount(self) -> None:
        self.watch(self.screen, "maximized", self._post_views_changed, init=False)  # a maximised panel hides the others
        self._draw_titles(range(0))
        self._titles.display = not self._only

    # --- what the tab calls -------------------------------------------------------------------------------------------------------

    def views(self, options: Mapping[str, Any]) -> list[View]:
        """The panels that are visible now, each with those of `options` that it takes."""
        self._options = dict(options)
        for view in self._views.values():
            view.set_options(options)
        return [View(card.name, question(card.options, options)) for card in self.visible_panels()]

    def set_card(self, card: Card) -> None:
        """Show the panels in the order of this variant of the card, from the first one onwards."""
        self._of_card = card
        if (panels := self._ordered(card)) != self.panels:
            self.panels = panels
            for name, view in self._views.items():
                view.display = view.display and any(name == panel.name for panel in panels)
            place = {panel.name: at for at, panel in enumerate(panels)}
            self._grid.sort_children(key=lambda view: place.get(view.card.name, len(place)) if isinstance(view, PanelView) else 0)
            self.choose(0)

    def leave_out(self, names: Iterable[str]) -> None:
        """Do not show these panels, which another part shows."""
        if (elsewhere := frozenset(names)) != self._elsewhere:
            self._elsewhere = elsewhere
            self.set_card(self._of_card)

    def _ordered(self, card: Card) -> list[PanelCard]:
        if self._only:
            known = {panel.name: panel for panel in card.panels}
            return [known[name] for name in self._only if name in known]
        return [panel for panel in _ordered(card) if panel.name not in self._elsewhere]

    def show(self, view: View, panel: AnyPanel, step: int | None = None) -> None:
        """Show the answer for one of `views`, as of `step`."""
        if view.panel in self._views:
            self._views[view.panel].show(panel, view.options, step)

    def another_model(self) -> None:
        """What the panels show is of a model that answers no more, until the next one does."""
        for view in self._views.values():
            view.another_model()

    def set_unavailable(self, why: str) -> None:
        """Why nothing is answered yet; panels say it that have shown nothing so far."""
        self._unavailable = why
        for view in self._views.values():
            view.set_unavailable(why)

    def set_step(self, step: int | None) -> None:
        """The step at which the run stands; None while it trains. Panels of another step say so."""
        for view in self._views.values():
            view.set_step(step)

    def look_back(self, step: int | None) -> None:
        """Say of which step all panels are; None: of now."""
        title = "" if step is None else f"as of step {step:,}"
        if title != self._titles.title:
            self._titles.show_title(title)
            self._draw_titles(self._shown)

    def working(self, view: View, doing: str) -> None:
        """Say in the panel what is done for its answer just now."""
        if view.panel in self._views:
            self._views[view.panel].working(doing)

    def fail(self, view: View, why: str) -> None:
        """Say in the panel why there is no answer."""
        if view.panel in self._views:
            self._views[view.panel].fail(why, view.options)

    def visible_panels(self) -> list[PanelCard]:
        """The cards of the panels that are visible now."""
        if not self.is_attached or not all(node.display for node in self.ancestors_with_self if isinstance(node, Widget)):
            return []
        maximised = self.screen.maximized
        return [
            view.card
            for view in self._views.values()
            if view.display and (maximised is None or maximised is view or maximised in view.ancestors or view in maximised.ancestors)
        ]

    # --- which panels fit ---------------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._arrange()

    def on_show(self) -> None:
        self._post_views_changed()

    def on_hide(self) -> None:
        self._post_views_changed()

    def choose(self, position: int) -> None:
        """Show the panels from this one onwards."""
        position = max(0, min(len(self.panels) - 1, position))
        if not self.is_attached:
            self.chosen = self._first = position
            return
        had_focus = self.screen.focused is not None and self in self.screen.focused.ancestors
        maximised = self.screen.maximized
        self.chosen = self._first = position
        self._arrange()
        view = self._views.get(self.panels[position].name)
        if view is None:
            return
        if isinstance(maximised, PanelView) and maximised in self._views.values():
            self.screen.maximize(view, container=False)
        if had_focus:
            view.focus()

    def go_to(self, name: str) -> None:
        """Show the panels from this one onwards, unless it is shown, and focus it."""
        position = [panel.name for panel in self.panels].index(name)
        if position not in self._shown:
            self.choose(position)
        self._views[name].focus()

    def places(self) -> Iterator[tuple[PanelCard, Offset]]:
        """Where the panels stand on the screen, or where they do not fit, the cell before their titles."""
        for position, panel in enumerate(self.panels):
            if position in self._shown:
                if (region := self._views[panel.name].region).area:
                    yield panel, region.offset
            elif not self._only and (at := self._titles.place(panel.name)) is not None:
                yield panel, self._titles.content_region.offset + Offset(at[0] - 1, at[1])

    def action_go(self, by: int) -> None:
        self.choose((self.chosen + by) % len(self.panels))

    def _arrange(self) -> None:
        if not self.panels or self.size.width < 1:
            return
        width, height = self.size.width, self.size.height - (not self._only)
        columns = 2 if width >= TWO_COLUMNS and len(self.panels) > 1 else 1
        rows = [panel.rows + AROUND for panel in self.panels]
        shown, heights = panels_that_fit(rows, self._first, height, columns)
        if self.chosen not in shown:
            self._first = self.chosen
            shown, heights = panels_that_fit(rows, self._first, height, columns)
        for position in shown:
            self._mount(position)
        for position, panel in enumerate(self.panels):
            if panel.name in self._views:
                self._views[panel.name].display = position in shown
        self._grid.styles.grid_size_columns = min(columns, len(shown))
        self._grid.styles.grid_size_rows = len(heights)
        self._grid.styles.grid_rows = " ".join(f"{height}fr" for height in heights)
        self._shown = shown
        self._draw_titles(shown)
        self._post_views_changed()

    def _mount(self, position: int) -> None:
        card = self.panels[position]
        if card.name in self._views:
            return
        selected_elsewhere = [panel.selects for panel in self.card.panels]
        defaults = {field.name: field.default for panel in reversed(self.card.panels) for field in fields(panel.options)}
        view = PanelView(
            card, hidden=options_of_stage(self.card), last=selected_elsewhere, selects=self._selected_by(card), defaults=defaults
        )
        view.set_options(self._options)
        view.set_unavailable(self._unavailable)
        following = next((self._views[later.name] for later in self.panels[position + 1 :] if later.name in self._views), None)
        self._views[card.name] = view
        self._grid.mount(view, before=following)

    def _selected_by(self, card: PanelCard) -> Field | None:
        """The option that picking an item in this panel sets."""
        options = [field for panel in self.card.panels for field in fields(panel.options)]
        return next((field for field in options if field.name == card.selects), None)

    def _draw_titles(self, shown: Sequence[int]) -> None:
        groups = []
        for position, panel in enumerate(self.panels):
            style = "flow--chosen" if position == self.chosen else "flow--plain" if position in shown else "flow--quiet"
            groups.append((Piece(panel.title, style, panel.name),))
        width = self._titles.size.width or self.size.width - 2
        width -= cell_len(self._titles.title) + GAP * bool(self._titles.title)
        line = titles_that_fit([cell_len(panel.title) for panel in self.panels], self.chosen, width)
        if len(line) == len(groups):
            self._titles.show_figure("")
            self._titles.show(groups)
            return
        self._titles.show_figure(f"{self.chosen + 1} of {len(self.panels)}")
        self._titles.show([(Piece("‹", "flow--arrow", PREVIOUS),), *groups[line.start : line.stop], (Piece("›", "flow--arrow", NEXT),)])

    def _post_views_changed(self) -> None:
        visible = tuple(card.name for card in self.visible_panels())
        if visible != self._visible_names:
            self._visible_names = visible
            self.post_message(self.ViewsChanged())

    # --- what a person chooses ----------------------------------------------------------------------------------------------------

    @on(Flow.Pressed, "#titles")
    def _title_pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        if event.target in (PREVIOUS, NEXT):
            self.action_go(-1 if event.target == PREVIOUS else 1)
            return
        self.go_to(event.target)

    @on(PanelView.OptionChanged)
    def _option_changed(self, event: PanelView.OptionChanged) -> None:
        event.stop()
        self._options[event.name] = event.value
        for view in self._views.values():
            view.set_options({event.name: event.value})
        self.post_message(self.OptionChanged(event.name, event.value))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        for position, panel in enumerate(self.panels):
            view = self._views.get(panel.name)
            if view is not None and (event.widget is view or view in event.widget.ancestors):
                self.chosen = position
                self._draw_titles(self._shown)


def _ordered(card: Card) -> list[PanelCard]:
    """The card's panels without the one that the stage shows with all its options; other panels that the stage shows come last."""
    stage = card.stage
    on_stage = {stage.panel, *stage.panels} if stage is not None else set()
    own = stage.panel if stage is not None and stage.panel in stage.panels else ""
    return sorted((panel for panel in card.panels if panel.name != own), key=lambda panel: panel.name in on_stage)


def options_of_stage(card: Card) -> set[str]:
    """Options that are set in the stage, and need no control in a panel."""
    if card.stage is None:
        return set()
    return {*card.stage.by_hand, *(field.name for name in card.stage.panels for field in fields(card.panel(name).options))}


def panels_that_fit(rows: Sequence[int], chosen: int, height: int, columns: int) -> tuple[range, list[int]]:
    """The positions of the panels that fit, from `chosen` onwards, and the heights of their rows in cells.

    `rows` are the rows of cells that each panel needs; there is one cell between two rows of panels. At least one panel is shown. Where
    the last panels leave space, those before `chosen` fill it.
    """

    def heights(start: int, end: int) -> list[int]:
        return [max(rows[at : min(at + columns, end)]) for at in range(start, end, columns)]

    def fits(start: int, end: int) -> bool:
        wanted = heights(start, end)
        return sum(wanted) + len(wanted) - 1 <= height

    start, end = chosen, chosen + 1
    while end < len(rows) and fits(start, end + 1):
        end += 1
    if end == len(rows):
        while start > 0 and fits(start - 1, end):
            start -= 1
    return range(start, end), heights(start, end)


def titles_that_fit(lengths: Sequence[int], chosen: int, width: int) -> range:
    """The positions of the titles that are shown: all, or if they need several lines, those in the line with the chosen one."""
    if sum(lengths) + GAP * (len(lengths) - 1) <= width:
        return range(len(lengths))
    start, used = 0, -GAP
    for position, length in enumerate(lengths):
        if used + GAP + length > width - ARROWS and position > start:
            if chosen < position:
                return range(start, position)
            start, used = position, -GAP
        used += GAP + length
    return range(start, len(lengths))
