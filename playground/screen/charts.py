"""The chart column: the card's metrics over training steps, drawn from a run's history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from dlplay.engine.card import Card, ChartCard
from dlplay.runs.history import History
from dlplay.screen.numbers import measure
from dlplay.screen.run.companions import Companion, Companions
from dlplay.widgets import Curve, Guide, LineChart, Mark

MIN_ROWS = 10
"""Rows that a chart needs; charts that do not fit wait until the window is taller."""
NOTHING = (-1, -1, -1)
"""What has been drawn before anything was."""
SMOOTHING = 0.6
"""Initial smoothing of the training curve: a clear line in front of the dim band of the raw values."""


class TitleLine(Widget):
    """A chart's title at the left and a figure at the right, which is left out where there is no room for both."""

    DEFAULT_CSS = "TitleLine { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    title = reactive("")
    figure = reactive("")

    def __init__(self, title: str) -> None:
        super().__init__()
        self.set_reactive(TitleLine.title, title)

    def render(self) -> Content:
        room = self.content_size.width - len(self.title) - len(self.figure)
        if room < 2:
            return Content.styled(self.title, "bold")
        return Content.assemble((self.title, "bold"), " " * room, (self.figure, "$foreground"))


class Chart(Vertical):
    """One chart with its title and the best value so far."""

    def __init__(self, card: ChartCard) -> None:
        super().__init__()
        self.card = card

    def compose(self) -> ComposeResult:
        yield TitleLine(self.card.title)
        yield LineChart(log_scale=self.card.log, smoothing=SMOOTHING, empty=self._empty(False))

    def on_mount(self) -> None:
        self.query_one(LineChart).percent = self.card.percent

    def _empty(self, training: bool) -> str:
        what = " and ".join(_spaced(name) for name in (*self.card.train, *self.card.held_out))
        return f"{what} will be drawn here" + (" once measured" if training else "; space starts training")

    def set_training(self, training: bool) -> None:
        """Whether a run is in progress, which the chart says while it is empty."""
        chart = self.query_one(LineChart)
        if (text := self._empty(training)) != chart.empty:
            chart.empty = text
            chart.repaint()

    def show(self, history: History, behind: Sequence[Companion] = ()) -> None:
        """Draw the history as it is now, in front of the curves of other runs."""
        card = self.card
        curves = [curve for number, companion in enumerate(behind) for curve in self._behind(companion, number)]
        for number, name in enumerate(card.train):
            series = history.training.get(name)
            if series is not None and len(series):
                curves.append(Curve(self._curve_name(name), series.x, series.y, colour=_colour("train", number, len(card.train))))
        for number, name in enumerate(card.held_out):
            series = history.held_out.get(name)
            if series is not None and len(series):
                style: Literal["dots", "line"] = "dots" if len(series) < 2 else "line"
                colour = _colour("held_out", number, len(card.held_out))
                curves.append(Curve(self._curve_name(name), series.x, series.y, colour=colour, style=style, smoothed=False))
        baselines = [Guide(name, value) for metric in card.held_out[:1] for name, value in history.baselines.get(metric, {}).items()]
        marks = [Mark(step, label) for step, label in history.marks]
        chart = self.query_one(LineChart)
        chart.reach = float(history.step)
        chart.show(curves, baselines, marks)
        self.query_one(TitleLine).figure = self._best(history)

    def _behind(self, companion: Companion, number: int) -> Iterator[Curve]:
        """The curves of another run in a colour of its own; in the legend it has one entry, at its held-out metric where there is one."""
        names = [(companion.history.training, name, True) for name in self.card.train]
        names += [(companion.history.held_out, name, False) for name in self.card.held_out]
        known = [(series, smoothed) for group, name, smoothed in names if (series := group.get(name)) is not None and len(series)]
        for at, (series, smoothed) in enumerate(known):
            name = companion.run.name if at == len(known) - 1 else ""
            yield Curve(name, series.x, series.y, colour=str((number + 2) % 8), smoothed=smoothed, behind=True)

    def on_descendant_focus(self) -> None:
        self.add_class("-focused")

    def on_descendant_blur(self) -> None:
        self.remove_class("-focused")

    def _curve_name(self, metric: str) -> str:
        """A curve's name in the legend, without what the title says already: `test accuracy` is `test` under Accuracy."""
        names = [_spaced(name) for name in (*self.card.train, *self.card.held_out)]
        name = _spaced(metric).removesuffix(" " + self.card.title.split(" (")[0].lower())
        last = " " + name.rpartition(" ")[2]
        return name.removesuffix(last) if len(names) > 1 and all(other.endswith(last) for other in names) else name

    def _best(self, history: History) -> str:
        """The best evaluation so far, and when; the newest values stand in the chart's own legend."""
        if not self.card.held_out:
            return ""
        metric = self.card.held_out[0]
        better = history.better if metric == history.metric else self.card.direction
        best = history.best(metric, better) if better else None
        return f"best {measure(best[1], percent=self.card.percent)} at step {best[0]:,}" if best is not None else ""


