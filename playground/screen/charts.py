"""The chart column: the card's metrics over training steps, drawn from a run's history."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from dlplay.engine.card import Card, ChartCard
from dlplay.experiments.compare.spread import quartiles, thinned
from dlplay.runs.history import History, Series
from dlplay.screen.numbers import count, measure, words
from dlplay.screen.run.companions import Companions
from dlplay.widgets import Band, Curve, Guide, LineChart, Mark, Note
from dlplay.widgets.charts.curves import smooth
from dlplay.widgets.charts.stack import stack
from dlplay.widgets.drawing.palette import MARKERS

MIN_ROWS = 9
"""Rows that a chart needs; charts that do not fit wait until the window is taller."""
EMPTY = "nothing measured yet"
KEYS = " , . "
"""That scroll through the charts."""
NOTHING = (-1, -1, -1)
"""What has been drawn before anything was."""
PLACES = 500
"""Places along the x axis at which a group of seeds is summed up, at most."""
QUARTILES_FROM = 5
"""Members of a group from which its band is that of the quartiles."""
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
        self._spreads: dict[tuple[str, int], tuple[list[tuple[int, int]], Curve]] = {}
        """By metric and first member of a group of seeds: the lengths of the members' curves, and what was drawn of them."""

    def compose(self) -> ComposeResult:
        yield TitleLine(self.card.title)
        yield LineChart(log_scale=self.card.log, smoothing=SMOOTHING, empty=EMPTY)

    def on_mount(self) -> None:
        self.query_one(LineChart).percent = self.card.percent

    @property
    def plot(self) -> LineChart:
        """The chart itself."""
        return self.query_one(LineChart)

    def take(self, history: History, companions: Companions, settings: Mapping[str, Any]) -> None:
        """Take the history as it is now, in front of the curves of other runs and of the pretrained model; `draw_together` draws it.

        `settings` are those of the run, or those that a run would have.
        """
        own = list(self._own(history, companions))
        pretrained, name = companions.pretrained.alike(settings), "pretrained"
        if pretrained is None and not history.step:
            pretrained, name = companions.pretrained.first, "pretrained, other data"
        behind = list(self._behind(history, companions))
        before = list(self._pretrained(pretrained, name, alone=not own)) if pretrained is not None and companions.shown else []
        metrics = self.card.held_out[:1]
        known = history.baselines if history.baselines or pretrained is None or not before else pretrained.baselines
        found = {method: value for metric in metrics for method, value in known.get(metric, {}).items()}
        strongest = sorted(found, key=lambda method: found[method], reverse=self.card.direction == "higher")
        baselines = [Guide(method, value, strongest.index(method)) for method, value in found.items()]
        chart = self.plot
        chart.reach = float(history.step)
        chart.take([*before, *behind, *own], baselines, [Mark(step, label) for step, label in history.marks])
        self.query_one(TitleLine).figure = self._best(history)

    def _pretrained(self, history: History, name: str, alone: bool) -> Iterator[Curve]:
        """Its curves; all are named where no others are drawn, which would say what is what."""
        metrics = self._metrics([history])
        for metric, training in metrics:
            series = _measured(history, metric, training)
            assert series is not None
            named = alone or (metric, training) == metrics[-1]
            yield Curve(
                (f"{name} {self._curve_name(metric)}" if alone and len(metrics) > 1 else name) if named else "",
                series.x,
                series.y,
                colour=self._colour(metric, training),
                smoothed=False,
                behind=True,
                dotted=True,
                extends=False,
            )

    def _colour(self, metric: str, training: bool) -> str:
        names = self.card.train if training else self.card.held_out
        return _colour("train" if training else "held_out", names.index(metric), len(names))

    def _own(self, history: History, companions: Companions) -> Iterator[Curve]:
        """The curves of the tab's own run; where it is one of a group of seeds, those of the group, its own behind them."""
        group = companions.own_group(history)
        metrics = self._metrics([history])
        for metric, training in metrics:
            series = _measured(history, metric, training)
            assert series is not None
            style: Literal["dots", "line"] = "dots" if not training and len(series) < 2 else "line"
            colour = self._colour(metric, training)
            own = Curve(self._curve_name(metric), series.x, series.y, colour=colour, style=style, smoothed=training)
            if group:
                last = (metric, training) == metrics[-1]
                yield dataclasses.replace(own, name="", style="line", behind=True)
                of_all = self._of_seeds(metric, [found for each in group if (found := _measured(each, metric, training))])
                own = dataclasses.replace(of_all, name=f"{own.name}, {len(group)} seeds" if last else own.name, colour=colour)
            yield own

    def _behind(self, history: History, companions: Companions) -> Iterator[Curve]:
        """The curves of other runs, each run or group of seeds in a colour and with a marker of its own; dim where the tab has a run."""
        for number, (name, histories) in enumerate(companions.together(history)):
            for metric, training in (known := self._metrics(histories)):
                last = (metric, training) == known[-1]  # the one that is named
                series = [found for each in histories if (found := _measured(each, metric, training))]
                curve = self._of_seeds(metric, series) if len(histories) > 1 else Curve("", series[0].x, series[0].y, smoothed=training)
                yield dataclasses.replace(
                    curve,
                    name=(f"{name} {self._curve_name(metric)}" if len(known) > 1 and len(histories) == 1 else name) if last else "",
                    marker=MARKERS[number % len(MARKERS)] if last else "",
                    bands=curve.bands if last else (),
                    colour=str((number + 2) % 8),
                    behind=bool(history.step) or not last,
                )

    def _metrics(self, histories: Sequence[History]) -> list[tuple[str, bool]]:
        """The chart's metrics that one of these has, and whether each is measured in training."""
        metrics = [(metric, True) for metric in self.card.train] + [(metric, False) for metric in self.card.held_out]
        return [(metric, training) for metric, training in metrics if any(_measured(each, metric, training) for each in histories)]

    def _of_seeds(self, metric: str, series: Sequence[Series]) -> Curve:
        """Median and band of a metric over a group of seeds, computed anew only when one of them has grown."""
        now = [(id(each), len(each)) for each in series]
        if (known := self._spreads.get((metric, now[0][0]))) is None or known[0] != now:
            known = self._spreads[metric, now[0][0]] = now, _median(series, SMOOTHING if metric in self.card.train else 0.0)
        return known[1]

    def on_descendant_focus(self) -> None:
        self.add_class("-focused")

    def on_descendant_blur(self) -> None:
        self.remove_class("-focused")

    def _curve_name(self, metric: str) -> str:
        """A curve's name in the legend, without what the title says already: `test accuracy` is `test` under Accuracy."""
        names = [words(name).split() for name in (*self.card.train, *self.card.held_out)]
        own, first, last = words(metric).split(), 0, 0
        while len(names) > 1 and all(len(name) > last + 1 and name[-1 - last] == own[-1 - last] for name in names):
            last += 1
        while len(names) > 1 and all(len(name) > first + last + 1 and name[first] == own[first] for name in names):
            first += 1
        name = " ".join(own[first : len(own) - last])
        title = " " + self.card.title.split(" (")[0].lower()
        return name.replace(f"{title} without", " without").removesuffix(title)

    def _best(self, history: History) -> str:
        """The best evaluation so far, and when; the newest values stand in the chart's own legend."""
        if not self.card.held_out:
            return ""
        metric = self.card.held_out[0]
        better = history.better if metric == history.metric else self.card.direction
        several = len(history.held_out.get(metric, ())) > 1
        best = history.best(metric, better) if better and several else None
        if best is None:
            return ""
        counts = not self.card.percent and all(float(value).is_integer() for value in history.held_out[metric].y)
        value = count(int(best[1])) if counts else measure(best[1], percent=self.card.percent)
        return f"best {value} at step {best[0]:,}"


