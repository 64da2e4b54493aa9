"""One widget on a screen of its own, what it shows, and waiting for what it does."""

from collections.abc import Callable
from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot

from dlplay.widgets import Surface


class Stage(App[None]):
    """One widget that fills the screen; keeps the messages it posts."""

    def __init__(self, widget: Surface) -> None:
        super().__init__()
        self.widget = widget
        self.heard: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        self.widget.focus()

    def hear(self, message: Message) -> None:
        self.heard.append(message)

    on_bars_selected = on_heat_map_selected = on_image_grid_selected = on_token_strip_selected = hear
    on_scatter_selected = on_scatter_placed = on_table_view_selected = on_pixel_pad_changed = on_plane_moved = hear
    on_layer_strip_selected = hear


def text(widget: Surface) -> list[str]:
    """The rows that the widget shows."""
    rows = [widget.render_line(y) for y in range(widget.size.height)]
    assert all(segment.style is not None for row in rows for segment in row)
    assert all(row.cell_length == widget.size.width for row in rows)
    return [row.text for row in rows]


async def until(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("what was waited for did not happen")
