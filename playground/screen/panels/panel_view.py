"""One panel: its title and figure, its options, a line of explanation, and the widget that shows the model's answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from dlplay import widgets
from dlplay.engine.card import PanelCard
from dlplay.engine.panels import AnyPanel, Layers, is_empty
from dlplay.engine.settings import Field, fields, show
from dlplay.screen.flow import fit
from dlplay.screen.panels.options_bar import STEPPING, OptionsBar, label
from dlplay.screen.panels.panel_widgets import fill, part_at, picked_value, widget_for, write_place

EMPTY = "Appears once there is a model: F5 trains one, o loads one."
"""In place of an answer while there is no model to ask."""

LARGE, SPARED = 8, 2
"""Rows of a widget from which it can do with so many fewer, rather than that its explanation is cut."""
LINES, PROBLEM_LINES = 2, 4
"""Lines that an explanation may take where the widget keeps the rows that it needs, and those that a problem may take anyway."""


class _Explanation(Widget):
    """A text in one line, or in two where the panel has rows to spare; cut when it is drawn, because only then its size is known."""

    def __init__(self, rows: int, bar: OptionsBar) -> None:
        super().__init__(classes="hint")
        self._rows, self._bar = rows, bar
        """Rows that the panel's widget needs, and what stands above this."""
        self.text = ""
        self.is_problem = False

    def show(self, text: str, is_problem: bool = False) -> None:
        text = text.replace("\n", " ")
        if (text, is_problem) != (self.text, self.is_problem):
            self.text, self.is_problem = text, is_problem
            self.set_class(is_problem, "problem")
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        needed = self._rows - SPARED if self._rows >= LARGE else self._rows
        spare = container.height - needed - self._bar.get_content_height(container, viewport, width)
        most = PROBLEM_LINES if self.is_problem else min(max(spare, 1), LINES)
        return max(1, min(most, Content(self.text).get_height({}, max(1, width))))

    def render(self) -> Content:
        width, lines = self.size
        if self.is_problem or not width:
            return Content(self.text)
        return Content(fit(self.text, width if lines < 2 else lines * (width - 4)))