def draw_together(charts: Sequence[Chart], history: History, companions: Companions, settings: Mapping[str, Any]) -> None:
    """Draw charts that stand on each other, from top to bottom, over one axis of steps."""
    for chart in charts:
        chart.take(history, companions, settings)
    stack([chart.plot for chart in charts])


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
        self._note: Note | None = None

    def compose(self) -> ComposeResult:
        yield from self._charts.values()
        yield self._more

    def show(self, history: History, companions: Companions) -> None:
        """Draw the history if it, or that of a run behind it, has changed since the last call."""
        self._history, self._companions = history, companions
        drawn = (id(history), history.revision, companions.revision)
        filling = self.is_mounted and (largest := self.screen.maximized) is not None and self in largest.ancestors  # then this has no size
        if drawn != self._drawn and self.is_mounted and (self.size.height or filling):
            self._drawn = drawn
            if self._relevant() != self._arranged and not filling:
                self._arrange()
            charts = [chart for chart in self._arranged if chart.display]
            for chart in charts:
                chart.plot.note = self._note if chart is charts[0] else None
            draw_together(charts, history, companions, self._settings)

    @property
    def cursor(self) -> float | None:
        """The step at which a cursor stands, that of the focused chart first; None when none does."""
        charts = sorted((chart for chart in self._arranged if chart.display), key=lambda chart: not chart.has_focus_within)
        return next((x for chart in charts for plot in chart.query(LineChart) if (x := plot.cursor) is not None), None)

    def set_note(self, note: Note | None) -> None:
        """What has to be said of one step, in the first chart that is shown."""
        if note != self._note:
            self._note, self._drawn = note, NOTHING

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

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """The settings of the run, or those that a run would have."""
        if settings != self._settings:
            self._settings = dict(settings)
            self._drawn = NOTHING  # another pretrained model may be alike
            if self._relevant() != self._arranged:
                self._arrange()

    @on(LineChart.Looked)
    def _looked(self, event: LineChart.Looked) -> None:
        """They all show the same part of the steps."""
        event.stop()
        for chart in self._charts.values():
            for plot in chart.query(LineChart):
                plot.look(event.window)

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
        text = f"{len(hidden)} more"
        for title in hidden:  # those that there is room for
            longer = text + (", " if ":" in text else ": ") + title
            text = longer if len(longer) <= self.size.width - len(KEYS) - 1 else text
        self._more.update(Content.assemble((KEYS, "bold $text-accent"), (text, "$text-muted")))
        self._drawn = NOTHING
        if self._history is not None:
            self.call_after_refresh(self.show, self._history, self._companions)


def _colour(kind: str, number: int, count: int) -> str:
    """The usual colour for the only curve of its kind, else one of the colours of the set."""
    return kind if count == 1 else str((number if kind == "train" else number + 4) % 8)


def _measured(history: History, metric: str, training: bool) -> Series | None:
    """The metric's curve, where it has a point."""
    series = (history.training if training else history.held_out).get(metric)
    return series if series is not None and len(series) else None


def _median(series: Sequence[Series], weight: float) -> Curve:
    """The median over a group of seeds, with a band: the quartiles, or the range of fewer than `QUARTILES_FROM` members.

    Curves are thinned, then smoothed with this `weight`, so that each costs the same however long it is.
    """
    width = max(float(each.x[-1]) for each in series) / PLACES
    thin = [thinned(each.x, each.y, width) for each in series]
    x, least, low, median, high, most = quartiles([(at, smooth(y, weight)) for at, y in thin])
    few = len(series) < QUARTILES_FROM
    return Curve("", x, median, smoothed=False, bands=(Band(x, least, most) if few else Band(x, low, high),))
