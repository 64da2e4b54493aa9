"""One panel: its title and figure, its options, a line of plain words, and the widget that shows what the model answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from dlplay import widgets
from dlplay.engine.card import PanelCard
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Field, fields, show
from dlplay.screen.flow import fit
from dlplay.screen.options_bar import STEPPING, OptionsBar, words
from dlplay.screen.panel_body import fill, picked, widget_for, write_place

EMPTY = "Appears as soon as a model can answer: space trains one, o loads one."

ROOMY = 5
"""Rows beyond what the widget wants, from which the line of plain words may take two."""


class PanelView(Vertical, can_focus=True):
    """Shows what a panel's question was answered with; picking an item in it is told to the tab.

    `quiet` names the options that are set elsewhere (by the stage) and need no control here; `last` those that come behind the others.
    `selected` is the option that picking an item sets.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    ALLOW_MAXIMIZE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *STEPPING,
        Binding("question_mark", "explain", "explain", key_display="?"),
        Binding("m", "maximise", "maximise", key_display="m"),
    ]

    class Picked(Message):
        """An item was picked, or an option was changed."""

        def __init__(self, view: PanelView, option: str, value: Any) -> None:
            super().__init__()
            self.view = view
            self.option = option
            self.value = value

        @property
        def control(self) -> PanelView:
            """The panel."""
            return self.view

    def __init__(
        self,
        card: PanelCard,
        *,
        quiet: Collection[str] = (),
        last: Collection[str] = (),
        selected: Field | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.card = card
        self.panel: AnyPanel | None = None
        self.words = ""
        """What went wrong with the last question; empty when nothing did."""
        self._selected = selected
        own = [field for field in fields(card.options) if field.name not in quiet]
        self._bar = OptionsBar(sorted(own, key=lambda field: field.name in last), card.title)
        self._hint = Static(card.hint, classes="hint", markup=False)
        self._body: Widget | None = None
        self._empty = Static(EMPTY, classes="empty", markup=False)
        self._help = Static(Content(_explanation(card, self._bar.fields)), classes="help")
        self._help.display = False
        self._tried: tuple[str, Any, Any] | None = None
        """The option that was changed last, its new value and the one before, until an answer says that it will do."""
        self._taken_back = False

    def compose(self) -> ComposeResult:
        """Its parts from top to bottom."""
        yield self._bar
        yield self._hint
        yield self._empty
        yield self._help

    # --- what it shows ------------------------------------------------------------------------------------------------------------

    def show(self, panel: AnyPanel, options: Mapping[str, Any] | None = None) -> None:
        """Show an answer (to the question put with `options`); the widget is changed when the kind of panel has."""
        kind = widget_for(panel)
        body = self._body
        if not isinstance(body, kind):
            body = self._replace_body(kind())
        try:
            fill(body, panel)
        except (ValueError, IndexError, TypeError) as error:
            self.fail(f"this answer cannot be drawn: {error}")
            return
        self.panel = panel
        if self._answers(options):
            self._tried = None
        if not self._taken_back:
            self.words = ""
        self._bar.show_figure(panel.figure)
        self._draw_hint()

    def fail(self, words: str, options: Mapping[str, Any] | None = None) -> None:
        """Say what went wrong. An option that was changed just now goes back to what it was, with the picture that belongs to it."""
        self.words = words
        if self._tried is not None and self.panel is not None and self._answers(options):
            (name, _, before), self._tried = self._tried, None
            self._taken_back = True
            self._bar.set_values({name: before})
            self.post_message(self.Picked(self, name, before))
        self._draw_hint()

    def _answers(self, options: Mapping[str, Any] | None) -> bool:
        """Whether an answer is one to the option that was changed last."""
        return self._tried is not None and (options is None or options.get(self._tried[0]) == self._tried[1])

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Show what the tab's options stand at."""
        self._bar.set_values(options)

    def _replace_body(self, body: Widget) -> Widget:
        had_focus = self.has_focus or (self._body is not None and self._body.has_focus)
        if self._body is not None:
            self._body.remove()
        body.add_class("body")
        self._body = body
        self._empty.display = False
        body.display = not self._help.display
        self.mount(body, before=self._help)
        self.can_focus = False
        if had_focus:
            body.focus()
        return body

    def _draw_hint(self) -> None:
        self._hint.set_class(bool(self.words), "problem")
        self.set_class(bool(self.words) and not self._taken_back, "-stale")
        text = (self.panel.caption if self.panel is not None else "") or self.card.hint
        lines = 2 if self.size.height >= self.card.rows + ROOMY else 1
        room = max(10, self.size.width - 2 if lines == 1 else lines * (self.size.width - 6))
        self._hint.styles.max_height = 4 if self.words else lines
        self._hint.update(f"✗ {self.words}" if self.words else fit(text.replace("\n", " "), room))

    def on_resize(self) -> None:
        """The line of words is cut to the new width."""
        self._draw_hint()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The title says where the focus is."""
        self._bar.mark_title(True)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """The focus has left."""
        self._bar.mark_title(False)

    def on_focus(self) -> None:
        """An empty panel takes the focus itself."""
        self._bar.mark_title(True)

    def on_blur(self) -> None:
        """The focus has left."""
        self._bar.mark_title(False)

    # --- what a person does -------------------------------------------------------------------------------------------------------

    def focus(self, scroll_visible: bool = True) -> PanelView:
        """Focus what can be looked at in it."""
        if self._body is not None and self._body.display:
            self._body.focus(scroll_visible)
        else:
            super().focus(scroll_visible)
        return self

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for options only where there are options."""
        wanted = {"step": 1, "mark": 2, "edit": 1}.get(action, 0)
        return len(self._bar.fields) >= wanted

    def action_step(self, by: int) -> None:
        """Change the marked option by one step."""
        self._bar.step(self._bar.marked, by)

    def action_mark(self, by: int) -> None:
        """Mark the next option, or the one before."""
        self._bar.mark(by)

    def action_edit(self) -> None:
        """Type the marked option's value; tab goes on to the next."""
        self._bar.edit(self._bar.marked)

    def action_explain(self) -> None:
        """Show what the panel is and how to read it, or the panel again."""
        explain = not self._help.display
        shown = self._body or self._empty
        self.can_focus = explain or self._body is None
        self._help.display = explain
        shown.display = not explain
        self.focus()

    def action_maximise(self) -> None:
        """Give the panel the whole screen, or give it back."""
        if self.screen.maximized is self:
            self.screen.minimize()
        else:
            self.screen.maximize(self, container=False)

    @on(OptionsBar.Changed)
    def _option_changed(self, event: OptionsBar.Changed) -> None:
        event.stop()
        self.words = ""
        self._taken_back = False
        self._tried = (event.name, event.value, event.before)
        self._draw_hint()
        self.post_message(self.Picked(self, event.name, event.value))

    @on(OptionsBar.Refused)
    def _option_refused(self, event: OptionsBar.Refused) -> None:
        event.stop()
        self.words = event.words
        self._taken_back = True
        self._draw_hint()

    @on(widgets.ImageGrid.Selected)
    @on(widgets.Bars.Selected)
    @on(widgets.TokenStrip.Selected)
    @on(widgets.Scatter.Selected)
    def _item_selected(
        self, event: widgets.ImageGrid.Selected | widgets.Bars.Selected | widgets.TokenStrip.Selected | widgets.Scatter.Selected
    ) -> None:
        event.stop()
        self._pick(event.index)

    @on(widgets.Scatter.Placed)
    def _place_selected(self, event: widgets.Scatter.Placed) -> None:
        event.stop()
        if self._selected is not None:
            self.post_message(self.Picked(self, self._selected.name, write_place(event.x, event.y)))

    @on(widgets.HeatMap.Selected)
    def _cell_selected(self, event: widgets.HeatMap.Selected) -> None:
        event.stop()
        self._pick(event.row, event.column)

    @on(widgets.TableView.Selected)
    def _row_selected(self, event: widgets.TableView.Selected) -> None:
        event.stop()
        self._pick(event.row)

    def _pick(self, position: int, column: int = 0) -> None:
        if self._selected is None or self.panel is None:
            return
        value = picked(self.panel, position, column, as_text=self._selected.kind == "text")
        if value is not None:
            self.post_message(self.Picked(self, self._selected.name, value))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _explanation(card: PanelCard, own: Collection[Field]) -> str:
    lines = [card.help]
    for position, field in enumerate(own):
        keys = ("[ and ]", "{ and }")[position] if position < 2 else "e"
        bounds = f"; {field.bounds}" if field.bounds else ""
        start = show(field.default) or "nothing"
        lines.append(f"{words(field)} ({keys}): {_lower(field.doc)} Starts at {start}{bounds}.")
    lines.append("? closes this, m gives the panel the whole window" + (", e types an option's value." if own else "."))
    return "\n\n".join(lines)
