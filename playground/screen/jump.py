"""Jump mode: a letter on every pane of the tab, and the next key goes to the pane that has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Offset, Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from dlplay.screen.charts import Chart
from dlplay.screen.dialogs.dialog import Modal
from dlplay.screen.panels.inspector import Inspector
from dlplay.screen.tab import CURVES, INSPECT, SETTINGS, TRY_IT, ArchitectureTab
from dlplay.widgets import LineChart

CHARTS = "pquvwxyz"
OTHERS = "abdefghjklmopquvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Letters of panels and further charts, of which a tab may have more: then the last ones have none. The other letters are those of panes
that every tab has."""


@dataclasses.dataclass(frozen=True)
class Pane:
    letter: str
    """The same whenever the tab is open, whatever else is shown."""
    title: str
    go: Callable[[], object]
    at: Offset | None = None
    """Where its label stands; None: nothing of it is on the screen."""


def panes(tab: ArchitectureTab, show_runs: Callable[[], object]) -> list[Pane]:
    """The panes of a tab: those that are seen, and those of its other pages."""
    charts: dict[object, str] = dict(
        zip(tab.card.all_charts, reversed(CHARTS), strict=False)
    )  # from the end: another panel changes no chart's letter
    free = (letter for letter in OTHERS if letter not in charts.values())
    own = (panel.name for panel in tab.card.panels if not panel.source)
    everybodys = (panel.name for panel in tab.card.panels if panel.source)
    letters = charts | dict(zip((*own, *everybodys), free, strict=False))
    found = [_part(tab, "t", "Try it", TRY_IT, tab.stage)] if tab.stage is not None else []
    found += _charts(tab, letters)
    for inspector in tab.inspectors:
        found += _panels(inspector, letters)
    if not _seen(tab.inspector):
        found.append(_part(tab, "i", "Inspect", INSPECT, None))
    found.append(_part(tab, "s", "settings", SETTINGS, tab.form))
    found.append(Pane("r", "runs", show_runs, _corner(tab.runs)))
    found += [Pane("n", "lesson", guide.focus, _corner(guide)) for guide in tab.query("#guide")]
    return found


def _part(tab: ArchitectureTab, letter: str, title: str, page: str, part: Widget | None) -> Pane:
    """One of the four parts of a tab, its label on the part itself, or where a page hides it on the page's title."""
    if part is not None and (at := _corner(part)) is not None:
        return Pane(letter, title, lambda: tab.focus_part(page), at)
    return Pane(letter, title, lambda: tab.show_page(page), tab.place_of_page(page))


def _charts(tab: ArchitectureTab, letters: Mapping[object, str]) -> Iterator[Pane]:
    seen = [chart for chart in tab.query(Chart) if _seen(chart)]
    for chart in seen:
        if letter := "c" if chart is seen[0] else letters.get(chart.card, ""):
            yield Pane(letter, chart.card.title, chart.query_one(LineChart).focus, _corner(chart))
    if not seen:
        yield _part(tab, "c", "Curves", CURVES, None)


def _panels(inspector: Inspector, letters: Mapping[object, str]) -> Iterator[Pane]:
    if _seen(inspector):
        for panel, place in inspector.places():
            if letter := letters.get(panel.name, ""):
                yield Pane(letter, panel.title, partial(inspector.go_to, panel.name), place)


def _seen(widget: Widget) -> bool:
    return bool(widget.region.area) and all(node.display for node in widget.ancestors_with_self if isinstance(node, Widget))


def _corner(widget: Widget) -> Offset | None:
    return widget.region.offset if _seen(widget) else None


class Label(Static):
    """The letter of a pane, which can be clicked too."""

    @dataclasses.dataclass
    class Pressed(Message):
        pane: Pane

    def __init__(self, pane: Pane) -> None:
        """It stands before the title, on the cell that a pane leaves empty there and on the one between two panes."""
        assert pane.at is not None
        wide = pane.at.x > 0
        super().__init__(f" {pane.letter}" if wide else pane.letter)
        self.styles.offset = pane.at - (wide, 0)
        self.pane = pane

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Pressed(self.pane))


class JumpScreen(Modal[Pane | None]):
    """Over the tab, which stays in view and stands still meanwhile. The result is the pane that was chosen."""

    DEFAULT_CSS = """
    JumpScreen { background: transparent; }
    JumpScreen Label { position: absolute; width: auto; height: 1; background: $text-accent; color: $background; text-style: bold; }
    JumpScreen #jump-keys { dock: bottom; height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f3", "dismiss(None)", "leave", key_display="esc")]

    def __init__(self, panes: Sequence[Pane]) -> None:
        super().__init__()
        self._for: Size | None = None
        """The window that the labels were placed in."""
        self._panes = {pane.letter: pane for pane in panes}

    def compose(self) -> ComposeResult:
        for pane in self._panes.values():
            if pane.at is not None:
                yield Label(pane)
        elsewhere = [hint for pane in self._panes.values() if pane.at is None for hint in _hint(pane.letter, pane.title)]
        words = Content.styled("press the letter of a pane  ", "$text-muted")
        yield Static(Content.assemble(words, *elsewhere, *_hint("esc", "leave")), id="jump-keys")

    def on_key(self, event: events.Key) -> None:
        if (pane := self._panes.get(event.key.lower())) is not None:
            event.stop()
            self.dismiss(pane)

    def on_label_pressed(self, event: Label.Pressed) -> None:
        self.dismiss(event.pane)

    def on_click(self, event: events.Click) -> None:
        self.dismiss(None)

    def on_resize(self, event: events.Resize) -> None:
        """The labels no longer stand where the panes do."""
        if self._for is None:
            self._for = event.size
        elif event.size != self._for:
            self.dismiss(None)


def _hint(key: str, label: str) -> tuple[Content, ...]:
    return Content.styled(key, "bold $text-accent"), Content.styled(f" {label}  ", "$text-muted")