class ChartColumn(Vertical):
    """The card's charts one below the other, as many as fit; a line says how many do not, and two keys scroll through them."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("comma", "go(-1)", "previous chart", show=False),
        Binding("full_stop", "go(1)", "next chart", show=False),
    ]

    def __init__(self, card: Card, id: str | None = None) -> None:
        super().__init__(id=id)
        self.card = card
        self.first = 0
        """Position of the first chart that is shown."""
        self._history: History | None = None
        self._companions: Companions | None = None
        self._settings: dict[str, Any] = {}
        self._charts = {chart: Chart(chart) for chart in card.all_charts}
        self._arranged = self._relevant()
        """The charts with something to draw, now or later, shown or not."""
        self._more = Static(id="more-charts")
        self._drawn = NOTHING

    def compose(self) -> ComposeResult:
        yield from self._charts.values()
        yield self._more

    def show(self, history: History, companions: Companions) -> None:
        """Draw the history if it, or that of a run behind it, has changed since the last call."""
        self._history, self._companions = history, companions
        drawn = (id(history), history.revision, companions.revision)
        if drawn != self._drawn and self.is_mounted and self.size.height:
            self._drawn = drawn
            if self._relevant() != self._arranged:
                self._arrange()
            for chart in self._charts.values():
                if chart.display:
                    chart.show(history, companions.all)

    @property
    def cursor(self) -> float | None:
        """The step at which a cursor stands, that of the focused chart first; None when none does."""
        charts = sorted((chart for chart in self._arranged if chart.display), key=lambda chart: not chart.has_focus_within)
        return next((x for chart in charts for plot in chart.query(LineChart) if (x := plot.cursor) is not None), None)

    def look_back(self, step: int | None, moments: Sequence[int] = ()) -> None:
        """Put the cursors at the step that is looked back at, where they halt at `moments`; None: take them away."""
        for chart in self._charts.values():
            for plot in chart.query(LineChart):
                plot.stops = moments
                plot.place_cursor(step)

    def focus_chart(self) -> None:
        """Focus the first chart that is shown, unless one has the focus."""
        charts = [chart for chart in self._arranged if chart.display]
        if charts and not self.has_focus_within:
            charts[0].query_one(LineChart).focus()

    def set_card(self, card: Card) -> None:
        """Show the charts of this variant of the card."""
        if card.charts != self.card.charts:
            self.card = card
            self.first = 0
            self._arrange()

    def set_training(self, training: bool, settings: Mapping[str, Any]) -> None:
        """Whether a run is in progress, and its settings, or those that a run would have."""
        if settings != self._settings:
            self._settings = dict(settings)
            if self._relevant() != self._arranged:
                self._arrange()
        for chart in self._charts.values():
            if chart.is_mounted and chart.query(LineChart):
                chart.set_training(training)

    def on_resize(self) -> None:
        self._arrange()

    def _relevant(self) -> list[Chart]:
        """The charts whose metrics exist already or will exist with these settings."""
        history = self._history
        known = {*history.training, *history.held_out} if history is not None else set()

        def has(card: ChartCard) -> bool:
            return card.when is None or bool(known & {*card.train, *card.held_out}) or bool(self._settings and card.when(self._settings))

        return [self._charts[card] for card in self.card.charts if has(card)]

    def action_go(self, by: int) -> None:
        focused = any(chart.has_focus_within for chart in self._arranged)
        self.first += by
        self._arrange()
        if focused:
            self._arranged[self.first].query_one(LineChart).focus()

    def on_click(self, event: events.Click) -> None:
        if event.widget is self._more:
            shown = sum(chart.display for chart in self._arranged)
            self.first = (self.first + 1) % (len(self._arranged) - shown + 1)
            self._arrange()

    def _arrange(self) -> None:
        charts = self._arranged = self._relevant()
        count, height = len(charts), self.size.height
        fit = min(max(height // MIN_ROWS, 1), count)
        if fit < count:
            fit = max((height - 1) // MIN_ROWS, 1)
        self.first = min(max(self.first, 0), count - fit)
        shown = charts[self.first : self.first + fit]
        for chart in self._charts.values():
            chart.display = chart in shown
            chart.set_class(chart is shown[-1], "-last")
        self.sort_children(key=lambda child: charts.index(child) if child in charts else len(charts))
        self._more.display = fit < count
        hidden = [chart.card.title for chart in charts if not chart.display]
        text = f"{len(hidden)} more: {', '.join(hidden)}"
        self._more.update(Content.assemble((" , . ", "bold $text-accent"), (text, "$foreground 60%")))
        self._drawn = NOTHING
        if self._history is not None:
            self.call_after_refresh(self.show, self._history, self._companions)


def _colour(kind: str, number: int, count: int) -> str:
    """The usual colour for the only curve of its kind, else one of the colours of the set."""
    return kind if count == 1 else str((number if kind == "train" else number + 4) % 8)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
