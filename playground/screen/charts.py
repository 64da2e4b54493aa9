"""The chart column: what the card wants to see over training steps, drawn from a run's history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from dlplay.engine.card import Card, ChartCard
from dlplay.runs.history import History
from dlplay.screen.numbers import measure
from dlplay.screen.title_line import TitleLine
from dlplay.widgets.chart_parts import Curve, Guide, Mark
from dlplay.widgets.line_chart import LineChart

LEAST_ROWS = 10
"""A chart with fewer rows says nothing; those that do not fit wait until the window is taller."""


SMOOTHING = 0.6
"""How much of the training curve is smoothed to begin with: a clear line before the dim band of what every step measured."""


class Chart(Vertical):
    """One chart with its title and the figure that matters."""

    def __init__(self, card: ChartCard) -> None:
        super().__init__()
        self.card = card

    def compose(self) -> ComposeResult:
        yield TitleLine(self.card.title)
        yield LineChart(log_scale=self.card.log, smoothing=SMOOTHING, empty=self._empty(False))

    def _empty(self, busy: bool) -> str:
        what = " and ".join(_words(name) for name in (*self.card.train, *self.card.held_out))
        return f"{what} will be drawn here" + (" as soon as it is measured" if busy else "; space starts training")

    def expect(self, busy: bool) -> None:
        """Say, while there is nothing to draw, whether something trains already."""
        chart = self.query_one(LineChart)
        if (words := self._empty(busy)) != chart.empty:
            chart.empty = words
            chart.repaint()

    def on_mount(self) -> None:
        self.query_one(LineChart).percent = self.card.percent

    def show(self, history: History) -> None:
        """Draw the history as it is now."""
        card = self.card
        curves: list[Curve] = []
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
        guides = [Guide(name, value) for metric in card.held_out[:1] for name, value in history.baselines.get(metric, {}).items()]
        marks = [Mark(step, words) for step, words in history.marks]
        chart = self.query_one(LineChart)
        chart.reach = float(history.step)
        chart.show(curves, guides, marks)
        self.query_one(TitleLine).figure = self._best(history)

    def on_descendant_focus(self) -> None:
        """The title says where the focus is."""
        self.add_class("-focused")

    def on_descendant_blur(self) -> None:
        """The focus has left."""
        self.remove_class("-focused")

    def _curve_name(self, metric: str) -> str:
        """A curve's name in the legend, without what the title says already: test accuracy is test under Accuracy."""
        names = [_words(name) for name in (*self.card.train, *self.card.held_out)]
        words = _words(metric).removesuffix(" " + self.card.title.split(" (")[0].lower())
        last = " " + words.rpartition(" ")[2]
        return words.removesuffix(last) if len(names) > 1 and all(name.endswith(last) for name in names) else words

    def _best(self, history: History) -> str:
        """The best evaluation so far, and when; the newest values stand in the chart's own legend."""
        if not self.card.held_out:
            return ""
        metric = self.card.held_out[0]
        better = self.card.better or (history.better if metric == history.metric else "higher" if self.card.percent else "lower")
        best = history.best(metric, better)
        return f"best {measure(best[1], percent=self.card.percent)} at step {best[0]:,}" if best is not None else ""


class ChartColumn(Vertical):
    """The card's charts one below the other, as many as fit; where some do not, a line says so and two keys go through them."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("comma", "go(-1)", "chart before", show=False),
        Binding("full_stop", "go(1)", "next chart", show=False),
    ]

    def __init__(self, card: Card, id: str | None = None) -> None:
        super().__init__(id=id)
        self.card = card
        self.first = 0
        """Position of the first chart that is shown."""
        self._history: History | None = None
        self._settings: dict[str, Any] = {}
        self._charts = {chart: Chart(chart) for chart in card.all_charts}
        self._arranged = self._relevant()
        """Those there is something to say in, shown or not."""
        self._more = Static(id="more-charts")
        self._drawn: tuple[int, int] = (-1, -1)

    def compose(self) -> ComposeResult:
        yield from self._charts.values()
        yield self._more

    def show(self, history: History) -> None:
        """Draw what has changed in the history since the last call."""
        self._history = history
        drawn = (id(history), history.revision)
        if drawn != self._drawn and self.is_mounted and self.size.height:
            self._drawn = drawn
            if self._relevant() != self._arranged:
                self._arrange()
            for chart in self._charts.values():
                if chart.display:
                    chart.show(history)

    def become(self, card: Card) -> None:
        """Show the charts of this variant of the card."""
        if card.charts != self.card.charts:
            self.card = card
            self.first = 0
            self._arrange()

    def expect(self, busy: bool, settings: Mapping[str, Any]) -> None:
        """Whether something trains already, and with which settings, or which ones it would train with."""
        if settings != self._settings:
            self._settings = dict(settings)
            if self._relevant() != self._arranged:
                self._arrange()
        for chart in self._charts.values():
            if chart.is_mounted and chart.query(LineChart):
                chart.expect(busy)

    def on_resize(self) -> None:
        self._arrange()

    def _relevant(self) -> list[Chart]:
        """The charts that there are or will be numbers for."""
        history = self._history
        known = {*history.training, *history.held_out} if history is not None else set()

        def has(card: ChartCard) -> bool:
            return card.when is None or bool(known & {*card.train, *card.held_out}) or bool(self._settings and card.when(self._settings))

        return [self._charts[card] for card in self.card.charts if has(card)]

    def action_go(self, by: int) -> None:
        """Show the charts from the next one, or the one before."""
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
        fit = min(max(height // LEAST_ROWS, 1), count)
        if fit < count:
            fit = max((height - 1) // LEAST_ROWS, 1)
        self.first = min(max(self.first, 0), count - fit)
        seen = charts[self.first : self.first + fit]
        for chart in self._charts.values():
            chart.display = chart in seen
            chart.set_class(chart is seen[-1], "-last")
        self.sort_children(key=lambda child: charts.index(child) if child in charts else len(charts))
        self._more.display = fit < count
        others = [chart.card.title for chart in charts if not chart.display]
        words = f"{len(others)} more: {', '.join(others)}"
        self._more.update(Content.assemble((" , . ", "bold $text-accent"), (words, "$foreground 60%")))
        self._drawn = (-1, -1)
        if self._history is not None:
            self.call_after_refresh(self.show, self._history)


def _colour(kind: str, number: int, count: int) -> str:
    """The usual colour for the only curve of its kind, else one of the set."""
    return kind if count == 1 else str((number if kind == "train" else number + 4) % 8)


def _words(name: str) -> str:
    return name.replace("_", " ")
