"""Textual widgets for numbers and pictures in a terminal. They know numpy, rich and textual, and nothing of any program.

Each is drawn through the Line API: it is painted into rows, and only the cells that changed are sent to the terminal.
"""

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
