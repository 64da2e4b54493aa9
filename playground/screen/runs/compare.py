"""Runs and groups compared on the screen: what `dlplay compare` prints, at the width of the window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dlplay.checkpoints import CheckpointError
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError
from dlplay.experiments.compare import report, sources
from dlplay.experiments.compare.comparison import Comparison, compare
from dlplay.experiments.compare.member import Axis
from dlplay.runs.directory import RunNameError, SpecError
from dlplay.screen.dialogs.dialog import Modal
from dlplay.screen.keys import KeyHints
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row

AXES: tuple[Axis, ...] = ("step", "seconds", "examples")


class Report(ScrollView, can_focus=True):
    """Rows of text that can be scrolled; they are made anew for another width."""

    DEFAULT_CSS = """
    Report {
        height: 1fr; background: $panel; scrollbar-size-vertical: 1;
        scrollbar-color: $foreground 60%; scrollbar-background: $panel; scrollbar-background-hover: $panel;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "scroll_down", "down", key_display="↓"),
        Binding("up", "scroll_up", "up", key_display="↑"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row] = []
        self._comparison: Comparison | None = None
        self._axis: Axis = "step"
        self.verdict: Sequence[str] = ()

    def show(self, comparison: Comparison, axis: Axis) -> None:
        """Show the comparison; curves are drawn over steps, seconds or examples. Raises `SettingsError` where that cannot be."""
        self._comparison, self._axis = comparison, axis
        width = max(40, self.size.width - 1)
        self._rows = list(report.rows(comparison, axis, width, Palette.of(self), answer_first=True, verdict=self.verdict))
        self.virtual_size = Size(width, len(self._rows))
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        if self._comparison is not None:
            self.show(self._comparison, self._axis)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        strip = Strip(self._rows[at] if at < len(self._rows) else [])
        return strip.adjust_cell_length(self.size.width, self.rich_style)


class CompareScreen(Modal[None]):
    """`names` are of runs and groups, as `dlplay compare` takes them. A `verdict` of whoever paired the runs stands in place of the
    comparison's own."""

    DEFAULT_CSS = """
    CompareScreen { background: $panel; padding: 0 1; }
    CompareScreen KeyHints { padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "axis", "curves by step, seconds or examples"),
        Binding("escape,q", "dismiss(None)", "close", key_display="esc"),
        Binding("ctrl+p", "app.command_palette", "palette", show=False),
    ]

    def __init__(self, names: Sequence[str], runs_dir: Path, verdict: Sequence[str] = ()) -> None:
        super().__init__()
        self.verdict = tuple(verdict)
        self.names, self.runs_dir = tuple(names), runs_dir
        self._comparison: Comparison | None = None
        self._axis = 0

    def compose(self) -> ComposeResult:
        yield Report()
        yield KeyHints()

    def on_mount(self) -> None:
        self.query_one(Report).verdict = self.verdict
        self.query_one(Report).focus()
        self._read()

    @work(group="compare", exclusive=True)
    async def _read(self) -> None:
        try:
            self._comparison = await asyncio.to_thread(self._compare)
            self.query_one(Report).show(self._comparison, AXES[self._axis])
        except (SettingsError, DataError, CheckpointError, RunNameError, SpecError, OSError) as error:
            self.notify(str(error), severity="error", timeout=8)
            self.dismiss(None)

    def _compare(self) -> Comparison:
        found = sources.find(self.names, (), self.runs_dir)
        comparison = compare(found.sources, found.notes)
        for metric in comparison.judged if comparison.has_groups and not self.verdict else ():
            comparison.differences(metric)  # kept: they are too slow to compute while the screen waits
        return comparison

    def action_axis(self) -> None:
        """Draw the curves over the next axis that all of them can be placed on."""
        for by in range(1, len(AXES)):
            axis = (self._axis + by) % len(AXES)
            try:
                if self._comparison is not None:
                    self.query_one(Report).show(self._comparison, AXES[axis])
                    self._axis = axis
                return
            except SettingsError as error:
                self.notify(str(error), timeout=4)