class PanelView(Vertical, can_focus=True):
    """Shows the answer to a panel's question, and lets a person change its options and pick items in it.

    `hidden` names the options that need no control here, because they are set in the stage; `last` those that come after the others.
    `selects` is the option that picking an item sets; `defaults` are those of the tab's options.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    ALLOW_MAXIMIZE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *STEPPING,
        Binding("question_mark", "explain", "explain", key_display="?"),
        Binding("m", "maximise", "maximise", key_display="m"),
    ]

    @dataclasses.dataclass
    class OptionChanged(Message):
        """An option was changed, in the bar or by picking an item."""

        name: str
        value: Any

    def __init__(
        self,
        card: PanelCard,
        *,
        hidden: Collection[str] = (),
        last: Collection[str] = (),
        selects: Field | None = None,
        defaults: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.card = card
        self.panel: AnyPanel | None = None
        self.problem = ""
        """What went wrong with the last question; empty when nothing did."""
        self._selects = selects
        self._options = dict(defaults or {})
        """The tab's options, others than its own among them."""
        own = [field for field in fields(card.options) if field.name not in hidden]
        self._bar = OptionsBar(sorted(own, key=lambda field: field.name in last), card.title)
        self._explanation = _Explanation(card.rows, self._bar)
        self._explanation.show(card.hint)
        self._body: Widget | None = None
        self._empty = Static(EMPTY, classes="empty", markup=False)
        self._why_empty = EMPTY
        self._help = VerticalScroll(Static(Content(_help(card, self._bar.fields))), classes="help")
        self._help.display = False
        self._pending: tuple[str, Any, Any] | None = None
        """The option that was changed last, its new value and the one before, until it is answered."""
        self._step: int | None = None
        """Of the panel that is shown."""
        self._now: int | None = None
        """At which the run stands; None while it trains."""
        self._waiting: tuple[AnyPanel, Mapping[str, Any] | None, int | None] | None = None
        """An answer that came before the parts of this widget."""
        self._reverted = False
        """Whether that change was refused and undone."""
        self._doing = ""
        """What is done for the next answer, where that takes long."""
        self._waits = False
        """Another model is to answer than the one whose answer is shown."""

    @property
    def options(self) -> dict[str, Any]:
        """Every option of the panel, as it is set."""
        return self._bar.values

    @property
    def part(self) -> str:
        """Address of the part of the model that the cursor is on, or that the panel is about; empty where there is none."""
        return part_at(self.panel, getattr(self._body, "cursor", None)) if self.panel is not None else ""

    def compose(self) -> ComposeResult:
        yield self._bar
        yield self._explanation
        yield self._empty
        yield self._help

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_waiting)

    def _show_waiting(self) -> None:
        if self._waiting is not None:
            self.show(*self._waiting)

    # --- what it shows ------------------------------------------------------------------------------------------------------------

    def show(self, panel: AnyPanel, options: Mapping[str, Any] | None = None, step: int | None = None) -> None:
        """Show the answer to the question with `options`, as of `step`, in another widget if it is another kind of panel."""
        if self._help.parent is None:
            self._waiting = panel, options, step
            return
        self._waiting = None
        kind = widget_for(panel)
        body = self._body
        if new := not isinstance(body, kind):
            body = self._replace_body(kind())
        others = new or self.panel is None or self.panel.parts != panel.parts
        try:
            fill(body, panel)
            if others and isinstance(body, widgets.Bars) and panel.parts:
                body.action_move((body.chosen or 0) - body.cursor)  # to the part that the figure names
        except (ValueError, IndexError, TypeError) as error:
            self.fail(f"this answer cannot be drawn: {error}")
            return
        self.panel, self._step, self._waits, self._doing = panel, step, False, ""
        self._mark_layer()
        if self._answers_pending(options):
            self._pending = None
        if not self._reverted:
            self.problem = ""
        self._explain()

    def working(self, doing: str) -> None:
        """Say what is done for the next answer, until it is there."""
        self._doing = doing
        self._explain()

    def another_model(self) -> None:
        """Another model is to answer from now on: what is shown is of the one before."""
        if self.panel is not None:
            self._waits = True
            self._explain()

    def set_unavailable(self, why: str) -> None:
        """Why nothing has been answered yet."""
        if why != self._why_empty:
            self._why_empty = why
            self._empty.update(why)

    def set_step(self, step: int | None) -> None:
        """The step at which the run stands, None while it trains: a panel of another step says so."""
        if step != self._now:
            self._now = step
            self._explain()

    def fail(self, problem: str, options: Mapping[str, Any] | None = None) -> None:
        """Say what went wrong. If an option was just changed, it gets its previous value back, which the shown answer belongs to."""
        self.problem, self._doing = problem.removeprefix("--"), ""  # an option is no flag here
        if self._pending is not None and self.panel is not None and self._answers_pending(options):
            (name, _, before), self._pending = self._pending, None
            self._reverted = True
            self._bar.set_values({name: before})
            self.post_message(self.OptionChanged(name, before))
        self._explain()

    def _answers_pending(self, options: Mapping[str, Any] | None) -> bool:
        """Whether an answer for `options` takes the option into account that was changed last."""
        return self._pending is not None and (options is None or options.get(self._pending[0]) == self._pending[1])

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Show these values of the tab's options."""
        self._bar.set_values(options)
        self._options |= options
        self._mark_layer()

    def _mark_layer(self) -> None:
        """Of a forward pass, mark the layer that the tab's options name."""
        if isinstance(self.panel, Layers) and isinstance(self._body, widgets.LayerStrip):
            named = (
                index for index, layer in enumerate(self.panel.layers) if layer.selects and layer.selects.items() <= self._options.items()
            )
            self._body.select(next(named, None))

    def _replace_body(self, body: Widget) -> Widget:
        had_focus = self.screen.focused in (self, self._body or self)  # `has_focus` comes a moment later
        if self._body is not None:
            self._body.remove()
        body.add_class("body")
        self._body = body
        self._empty.display = False
        body.display = not self._help.display
        self.mount(body, before=self._help)
        self.can_focus = False
        if had_focus:
            self.screen.set_focus(body)
        return body

    def _explain(self) -> None:
        stale = bool(self.problem) and not self._reverted and self.panel is not None
        self.set_class(stale or self._waits, "-stale")
        text = (self.panel.caption if self.panel is not None and not is_empty(self.panel) else "") or self.card.hint
        if self.panel is not None:
            self._bar.show_figure("" if self._waits else self.panel.figure)
        if self._waits:
            text = f"of the model before · {text}"
        elif self._step is not None and self._now is not None and self._step != self._now:
            text = f"as of step {self._step:,} · {text}"
        if self._doing:
            text = f"{self._doing} … · {text}"
        shown = f"as of step {self._step:,}" if self._step is not None else "the answer before"
        problem = f"✗ {self.problem} · shown: {shown}" if stale else f"✗ {self.problem}"
        self._explanation.show(problem if self.problem else text, is_problem=bool(self.problem))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._bar.mark_title(True)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        focused = self.screen.focused
        self._bar.mark_title(focused is not None and self in focused.ancestors_with_self)

    def on_focus(self) -> None:
        self._bar.mark_title(True)

    def on_blur(self) -> None:
        self._bar.mark_title(False)

    # --- what a person does -------------------------------------------------------------------------------------------------------

    def focus(self, scroll_visible: bool = True) -> PanelView:
        """Focus the widget in it. At once: Textual would do so later, when another one may have taken its place."""
        shown = self._help if self._help.display else self._body if self._body is not None and self._body.display else self
        self.screen.set_focus(shown, scroll_visible)
        return self

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for options only where there are options."""
        needed = {"step": 1, "mark": 2, "edit": 1}.get(action, 0)
        return len(self._bar.fields) >= needed

    def action_step(self, by: int) -> None:
        self._bar.step(self._bar.marked, by)

    def action_mark(self, by: int) -> None:
        self._bar.mark(by)

    def action_edit(self) -> None:
        self._bar.edit(self._bar.marked)

    def action_explain(self) -> None:
        """Show the panel's help in its place, or the panel again."""
        helping = not self._help.display
        shown = self._body or self._empty
        self.can_focus = helping or self._body is None
        self._help.display = helping
        shown.display = not helping
        self.focus()

    def action_maximise(self) -> None:
        if self.screen.maximized is self:
            self.screen.minimize()
        else:
            self.screen.maximize(self, container=False)

    @on(OptionsBar.Changed)
    def _option_changed(self, event: OptionsBar.Changed) -> None:
        event.stop()
        self.problem = ""
        self._reverted = False
        self._pending = (event.name, event.value, event.before)
        self._explain()
        self.post_message(self.OptionChanged(event.name, event.value))

    @on(OptionsBar.Refused)
    def _option_refused(self, event: OptionsBar.Refused) -> None:
        event.stop()
        self.problem = event.why
        self._reverted = True
        self._explain()

    @on(widgets.ImageGrid.Selected)
    @on(widgets.Bars.Selected)
    @on(widgets.TokenStrip.Selected)
    @on(widgets.Scatter.Selected)
    def _item_selected(
        self, event: widgets.ImageGrid.Selected | widgets.Bars.Selected | widgets.TokenStrip.Selected | widgets.Scatter.Selected
    ) -> None:
        event.stop()
        self._pick(event.index)

    @on(widgets.LayerStrip.Selected)
    def _layer_selected(self, event: widgets.LayerStrip.Selected) -> None:
        event.stop()
        if isinstance(self.panel, Layers):
            for name, value in self.panel.layers[event.index].selects.items():
                self.post_message(self.OptionChanged(name, value))

    @on(widgets.Scatter.Placed)
    def _place_selected(self, event: widgets.Scatter.Placed) -> None:
        event.stop()
        if self._selects is not None:
            self.post_message(self.OptionChanged(self._selects.name, write_place(event.x, event.y)))

    @on(widgets.HeatMap.Selected)
    def _cell_selected(self, event: widgets.HeatMap.Selected) -> None:
        event.stop()
        self._pick(event.row, event.column)

    @on(widgets.TableView.Selected)
    def _row_selected(self, event: widgets.TableView.Selected) -> None:
        event.stop()
        self._pick(event.row)

    def _pick(self, position: int, column: int = 0) -> None:
        if self._selects is None or self.panel is None:
            return
        value = picked_value(self.panel, position, column, as_text=self._selects.kind == "text")
        if value is not None:
            self.post_message(self.OptionChanged(self._selects.name, value))


def _help(card: PanelCard, options: Collection[Field]) -> str:
    """The card's help, and a line on each option."""
    lines = [card.help]
    for position, field in enumerate(options):
        keys = ("[ and ]", "{ and }")[position] if position < 2 else "e"
        doc = field.doc[:1].lower() + field.doc[1:]
        bounds = f"; {field.bounds}" if field.bounds else ""
        lines.append(f"{label(field)} ({keys}): {doc} Default {show(field.default) or 'empty'}{bounds}.")
    lines.append("? closes this help, m maximises the panel" + (", e edits an option." if options else "."))
    return "\n\n".join(lines)
