"""Textual widgets for numbers and pictures in a terminal. They know numpy, rich and textual, and nothing of any program.

Each is drawn through the Line API: it is painted into rows, and only the cells that changed are sent to the terminal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlplay.widgets.bars import Bars
    from dlplay.widgets.charts.chart import Band, Curve, Guide, Mark, Note
    from dlplay.widgets.charts.line_chart import LineChart
    from dlplay.widgets.drawing.surface import Surface
    from dlplay.widgets.facts import Facts
    from dlplay.widgets.frame_view import FrameView
    from dlplay.widgets.heat_map import HeatMap
    from dlplay.widgets.image_grid import ImageGrid
    from dlplay.widgets.layer_strip import Layer, LayerStrip
    from dlplay.widgets.pixel_pad import PixelPad
    from dlplay.widgets.plane import Plane
    from dlplay.widgets.scatter import Scatter
    from dlplay.widgets.table_view import TableView
    from dlplay.widgets.token_strip import TokenStrip

_PLACES = {
    "Band": "charts.chart",
    "Bars": "bars",
    "Curve": "charts.chart",
    "Facts": "facts",
    "FrameView": "frame_view",
    "Guide": "charts.chart",
    "HeatMap": "heat_map",
    "ImageGrid": "image_grid",
    "Layer": "layer_strip",
    "LayerStrip": "layer_strip",
    "LineChart": "charts.line_chart",
    "Mark": "charts.chart",
    "Note": "charts.chart",
    "PixelPad": "pixel_pad",
    "Plane": "plane",
    "Scatter": "scatter",
    "Surface": "drawing.surface",
    "TableView": "table_view",
    "TokenStrip": "token_strip",
}
"""The module of each name: imported when it is asked for, and numpy with it, so that a screen's first paint waits for neither."""

__all__ = [
    "Band",
    "Bars",
    "Curve",
    "Facts",
    "FrameView",
    "Guide",
    "HeatMap",
    "ImageGrid",
    "Layer",
    "LayerStrip",
    "LineChart",
    "Mark",
    "Note",
    "PixelPad",
    "Plane",
    "Scatter",
    "Surface",
    "TableView",
    "TokenStrip",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
