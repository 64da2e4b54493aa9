"""A picture of panels, as the screen draws them: side by side in one SVG."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from textual.app import App, ComposeResult
from textual.containers import Grid, Vertical
from textual.widgets import Static

from dlplay.engine.card import PanelCard
from dlplay.engine.panels import AnyPanel
from dlplay.screen import themes
from dlplay.screen.panels.panel_widgets import fill, widget_for

COLUMNS, WIDTH = 4, 60
"""Pictures beside each other at most, and the cells that each takes."""
ROWS = 4
"""Rows of a picture beyond those that its panel needs: title, caption, margin."""


class Sheet(App[None]):
    """Panels with their titles, each in a cell of a grid."""

    AUTO_FOCUS = None

    CSS = """
    Grid { grid-gutter: 1 2; padding: 1 2; }
    .title { text-style: bold; height: 1; }
    .caption { color: $text-muted; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, pictures: Sequence[tuple[str, AnyPanel]], columns: int) -> None:
        super().__init__()
        self.console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")  # whatever the terminal can
        self.pictures, self.columns = pictures, columns
        self.register_theme(themes.DARK)
        self.theme = themes.DARK.name

    def compose(self) -> ComposeResult:
        with Grid() as grid:
            grid.styles.grid_size_columns = self.columns
            for title, panel in self.pictures:
                with Vertical():
                    yield Static(" · ".join(filter(None, (title, panel.figure))), classes="title", markup=False)
                    yield widget_for(panel)()
                    yield Static(panel.caption, classes="caption", markup=False)

    def on_mount(self) -> None:
        for cell, (_, panel) in zip(self.query(Vertical), self.pictures, strict=True):
            fill(next(iter(cell.query(widget_for(panel)))), panel)


def write(pictures: Sequence[tuple[str, AnyPanel]], card: PanelCard, target: Path) -> None:
    """Write the pictures with their titles to an SVG file. Raises `OSError`."""
    columns = min(COLUMNS, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    picture = asyncio.run(_drawn(pictures, columns, (columns * (WIDTH + 2) + 2, rows * (card.rows + ROWS + 1) + 1)))
    target.write_text(picture, encoding="utf-8")


async def _drawn(pictures: Sequence[tuple[str, AnyPanel]], columns: int, size: tuple[int, int]) -> str:
    app = Sheet(pictures, columns)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        return app.export_screenshot(title=pictures[0][0].partition(" · ")[0])
